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

-- From PostgreSQL 16 on CREATEROLE rules over the roles on which it has the ADMIN OPTION, and over no others. So
-- an administrator is given it on every Entra role, and it goes with his office. On 15 CREATEROLE is enough.

-- Takes from an administrator what his office gave him, and returns the roles he can no longer rule over.
CREATE FUNCTION pgaad.take_roles(former oid)
RETURNS oid[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    markers CONSTANT oid[] := ARRAY['azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa']::regrole[]::oid[];
    taken oid[];
    membership record;
BEGIN
    IF current_setting('server_version_num')::integer < 160000 THEN
        RETURN '{}';
    END IF;
    -- The Entra roles, and those that he made himself: core's own grant to who makes a role is this one.
    taken := ARRAY(
        SELECT DISTINCT given.roleid
        FROM pg_auth_members given
        WHERE given.member = former AND given.admin_option AND given.roleid <> ALL (markers)
          AND (EXISTS (SELECT FROM pg_auth_members entra
                       WHERE entra.roleid = 'azure_ad_user'::regrole AND entra.member = given.roleid)
               OR given.grantor = 10 AND NOT given.inherit_option AND NOT given.set_option));

    -- What he gave to others they keep, from the bootstrap superuser, whose grants depend on nobody's.
    FOR membership IN
        SELECT roleid::regrole AS role, member::regrole AS member,
               bool_or(admin_option) AS admin, bool_or(inherit_option) AS inherit, bool_or(set_option) AS set
        FROM pg_auth_members
        WHERE roleid = ANY (taken || markers) AND member <> former AND grantor IN (former, 10)
        GROUP BY roleid, member
        HAVING bool_or(grantor = former)
    LOOP
        EXECUTE format('GRANT %s TO %s WITH ADMIN %s, INHERIT %s, SET %s', membership.role, membership.member,
                       membership.admin::text, membership.inherit::text, membership.set::text);
    END LOOP;

    -- What he gave to himself goes with the rest.
    FOR membership IN
        SELECT roleid::regrole AS role, grantor::regrole AS grantor,
               roleid = ANY (taken) AND NOT inherit_option AND NOT set_option AS is_of_office
        FROM pg_auth_members
        WHERE roleid = ANY (taken || markers) AND member = former AND admin_option
    LOOP
        EXECUTE format('REVOKE %s %s FROM %s GRANTED BY %s CASCADE',
                       CASE WHEN membership.is_of_office THEN '' ELSE 'ADMIN OPTION FOR' END,
                       membership.role, former::regrole, membership.grantor);
    END LOOP;
    RETURN taken;
END
$function$;

-- Has an administrator rule over all Entra roles, and over these.
CREATE FUNCTION pgaad.give_roles(successor oid, others oid[])
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    role record;
BEGIN
    IF current_setting('server_version_num')::integer < 160000 THEN
        RETURN;
    END IF;
    FOR role IN
        SELECT found.oid::regrole AS name, given.oid IS NULL AS is_new,
               pg_has_role(found.oid, successor, 'MEMBER') AS is_below
        FROM pg_roles found
        LEFT JOIN pg_auth_members given
          ON given.roleid = found.oid AND given.member = successor AND given.grantor = 10
        WHERE found.oid <> successor AND NOT found.rolsuper AND NOT coalesce(given.admin_option, false)
          AND (found.oid = ANY (others)
               OR EXISTS (SELECT FROM pg_auth_members entra
                          WHERE entra.roleid = 'azure_ad_user'::regrole AND entra.member = found.oid))
    LOOP
        IF role.is_below THEN
            RAISE WARNING 'role % is a member of %, who so cannot rule over it', role.name, successor::regrole;
        ELSE
            -- No right of the role's own comes with it; what he has of it already stays.
            EXECUTE format('GRANT %s TO %s WITH ADMIN TRUE %s', role.name, successor::regrole,
                           CASE WHEN role.is_new THEN ', INHERIT FALSE, SET FALSE' ELSE '' END);
        END IF;
    END LOOP;
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
        PERFORM pgaad.give_roles(quote_ident(rolename)::regrole, '{}');
    ELSIF EXISTS (SELECT FROM pg_auth_members
                  WHERE roleid = 'azure_ad_admin'::regrole AND member = quote_ident(rolename)::regrole) THEN
        EXECUTE format('REVOKE azure_ad_admin FROM %I', rolename);
        PERFORM pgaad.take_roles(quote_ident(rolename)::regrole);
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
    taken oid[] := '{}';
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
        SELECT role.oid, role.rolname, label.label
        FROM pg_auth_members membership
        JOIN pg_roles role ON role.oid = membership.member
        JOIN pg_shseclabel label
          ON label.classoid = 'pg_authid'::regclass AND label.objoid = role.oid AND label.provider = 'pgaadauth'
        WHERE membership.roleid = 'azure_ad_admin'::regrole AND role.rolname <> set_admin.name
    LOOP
        EXECUTE format('REVOKE azure_ad_admin FROM %I', former.rolname);
        EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L',
                       former.rolname, replace(former.label, ',admin', ''));
        taken := taken || pgaad.take_roles(former.oid);
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = set_admin.name) THEN
        EXECUTE format('ALTER ROLE %I LOGIN CREATEROLE CREATEDB', name);
    ELSE
        EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE CREATEDB', name);
    END IF;
    PERFORM pgaad.label_principal(name, object_id, type, true, false);
    EXECUTE format('GRANT azure_ad_user TO %I WITH ADMIN OPTION', name);
    PERFORM pgaad.give_roles(quote_ident(name)::regrole, taken);
END
$function$;
