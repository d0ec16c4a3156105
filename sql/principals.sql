-- Azure Database for PostgreSQL's functions, by Azure's names, so that scripts written there run here
-- (https://learn.microsoft.com/azure/postgresql/security/security-manage-entra-users).
-- All run with the caller's own rights: CREATEROLE makes the role, and who may label it is the
-- label provider's to say.

-- Refuses words that would mean another role, or more than they say. A name that is longer than PostgreSQL's limit
-- would be cut, and mean the role with its first 63 bytes.
CREATE FUNCTION pgaad._check_words(rolename text, objectid text, objecttype text, types text[])
RETURNS void
LANGUAGE plpgsql IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF rolename IS NULL OR objectid IS NULL OR objecttype IS NULL THEN
        RAISE EXCEPTION 'the role name, the object id and its type must not be NULL'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    PERFORM pgaad._check_name(rolename);
    IF objectid !~ '^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$' THEN
        RAISE EXCEPTION 'the object id "%" is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx', objectid
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'For a user: az ad user show --id <user principal name> --query id -o tsv';
    END IF;
    IF objecttype <> ALL (types) THEN
        RAISE EXCEPTION 'the type "%" is not one of %', objecttype, array_to_string(types, ', ')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$function$;

-- The type of a principal by Azure's word for it in these functions, which other tools of Microsoft's call otherwise:
-- 'ServicePrincipal' of Azure Resource Manager, and words in capitals.
CREATE FUNCTION pgaad._object_type(word text)
RETURNS text
LANGUAGE sql IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE lower(word) WHEN 'user' THEN 'user' WHEN 'group' THEN 'group'
                            WHEN 'service' THEN 'service' WHEN 'serviceprincipal' THEN 'service' ELSE word END
$function$;

CREATE FUNCTION pgaad._check_name(rolename text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF rolename IS NULL OR rolename = '' THEN
        RAISE EXCEPTION 'the role name must not be NULL or empty' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF octet_length(rolename) > 63 THEN
        RAISE EXCEPTION 'the role name "%" is longer than 63 bytes', rolename
            USING ERRCODE = 'name_too_long',
                  HINT = 'Choose a shorter name for the role, and bind it by object id.';
    END IF;
END
$function$;

-- Makes another administrator for one who is in office, while a superuser lets them (Flexible Server's way). It runs as
-- the extension's owner, so it makes a role of its own and takes none that was there, and gives it what the office
-- gives to everybody. Who may call it is who is an administrator: nobody else may execute it.
CREATE FUNCTION pgaad._appoint(rolename text, objectid text, objecttype text, ismfa boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    IF NOT pgaad._admins_make_admins() THEN
        RAISE EXCEPTION 'permission denied to make another Entra administrator'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'A superuser does it, or lets administrators do it: pgaad.admins_make_admins = on.';
    END IF;
    -- Who may execute this is azure_ad_admin, and so may a function that it owns, whoever calls that.
    IF NOT pg_has_role(session_user, 'azure_ad_admin', 'MEMBER') THEN
        RAISE EXCEPTION 'permission denied to make another Entra administrator'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Log in as an Entra administrator.';
    END IF;
    PERFORM pgaad._check_words(rolename, objectid, objecttype, ARRAY['user', 'group', 'service']);
    EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE CREATEDB', rolename);
    EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L', rolename,
                   format('aadauth,oid=%s,type=%s,admin', objectid, objecttype)
                   || CASE WHEN ismfa THEN ',mfa' ELSE '' END);
    EXECUTE format('GRANT azure_ad_admin TO %I', rolename);
    EXECUTE format('GRANT azure_ad_user TO %I WITH ADMIN OPTION', rolename);
END
$function$;

-- From 16 on: gives an administrator the ADMIN OPTION on the Entra roles on which the caller has it, by the caller's
-- own right, and so on no other role.
CREATE FUNCTION pgaad._share_roles(successor regrole)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    role regrole;
BEGIN
    IF current_setting('server_version_num')::integer < 160000 THEN
        RETURN;
    END IF;
    FOR role IN
        SELECT DISTINCT given.roleid FROM pg_auth_members given
        JOIN pg_auth_members entra ON entra.roleid = 'azure_ad_user'::regrole AND entra.member = given.roleid
        WHERE given.member = quote_ident(current_user)::regrole AND given.admin_option AND given.roleid <> successor
    LOOP
        BEGIN
            EXECUTE format('GRANT %s TO %s WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', role, successor);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'role % stays a superuser''s to hand on: %', role, SQLERRM;
        END;
    END LOOP;
END
$function$;

-- Whether the caller has names looked up in the directory: where it is read, superusers and Entra administrators.
CREATE FUNCTION pgaad._asks_directory()
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._has_directory()
        AND ((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
             OR pg_has_role(current_user, 'azure_ad_admin', 'USAGE'))
$function$;

CREATE FUNCTION pg_catalog.pgaadauth_create_principal_with_oid(
    rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    objecttype := pgaad._object_type(objecttype);
    PERFORM pgaad._check_words(rolename, objectid, objecttype, ARRAY['user', 'group', 'service']);
    IF isadmin AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        IF NOT pg_has_role(current_user, 'azure_ad_admin', 'USAGE') THEN
            RAISE EXCEPTION 'permission denied to make an Entra administrator'
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Only superusers may, and administrators while pgaad.admins_make_admins is on.';
        END IF;
        PERFORM pgaad._appoint(rolename, objectid, objecttype, ismfa);
        PERFORM pgaad._share_roles(quote_ident(rolename)::regrole);
        RETURN format('Created role for %I', rolename);
    END IF;
    IF isadmin THEN
        EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE CREATEDB', rolename);
    ELSE
        EXECUTE format('CREATE ROLE %I LOGIN', rolename);
    END IF;
    PERFORM pgaad._label_principal(rolename, objectid, objecttype, isadmin, ismfa);
    RETURN format('Created role for %I', rolename);
END
$function$;

CREATE FUNCTION pg_catalog.pgaadauth_create_principal(rolename text, isadmin boolean, ismfa boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    found record;
    answer text;
BEGIN
    PERFORM pgaad._check_name(rolename);
    IF pgaad._asks_directory() THEN
        -- Before any statement about roles, for which others would have to wait as long.
        SELECT * INTO found FROM pgaad._find_principal(rolename);
        answer := pg_catalog.pgaadauth_create_principal_with_oid(
            rolename, found.object_id, found.type, isadmin, ismfa);
        IF isadmin IS NOT TRUE THEN
            EXECUTE format('SECURITY LABEL FOR "pgaadauth-int" ON ROLE %I IS %L', rolename,
                           format('type=%s,oid=%s,tenant_id=%s', found.type, found.object_id, found.tenant_id));
        END IF;
        RAISE NOTICE 'role "%" is for % %', rolename, found.type, found.object_id;
        RETURN answer;
    END IF;
    IF isadmin THEN
        RAISE EXCEPTION 'an administrator must be bound to an object id'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Names can be given again, ids cannot. '
                         'Use pgaadauth_create_principal_with_oid or pgaad.set_admin.';
    END IF;
    EXECUTE format('CREATE ROLE %I LOGIN', rolename);
    EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L',
                   rolename, 'aadauth' || CASE WHEN ismfa THEN ',mfa' ELSE '' END);
    RAISE NOTICE 'role "%" is bound to its name, since this server has no directory to ask for an object id', rolename
        USING HINT = 'Bind it with pgaadauth_update_principal_with_oid.';
    RETURN format('Created role for %I', rolename);
END
$function$;

CREATE FUNCTION pg_catalog.pgaadauth_update_principal_with_oid(
    rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    objecttype := pgaad._object_type(objecttype);
    PERFORM pgaad._check_words(rolename, objectid, objecttype, ARRAY['user', 'group', 'service']);
    PERFORM pgaad._label_principal(rolename, objectid, objecttype, isadmin, ismfa);
    RETURN format('Updated role for %I', rolename);
END
$function$;

-- From PostgreSQL 16 on CREATEROLE rules over the roles on which it has the ADMIN OPTION, and over no others. So
-- an administrator is given it on Entra roles, and it goes with the office. On 15 CREATEROLE is enough.

-- Takes from an administrator the ADMIN OPTIONs that the office gave, and returns the roles that they were on.
CREATE FUNCTION pgaad._take_roles(former oid)
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
    -- The Entra roles, and those that the administrator made: core's own grant to who makes a role is this one.
    taken := ARRAY(
        SELECT DISTINCT given.roleid
        FROM pg_auth_members given
        WHERE given.member = former AND given.admin_option AND given.roleid <> ALL (markers)
          AND (EXISTS (SELECT FROM pg_auth_members entra
                       WHERE entra.roleid = 'azure_ad_user'::regrole AND entra.member = given.roleid)
               OR given.grantor = 10 AND NOT given.inherit_option AND NOT given.set_option));

    -- What the administrator gave to others they keep, from the bootstrap superuser, whose grants depend on nobody's.
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

    -- What the administrator gave to themselves goes with the rest.
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

-- Takes from an administrator the memberships that no superuser has given: with CREATEROLE, and roles that they made by
-- it, an administrator grants roles to themselves. On 15 also the ADMIN OPTION on marker and Entra roles.
CREATE FUNCTION pgaad._take_own_grants(former oid)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    markers CONSTANT oid[] := ARRAY['azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa']::regrole[]::oid[];
    membership record;
BEGIN
    FOR membership IN
        SELECT given.roleid::regrole AS role, grantor.oid::regrole AS grantor
        FROM pg_auth_members given LEFT JOIN pg_roles grantor ON grantor.oid = given.grantor
        WHERE given.member = former AND given.roleid <> ALL (markers) AND NOT coalesce(grantor.rolsuper, false)
    LOOP
        RAISE NOTICE 'role % leaves role %, which no superuser has granted to it', former::regrole, membership.role;
        EXECUTE format('REVOKE %s FROM %s %s CASCADE', membership.role, former::regrole,
                       CASE WHEN current_setting('server_version_num')::integer < 160000 THEN ''
                            ELSE format('GRANTED BY %s', membership.grantor) END);
    END LOOP;
    IF current_setting('server_version_num')::integer >= 160000 THEN
        RETURN;
    END IF;
    FOR membership IN
        SELECT roleid::regrole AS role FROM pg_auth_members given
        WHERE member = former AND admin_option
          AND (roleid = ANY (markers)
               OR EXISTS (SELECT FROM pg_auth_members entra
                          WHERE entra.roleid = 'azure_ad_user'::regrole AND entra.member = given.roleid))
    LOOP
        EXECUTE format('REVOKE ADMIN OPTION FOR %s FROM %s', membership.role, former::regrole);
    END LOOP;
END
$function$;

-- Gives an administrator the ADMIN OPTION on Entra roles, and on these.
--
-- An administrator must not choose what they are given. So a role that an administrator put into azure_ad_user without
-- holding its ADMIN OPTION is passed over (a membership WITH SET FALSE, see src/pg/role_plan.rs), and so is every role
-- with power over the server.
CREATE FUNCTION pgaad._give_roles(successor oid, others oid[])
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
        WHERE found.oid <> successor AND NOT coalesce(given.admin_option, false)
          AND (found.oid = ANY (others)
               OR EXISTS (SELECT FROM pg_auth_members entra
                          WHERE entra.roleid = 'azure_ad_user'::regrole AND entra.member = found.oid
                            AND entra.set_option))
          AND found.oid >= 16384
          AND NOT (found.rolsuper OR found.rolreplication OR found.rolbypassrls)
          AND NOT EXISTS (
              SELECT FROM pg_roles power
              WHERE (power.rolsuper OR power.rolname IN ('azure_ad_admin', 'azure_pg_admin', 'pg_read_server_files',
                         'pg_write_server_files', 'pg_execute_server_program', 'pg_write_all_data'))
                AND pg_has_role(found.oid, power.oid, 'MEMBER'))
    LOOP
        IF role.is_below THEN
            RAISE WARNING 'role % is a member of %, who so cannot administer it', role.name, successor::regrole;
        ELSE
            -- No right of the role's own comes with it; what the administrator has of it already stays.
            EXECUTE format('GRANT %s TO %s WITH ADMIN TRUE %s', role.name, successor::regrole,
                           CASE WHEN role.is_new THEN ', INHERIT FALSE, SET FALSE' ELSE '' END);
        END IF;
    END LOOP;
END
$function$;

-- Labels a role, and makes it an administrator or takes that away, as isadmin says.
CREATE FUNCTION pgaad._label_principal(
    rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM pgaad._check_words(rolename, objectid, objecttype, ARRAY['user', 'group', 'service']);
    EXECUTE format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS %L', rolename,
                   format('aadauth,oid=%s,type=%s', objectid, objecttype)
                   || CASE WHEN isadmin THEN ',admin' ELSE '' END
                   || CASE WHEN ismfa THEN ',mfa' ELSE '' END);
    -- The label, which only superusers may write with admin, has taken the lock on roles: what is looked at stays so.
    IF isadmin THEN
        PERFORM pgaad._check_candidate(quote_ident(rolename)::regrole::oid);
        EXECUTE format('GRANT azure_ad_admin TO %I', rolename);
        PERFORM pgaad._give_roles(quote_ident(rolename)::regrole::oid, ARRAY[]::oid[]);
    ELSIF EXISTS (SELECT FROM pg_auth_members
                  WHERE roleid = 'azure_ad_admin'::regrole AND member = quote_ident(rolename)::regrole) THEN
        PERFORM pgaad._take_office(quote_ident(rolename)::regrole::oid);
    END IF;
END
$function$;

-- Takes the office from an administrator, with all that it gave: membership, labels, CREATEROLE, CREATEDB and ADMIN
-- OPTIONs. Returns the roles that the last were on.
CREATE FUNCTION pgaad._take_office(former oid)
RETURNS oid[]
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    role CONSTANT record := (SELECT holder FROM pg_roles holder WHERE holder.oid = former);
    was_member CONSTANT boolean := EXISTS (SELECT FROM pg_auth_members
        WHERE roleid = 'azure_ad_user'::regrole AND member = former);
    label record;
    taken oid[];
BEGIN
    EXECUTE format('REVOKE azure_ad_admin FROM %s', former::regrole);
    FOR label IN
        SELECT provider, given.label AS text FROM pg_shseclabel given
        WHERE classoid = 'pg_authid'::regclass AND objoid = former AND provider IN ('pgaadauth', 'pgaadauth-int')
          AND given.label ~ ',admin(,|$)'
    LOOP
        EXECUTE format('SECURITY LABEL FOR %I ON ROLE %s IS %L',
                       label.provider, former::regrole, replace(label.text, ',admin', ''));
        -- A label makes its role a member, which this one was not.
        IF NOT was_member THEN
            EXECUTE format('REVOKE azure_ad_user FROM %s', former::regrole);
        END IF;
    END LOOP;
    IF NOT role.rolsuper AND (role.rolcreaterole OR role.rolcreatedb) THEN
        EXECUTE format('ALTER ROLE %s NOCREATEROLE NOCREATEDB', former::regrole);
    END IF;
    RAISE NOTICE 'role % is no longer an Entra administrator, and has neither CREATEROLE nor CREATEDB', former::regrole;
    taken := pgaad._take_roles(former);
    PERFORM pgaad._take_own_grants(former);
    RETURN taken;
END
$function$;

-- As on Azure: true lists administrators, false all roles that are labelled, or marked by membership. Azure's servers
-- call the first column rolname, and its documents rolename.
CREATE FUNCTION pg_catalog.pgaadauth_list_principals(isadminvalue boolean)
RETURNS TABLE (rolname text, principaltype text, objectid text, tenantid text, ismfa integer, isadmin integer,
               rolename text)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT role.rolname::text,
           CASE WHEN label.bound_to IN ('user', 'group', 'service', 'role') THEN label.bound_to ELSE 'unknown' END,
           label.object_id,
           coalesce(label.tenant_id, nullif(btrim(split_part(current_setting('pgaad.tenant_id', true), ',', 1)), '')),
           (label.is_mfa OR mark.is_mfa)::integer,
           (label.is_admin OR mark.is_admin)::integer,
           role.rolname::text
    FROM pg_roles role
    CROSS JOIN LATERAL pgaad._labels(role.oid) label
    CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(roleid = to_regrole('azure_ad_user')), false) AS is_user,
               coalesce(bool_or(roleid = to_regrole('azure_ad_admin')), false) AS is_admin,
               coalesce(bool_or(roleid = to_regrole('azure_ad_mfa')), false) AS is_mfa
        FROM pg_auth_members WHERE member = role.oid) mark
    WHERE (label.is_labelled OR mark.is_user OR mark.is_admin)
      AND (NOT isadminvalue OR label.is_admin OR mark.is_admin)
    ORDER BY 1
$function$;

-- Scripts call it after they have labelled a group for the sync of its members, which there is not.
CREATE FUNCTION pg_catalog.pgaadauth_sync_roles_for_group_members()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    RAISE EXCEPTION 'roles are not made for the members of groups on this server'
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Let the members log in as the group''s role, each with a token of their own: '
                     'SECURITY LABEL FOR "pgaadauth" ON ROLE <role> IS ''aadauth,oid=<group id>,type=group'';';
END
$function$;

-- The one Entra administrator. Former ones lose the office and all that it gave, and none of the users whom they
-- enabled.
CREATE FUNCTION pgaad.set_admin(name text, object_id text, type text)
RETURNS void
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    found record;
    former oid;
    taken oid[] := ARRAY[]::oid[];
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to set the Entra administrator'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only superusers may.';
    END IF;
    type := pgaad._object_type(type);
    IF object_id IS NULL AND pgaad._has_directory() THEN
        PERFORM pgaad._check_name(name);
        SELECT * INTO found FROM pgaad._find_principal(name);
        IF type IS NOT NULL AND type <> found.type THEN
            RAISE EXCEPTION '"%" is a %, and not a %', name, found.type, type
                USING ERRCODE = 'wrong_object_type';
        END IF;
        object_id := found.object_id;
        type := found.type;
        RAISE NOTICE 'the administrator "%" is % %', name, type, object_id;
    END IF;
    PERFORM pgaad._check_words(name, object_id, type, ARRAY['user', 'group']);
    -- Otherwise what others have committed meanwhile would not be seen.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the Entra administrator cannot be set in a transaction of isolation level %',
                        current_setting('transaction_isolation')
            USING ERRCODE = 'active_sql_transaction', HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED;';
    END IF;
    -- Changes nothing, and takes the lock on roles: nobody grants the new administrator's role in the meantime.
    ALTER ROLE azure_ad_admin NOLOGIN;

    FOR former IN
        SELECT membership.member FROM pg_auth_members membership JOIN pg_roles role ON role.oid = membership.member
        WHERE membership.roleid = 'azure_ad_admin'::regrole AND role.rolname <> set_admin.name
        GROUP BY membership.member
    LOOP
        taken := taken || pgaad._take_office(former);
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = set_admin.name) THEN
        PERFORM pgaad._check_candidate(quote_ident(name)::regrole::oid);
        EXECUTE format('ALTER ROLE %I LOGIN CREATEROLE CREATEDB', name);
    ELSE
        EXECUTE format('CREATE ROLE %I LOGIN CREATEROLE CREATEDB', name);
    END IF;
    PERFORM pgaad._label_principal(name, object_id, type, true, false);
    EXECUTE format('GRANT azure_ad_user TO %I WITH ADMIN OPTION', name);
    PERFORM pgaad._give_roles(quote_ident(name)::regrole::oid, taken);
END
$function$;

-- Refuses a role that has power over the server, and one that others have the rights of: they would be administrators,
-- too. A role can be made and granted by anybody with CREATEROLE before a superuser makes it the administrator's.
CREATE FUNCTION pgaad._check_candidate(role oid)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    other record;
    is_in_office CONSTANT boolean := EXISTS (SELECT FROM pg_auth_members
        WHERE roleid = 'azure_ad_admin'::regrole AND member = role);
BEGIN
    IF EXISTS (SELECT FROM pg_roles candidate WHERE candidate.oid = role
               AND (rolsuper OR rolreplication OR rolbypassrls OR candidate.oid < 16384
                    OR rolname IN ('azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa'))) THEN
        RAISE EXCEPTION 'role % cannot be the Entra administrator', role::regrole
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Choose a role that is neither a superuser nor predefined, '
                         'and has neither REPLICATION nor BYPASSRLS.';
    END IF;
    -- A setting such as search_path would be at work in every session of the administrator.
    IF NOT is_in_office AND EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = role) THEN
        RAISE EXCEPTION 'role % has settings of its own, which somebody may have prepared', role::regrole
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = (SELECT string_agg(format('ALTER ROLE %s %sRESET ALL;', role::regrole,
                                                   coalesce('IN DATABASE ' || quote_ident(datname) || ' ', '')), ' ')
                          FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase
                          WHERE setrole = role);
    END IF;
    FOR other IN
        SELECT membership.member::regrole AS name,
               bool_or(coalesce((to_jsonb(membership)->>'inherit_option')::boolean, true)
                       OR coalesce((to_jsonb(membership)->>'set_option')::boolean, true)) AS has_rights,
               -- From 16 on a REVOKE takes back what its own grantor gave.
               string_agg(format('REVOKE %s FROM %s GRANTED BY %s CASCADE;', role::regrole,
                                 membership.member::regrole, membership.grantor::regrole), ' ') AS cure
        FROM pg_auth_members membership JOIN pg_roles member ON member.oid = membership.member
        WHERE membership.roleid = role AND NOT member.rolsuper
        GROUP BY membership.member
        ORDER BY 2 DESC
    LOOP
        IF other.has_rights AND is_in_office THEN
            RAISE WARNING 'role % has member %, which is an Entra administrator, too', role::regrole, other.name
                USING HINT = other.cure;
            CONTINUE;
        ELSIF other.has_rights THEN
            RAISE EXCEPTION 'role % has member %, which would be an Entra administrator, too', role::regrole, other.name
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = other.cure;
        END IF;
        RAISE WARNING 'role % can alter role %, the Entra administrator''s', other.name, role::regrole
            USING HINT = other.cure;
    END LOOP;
END
$function$;
