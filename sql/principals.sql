-- Azure Database for PostgreSQL's functions, by Azure's names, so that scripts written there run here
-- (https://learn.microsoft.com/azure/postgresql/security/security-manage-entra-users).
-- All run with the caller's own rights: CREATEROLE makes the role, and who may label it is the
-- label provider's to say.

CREATE FUNCTION pg_catalog.pgaadauth_create_principal_with_oid(
    rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF isadmin THEN
        EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE CREATEDB', rolename);
    ELSE
        EXECUTE format('CREATE ROLE %I LOGIN', rolename);
    END IF;
    PERFORM pgaad.label_principal(rolename, objectid, objecttype, isadmin, ismfa);
    RETURN format('Created role for "%s"', rolename);
END
$function$;

CREATE FUNCTION pg_catalog.pgaadauth_create_principal(rolename text, isadmin boolean, ismfa boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF isadmin THEN
        RAISE EXCEPTION 'an administrator must be bound to an object id'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Names can be given again, ids cannot. Use pgaadauth_create_principal_with_oid or pgaad.set_admin.';
    END IF;
    EXECUTE format('CREATE ROLE %I LOGIN', rolename);
    EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L',
                   rolename, 'aadauth' || CASE WHEN ismfa THEN ',mfa' ELSE '' END);
    RAISE NOTICE 'role "%" is bound to its name, since this server has no directory to ask for an object id', rolename
        USING HINT = 'Bind it with pgaadauth_update_principal_with_oid.';
    RETURN format('Created role for "%s"', rolename);
END
$function$;

CREATE FUNCTION pg_catalog.pgaadauth_update_principal_with_oid(
    rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM pgaad.label_principal(rolename, objectid, objecttype, isadmin, ismfa);
    RETURN format('Updated role for "%s"', rolename);
END
$function$;

-- Labels a role, and makes it an administrator or takes that away, as isadmin says.
CREATE FUNCTION pgaad.label_principal(
    rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L', rolename,
                   format('aadauth,oid=%s,type=%s', objectid, objecttype)
                   || CASE WHEN isadmin THEN ',admin' ELSE '' END
                   || CASE WHEN ismfa THEN ',mfa' ELSE '' END);
    IF isadmin THEN
        EXECUTE format('GRANT azure_ad_admin TO %I', rolename);
    ELSIF EXISTS (SELECT FROM pg_auth_members
                  WHERE roleid = 'azure_ad_admin'::regrole AND member = quote_ident(rolename)::regrole) THEN
        EXECUTE format('REVOKE azure_ad_admin FROM %I', rolename);
    END IF;
END
$function$;

-- As on Azure: true lists administrators, false everybody.
CREATE FUNCTION pg_catalog.pgaadauth_list_principals(isadminvalue boolean)
RETURNS TABLE (rolename text, principaltype text, objectid text, tenantid text, ismfa integer, isadmin integer)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT role.rolname::text,
           coalesce(substring(label.label FROM ',type=([a-z]+)'), 'unknown'),
           substring(label.label FROM ',oid=([0-9a-fA-F-]+)'),
           nullif(current_setting('pgaad.tenant_id', true), ''),
           (label.label ~ ',mfa(,|$)' OR mfa.is_member)::integer,
           (label.label ~ ',admin(,|$)' OR admin.is_member)::integer
    FROM pg_roles role
    JOIN pg_shseclabel label
      ON label.classoid = 'pg_authid'::regclass AND label.objoid = role.oid AND label.provider = 'pgaadauth'
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_auth_members
        WHERE roleid = to_regrole('azure_ad_admin') AND member = role.oid) AS is_member) admin
    CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_auth_members
        WHERE roleid = to_regrole('azure_ad_mfa') AND member = role.oid) AS is_member) mfa
    WHERE NOT isadminvalue OR label.label ~ ',admin(,|$)' OR admin.is_member
    ORDER BY 1
$function$;

-- The one Entra administrator. Former ones lose the role, and none of the users they enabled with it.
CREATE FUNCTION pgaad.set_admin(name text, object_id text, type text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    former record;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to set the Entra administrator'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only superusers may.';
    END IF;
    IF type NOT IN ('user', 'group') THEN
        RAISE EXCEPTION 'the Entra administrator is a user or a group, not "%"', type
            USING ERRCODE = 'invalid_parameter_value', HINT = 'The type is ''user'' or ''group''.';
    END IF;

    FOR former IN
        SELECT role.rolname, label.label
        FROM pg_auth_members membership
        JOIN pg_roles role ON role.oid = membership.member
        JOIN pg_shseclabel label
          ON label.classoid = 'pg_authid'::regclass AND label.objoid = role.oid AND label.provider = 'pgaadauth'
        WHERE membership.roleid = 'azure_ad_admin'::regrole AND role.rolname <> set_admin.name
    LOOP
        EXECUTE format('REVOKE azure_ad_admin FROM %I', former.rolname);
        EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L',
                       former.rolname, replace(former.label, ',admin', ''));
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = set_admin.name) THEN
        EXECUTE format('ALTER ROLE %I LOGIN CREATEROLE CREATEDB', name);
    ELSE
        EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE CREATEDB', name);
    END IF;
    PERFORM pgaad.label_principal(name, object_id, type, true, false);
    EXECUTE format('GRANT azure_ad_user TO %I WITH ADMIN OPTION', name);
END
$function$;
