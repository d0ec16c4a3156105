-- From 0.1.0 to 0.2.0. Once 0.2.0 is released this file is never edited again.
\echo Use "ALTER EXTENSION pgaad UPDATE TO '0.2.0'" to load this file. \quit

-- A schema in which somebody else may create could hold functions and operators that are better matches for the calls
-- in this extension than its own.
DO $bootstrap$
DECLARE
    path CONSTANT pg_catalog.text := pg_catalog.current_setting('search_path');
    problem pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT CASE
               WHEN NOT owner.rolsuper THEN
                   format('schema pgaad belongs to %I, which is not a superuser', owner.rolname)
               WHEN EXISTS (SELECT FROM aclexplode(schema.nspacl) entry
                            WHERE entry.privilege_type = 'CREATE' AND entry.grantee <> schema.nspowner) THEN
                   'roles other than its owner may create objects in schema pgaad'
           END
    INTO problem
    FROM pg_namespace schema JOIN pg_roles owner ON owner.oid = schema.nspowner
    WHERE schema.nspname = 'pgaad';
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Somebody may have prepared it. Find out who, and whether it is needed.',
                  HINT = 'Let a superuser own the schema, and revoke CREATE on it from others.';
    END IF;
    PERFORM pg_catalog.set_config('search_path', path, true);
END
$bootstrap$;

-- What check() says of a role whose name is in another database's encoding.
CREATE FUNCTION pgaad."_readable"("text" TEXT) RETURNS TEXT
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'readable_wrapper';
REVOKE ALL ON FUNCTION pgaad._readable(text) FROM PUBLIC;

-- What the labels of a role add up to, as a login sees them.
CREATE FUNCTION pgaad."_labels"("role" oid) RETURNS TABLE (
    "bound_to" TEXT, "object_id" TEXT, "tenant_id" TEXT, "is_admin" bool, "is_mfa" bool, "is_labelled" bool)
STABLE STRICT PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'labels_wrapper';
REVOKE ALL ON FUNCTION pgaad._labels(oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._labels(oid) TO PUBLIC;

-- Internal functions begin with an underscore, and do not trust what they are called with.
DROP FUNCTION pgaad.label_principal(text, text, text, boolean, boolean);
DROP FUNCTION pgaad.take_roles(oid);
DROP FUNCTION pgaad.give_roles(oid, oid[]);

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

-- Whether administrators make others.
CREATE FUNCTION pgaad."_admins_make_admins"() RETURNS bool
STRICT STABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'admins_make_admins_wrapper';

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

REVOKE ALL ON FUNCTION pgaad._admins_make_admins(), pgaad._appoint(text, text, text, boolean),
    pgaad._share_roles(regrole) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._appoint(text, text, text, boolean), pgaad._share_roles(regrole) TO azure_ad_admin;

CREATE OR REPLACE FUNCTION pg_catalog.pgaadauth_create_principal_with_oid(
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

CREATE OR REPLACE FUNCTION pg_catalog.pgaadauth_create_principal(rolename text, isadmin boolean, ismfa boolean)
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

CREATE OR REPLACE FUNCTION pg_catalog.pgaadauth_update_principal_with_oid(
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
DROP FUNCTION pg_catalog.pgaadauth_list_principals(boolean);
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
CREATE OR REPLACE FUNCTION pgaad.set_admin(name text, object_id text, type text)
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

REVOKE ALL ON FUNCTION pgaad._check_words(text, text, text, text[]), pgaad._check_name(text),
    pgaad._object_type(text), pgaad._label_principal(text, text, text, boolean, boolean), pgaad._take_roles(oid),
    pgaad._give_roles(oid, oid[]),
    pgaad._take_office(oid), pgaad._take_own_grants(oid), pgaad._check_candidate(oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._check_words(text, text, text, text[]), pgaad._check_name(text),
    pgaad._object_type(text), pgaad._label_principal(text, text, text, boolean, boolean) TO azure_ad_admin;

-- It knows of the roles that members are in and of the databases, as pg_hba.conf does, and how bad is what it finds.
DROP FUNCTION pgaad.check();
DROP FUNCTION pgaad.check_server(text[]);
CREATE FUNCTION pgaad._check_server(members text[], roles text[], databases text[])
RETURNS TABLE (item text, severity text, ok bool, detail text, hint text)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'check_surroundings_wrapper';
CREATE FUNCTION pgaad._gate_policy()
RETURNS TABLE (allow_trust bool, allow_other_methods bool, app_roles bool)
STRICT STABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'gate_policy_wrapper';

CREATE FUNCTION pgaad.check()
RETURNS TABLE (item text, severity text, ok boolean, detail text, hint text)
LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    members oid[] := ARRAY(SELECT member FROM pg_auth_members WHERE roleid = to_regrole('azure_ad_user') GROUP BY 1);
BEGIN
    RETURN QUERY WITH RECURSIVE
    -- Each member with each role that it is in, as pg_hba.conf counts: directly or not, by any membership.
    belongs(member, role) AS (
        SELECT member, member FROM unnest(members) member
      UNION
        SELECT belongs.member, membership.roleid
        FROM belongs JOIN pg_auth_members membership ON membership.member = belongs.role
    ),
    named(member, role, member_oid, role_oid) AS (
        SELECT member.rolname::text, role.rolname::text, member.oid, role.oid
        FROM belongs JOIN pg_roles member ON member.oid = belongs.member JOIN pg_roles role ON role.oid = belongs.role
    ),
    server AS (
        SELECT * FROM pgaad._check_server(
            coalesce((SELECT array_agg(named.member ORDER BY member_oid, role_oid) FROM named), '{}'),
            coalesce((SELECT array_agg(named.role ORDER BY member_oid, role_oid) FROM named), '{}'),
            ARRAY(SELECT datname::text FROM pg_database))
            WITH ORDINALITY AS checked(item, severity, ok, sound, hint, place)
    ),
    -- Who is a member of an Entra role, directly or through others: a +azure_ad_user in pg_hba.conf matches all of
    -- them.
    below(entra, role) AS (
        SELECT roleid, member FROM pg_auth_members WHERE roleid = ANY (members)
      UNION
        SELECT below.entra, membership.member
        FROM below JOIN pg_auth_members membership ON membership.roleid = below.role
    ),
    -- Who has the rights of azure_ad_admin; from 16 on not with the ADMIN OPTION alone.
    administrators(role, is_direct) AS (
        SELECT member, true FROM pg_auth_members WHERE roleid = to_regrole('azure_ad_admin')
      UNION
        SELECT membership.member, false
        FROM administrators JOIN pg_auth_members membership ON membership.roleid = administrators.role
        WHERE coalesce((to_jsonb(membership)->>'inherit_option')::boolean, true)
           OR coalesce((to_jsonb(membership)->>'set_option')::boolean, true)
    ),
    -- From 16 on a REVOKE takes back what its own grantor gave, and says of the others nothing but a warning.
    granted(roleid, member, revocation) AS (
        SELECT roleid, member,
               format('REVOKE %s FROM %s%s;', roleid::regrole, member::regrole,
                      ' GRANTED BY ' || quote_ident(grantor.rolname))
        FROM pg_auth_members membership LEFT JOIN pg_roles grantor ON grantor.oid = membership.grantor
    ),
    found(item, detail, hint) AS (
        SELECT 'roles', format('there is no role %I', marker), format('CREATE ROLE %I NOLOGIN;', marker)
        FROM unnest(ARRAY['azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa']) marker
        WHERE to_regrole(marker) IS NULL
      UNION ALL
        SELECT 'roles', format('%I may log in, or has attributes or a password', rolname),
               format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB '
                      'NOREPLICATION NOBYPASSRLS PASSWORD NULL;',
                      rolname)
        FROM pg_authid
        WHERE rolname IN ('azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa')
          AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
               OR rolpassword IS NOT NULL)
      UNION ALL
        SELECT 'roles', format('%s is a member of %s', member::regrole, roleid::regrole),
               revocation
        FROM granted
        WHERE member IN (to_regrole('azure_ad_user'), to_regrole('azure_ad_admin'), to_regrole('azure_ad_mfa'))
      UNION ALL
        SELECT 'administrators', format('%I has the rights of azure_ad_admin through another role', rolname),
               (SELECT string_agg(revocation, ' ' ORDER BY revocation) FROM granted
                WHERE member = pg_authid.oid AND roleid IN (SELECT role FROM administrators))
        FROM pg_authid JOIN administrators ON role = oid
        GROUP BY oid, rolname, rolsuper HAVING NOT bool_or(is_direct) AND NOT rolsuper
      UNION ALL
        -- `replication` may be an operator's own: it counts beside another of Azure's, and while it streams nowhere.
        SELECT 'azure_roles',
               format('%I, a role of Azure''s own, may log in and is a superuser or has REPLICATION', rolname),
               format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOREPLICATION NOBYPASSRLS;', rolname)
        FROM pg_authid
        WHERE oid <> 10 AND rolcanlogin AND (rolsuper OR rolreplication)
          AND (rolname IN ('azuresu', 'azure_superuser')
               OR rolname = 'replication'
                  AND coalesce(to_regrole('azuresu'), to_regrole('azure_superuser')) IS NOT NULL
                  AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE usesysid = pg_authid.oid))
      UNION ALL
        SELECT 'members_superuser', format('%I is a superuser and a member of azure_ad_user', rolname),
               revocation
        FROM pg_authid role JOIN granted ON role.oid = member
        WHERE rolsuper AND roleid = to_regrole('azure_ad_user')
      UNION ALL
        SELECT 'members_replication', format('%I has REPLICATION and is a member of azure_ad_user', rolname),
               format('ALTER ROLE %I NOREPLICATION;', rolname)
        FROM pg_authid WHERE oid = ANY (members) AND rolreplication
      UNION ALL
        SELECT 'members_privileged', format('%I has BYPASSRLS and is a member of azure_ad_user', rolname),
               format('ALTER ROLE %I NOBYPASSRLS;', rolname)
        FROM pg_authid WHERE oid = ANY (members) AND rolbypassrls
      UNION ALL
        SELECT 'members_privileged', format('%I is a predefined role and a member of azure_ad_user', rolname),
               revocation
        FROM pg_authid role JOIN granted ON role.oid = member
        WHERE role.oid < 16384 AND role.oid <> 10 AND roleid = to_regrole('azure_ad_user')
      UNION ALL
        SELECT 'members_password',
               format('%I has a password', rolname) || CASE WHEN allow_other_methods
                   THEN ', which may work beside its token'
                   ELSE ', which can be guessed at on scram-sha-256 lines, '
                        'and works again when it leaves azure_ad_user' END,
               format('ALTER ROLE %I PASSWORD NULL;', rolname)
        FROM pg_authid CROSS JOIN pgaad._gate_policy()
        WHERE oid = ANY (members) AND rolpassword IS NOT NULL
      UNION ALL
        SELECT 'members_by_name', format('%I is bound to its name, which can be given to somebody else', rolname),
               format('SECURITY LABEL FOR "pgaadauth" ON ROLE %I IS ''aadauth,oid=<object id>,type=user''; '
                      '-- docs/identity.md: groups and programs', rolname)
        FROM pg_authid role CROSS JOIN LATERAL pgaad._labels(role.oid) label
        WHERE oid = ANY (members) AND rolcanlogin AND bound_to = 'name'
      UNION ALL
        SELECT 'members_app_role',
               format('%I is bound to an app role, and tokens of more than one application, or of one that others '
                      'share, are accepted: nobody can log in as it', rolname),
               'Set pgaad.audience to the names of one application of your own: docs/audience.md.'
        FROM pg_authid role CROSS JOIN LATERAL pgaad._labels(role.oid) label CROSS JOIN pgaad._gate_policy() policy
        WHERE oid = ANY (members) AND bound_to = 'role' AND NOT policy.app_roles
      UNION ALL
        SELECT 'members_granted',
               CASE WHEN membership.roleid IS NOT NULL
                    THEN format('%s is granted to %s, which is not a member of azure_ad_user',
                                entra::regrole, role::regrole)
                    ELSE format('%s is a member of %s through other roles, and not of azure_ad_user',
                                role::regrole, entra::regrole) END,
               coalesce(revocation,
                        (SELECT string_agg(revocation, ' ' ORDER BY revocation) FROM granted
                         WHERE member = below.role
                           AND roleid IN (SELECT role FROM below between_them WHERE entra = below.entra)))
        FROM below LEFT JOIN granted membership ON membership.roleid = entra AND membership.member = role
        WHERE NOT role = ANY (members)
      UNION ALL
        SELECT 'members_guarded', format('%I does not load pgaad, and a trust line matches it', rolname),
               'SELECT * FROM pgaad.guard_roles(true);'
        FROM pg_roles role CROSS JOIN pgaad._gate_policy() WHERE oid = ANY (members) AND allow_trust
            AND NOT EXISTS (SELECT FROM pg_db_role_setting setting, unnest(setting.setconfig) entry
                            WHERE setting.setrole = role.oid AND entry ~ '^session_preload_libraries=.*pgaad')
      UNION ALL
        -- What the primary does to roles counts here once it is replayed. An idle primary sends nothing to replay.
        SELECT 'standby_lag', why || ': who was revoked on the primary meanwhile still gets in here',
               CASE why WHEN 'replay is paused' THEN 'SELECT pg_wal_replay_resume();'
                        WHEN 'no primary sends its changes'
                        THEN 'Start the primary, or correct primary_conninfo on this standby.'
                        ELSE 'SELECT wait_event FROM pg_stat_activity WHERE backend_type = ''startup'';' END
        FROM (SELECT CASE WHEN NOT pg_is_in_recovery() THEN NULL
                          WHEN pg_is_wal_replay_paused() THEN 'replay is paused'
                          WHEN NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')
                          THEN 'no primary sends its changes'
                          WHEN pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()
                               AND pg_last_xact_replay_timestamp() < now() - interval '1 min'
                          THEN format('this standby is %s behind', now() - pg_last_xact_replay_timestamp())
                          END AS why) lag
        WHERE why IS NOT NULL
      UNION ALL
        SELECT 'extension', format('the extension''s SQL is of %s, and the library is %s', extversion, version),
               'ALTER EXTENSION pgaad UPDATE;'
        FROM pg_extension, pgaad.status WHERE extname = 'pgaad' AND extversion <> version
      UNION ALL
        SELECT 'unknown_settings', format('%s:%s: %s is no setting of pgaad''s', sourcefile, sourceline, name),
               -- By its name: once the first of two is gone the others have other numbers.
               format('sed -i ''/^[[:space:]]*%s\>/Id'' ''%s''', replace(name, '.', '\.'), sourcefile)
        FROM pg_file_settings setting WHERE name ~* '^pgaad\.'
            AND NOT EXISTS (SELECT FROM pg_settings known WHERE known.name = lower(setting.name))
    )
    SELECT server.item, server.severity, coalesce(server.ok, found.item IS NULL),
           CASE WHEN found.item IS NOT NULL THEN pgaad._readable(found.detail)
                WHEN server.item = 'administrators' THEN pgaad._readable(server.sound || ': ' || coalesce(
                    (SELECT string_agg(DISTINCT role::regrole::text, ', ') FROM administrators), 'none'))
                ELSE server.sound END,
           coalesce(pgaad._readable(found.hint), server.hint)
    FROM server LEFT JOIN found ON server.ok IS NULL AND found.item = server.item
    ORDER BY server.place, found.detail;
END
$function$;
REVOKE ALL ON FUNCTION pgaad._check_server(text[], text[], text[]), pgaad._gate_policy(), pgaad.check() FROM PUBLIC;

-- Internal functions begin with an underscore. The views would follow them, yet keep their old names as aliases.
CREATE FUNCTION pgaad._status_row() RETURNS TABLE (
    "configured" bool, "ready" bool, "problem" TEXT, "worker_pid" INT, "last_success" timestamp with time zone,
    "last_error" TEXT, "next_refresh" timestamp with time zone, "keys" INT, "age" interval, "version" TEXT,
    "clock_ahead" interval)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'status_record_wrapper';
CREATE FUNCTION pgaad._key_rows() RETURNS TABLE (
    "kid" TEXT, "algorithm" TEXT, "bits" INT, "issuer" TEXT, "first_seen" timestamp with time zone,
    "last_seen" timestamp with time zone, "source" TEXT, "tenant_id" TEXT)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'key_records_wrapper';
REVOKE ALL ON FUNCTION pgaad._status_row(), pgaad._key_rows() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._status_row(), pgaad._key_rows() TO pg_monitor, azure_ad_admin;
-- A role that was granted the old function, to read the view, is granted the new function.
DO $granted$
DECLARE
    function pg_catalog.text;
    grantee pg_catalog.text;
BEGIN
    FOR function, grantee IN
        SELECT old.proname, pg_catalog.quote_ident(role.rolname)
        FROM pg_catalog.pg_proc old, pg_catalog.aclexplode(old.proacl) entry, pg_catalog.pg_roles role
        WHERE (old.oid OPERATOR(pg_catalog.=) 'pgaad.status_row()'::pg_catalog.regprocedure
               OR old.oid OPERATOR(pg_catalog.=) 'pgaad.key_rows()'::pg_catalog.regprocedure)
          AND role.oid OPERATOR(pg_catalog.=) entry.grantee AND entry.grantee OPERATOR(pg_catalog.<>) old.proowner
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION pgaad._%s() TO %s', function, grantee);
    END LOOP;
END
$granted$;
CREATE OR REPLACE VIEW pgaad.status AS
    SELECT configured, ready, problem, worker_pid, last_success, last_error, next_refresh, keys, age, version,
           clock_ahead
    FROM pgaad._status_row();
DROP FUNCTION pgaad.status_row();
COMMENT ON COLUMN pgaad.status.clock_ahead IS
    'by how much this server''s clock was ahead of the provider''s when that last answered';
CREATE OR REPLACE VIEW pgaad.keys AS
    SELECT kid, algorithm, bits, issuer, first_seen, last_seen, source, tenant_id::uuid
    FROM pgaad._key_rows();
DROP FUNCTION pgaad.key_rows();
CREATE FUNCTION pgaad._tenant_rows() RETURNS TABLE (
    "tenant_id" TEXT, "ready" bool, "keys" INT, "age" interval, "last_success" timestamp with time zone,
    "last_error" TEXT, "cause" TEXT)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'tenant_rows_wrapper';
REVOKE ALL ON FUNCTION pgaad._tenant_rows() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._tenant_rows() TO pg_monitor, azure_ad_admin;
CREATE VIEW pgaad.tenants AS
    SELECT tenant_id::uuid, ready, keys, age, last_success, last_error, cause
    FROM pgaad._tenant_rows();
COMMENT ON VIEW pgaad.tenants IS 'the tenants of pgaad.tenant_id, in their order, and how the fetches of their keys go';
GRANT SELECT ON pgaad.tenants TO pg_monitor, azure_ad_admin;
ALTER FUNCTION pgaad.login_counts() RENAME TO _login_counts;
CREATE OR REPLACE VIEW pgaad.stat_logins AS
    SELECT code, count, last_at, since FROM pgaad._login_counts();

-- The facts of an event are jsonb, and its time is called "at", as in the other views: a column does not change its
-- type in a view that stays. Rights that were granted on it are granted again; as they are granted by an extension's
-- script now, a dump leaves them out.
DO $events$
DECLARE
    path CONSTANT pg_catalog.text := pg_catalog.current_setting('search_path');
    repeated pg_catalog.text[];
    statement pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT array_agg(format('GRANT %s%s ON pgaad.events TO %s%s', entry.privilege_type, given.columns,
                            CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(grantee.rolname) END,
                            CASE WHEN entry.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END))
    INTO repeated
    FROM (SELECT relacl AS acl, '' AS columns, relowner AS owner FROM pg_class WHERE oid = 'pgaad.events'::regclass
        UNION ALL
          SELECT attacl, format(' (%I)', CASE attname WHEN 'time' THEN 'at' ELSE attname END), relowner
          FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE attrelid = 'pgaad.events'::regclass) given,
        aclexplode(given.acl) entry LEFT JOIN pg_roles grantee ON grantee.oid = entry.grantee
    WHERE entry.grantee <> given.owner;
    repeated := repeated || ARRAY(
        SELECT format('GRANT EXECUTE ON FUNCTION pgaad._event_rows() TO %I', grantee.rolname)
        FROM pg_proc old, aclexplode(old.proacl) entry JOIN pg_roles grantee ON grantee.oid = entry.grantee
        WHERE old.oid = 'pgaad.event_rows()'::regprocedure AND entry.grantee <> old.proowner);
    DROP VIEW pgaad.events;
    DROP FUNCTION pgaad.event_rows();
    CREATE FUNCTION pgaad._event_rows() RETURNS TABLE (
        "id" bigint, "at" timestamp with time zone, "code" TEXT, "route" TEXT, "role" TEXT, "client" TEXT,
        "hba_file" TEXT, "hba_line" INT, "rule" TEXT, "kind" TEXT, "tid" TEXT, "oid" TEXT, "upn" TEXT, "appid" TEXT,
        "agent" TEXT, "aud" TEXT, "kid" TEXT, "uti" TEXT, "facts" jsonb)
    STRICT VOLATILE PARALLEL RESTRICTED
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'event_records_wrapper';
    REVOKE ALL ON FUNCTION pgaad._event_rows() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION pgaad._event_rows() TO pg_monitor, azure_ad_admin;
    CREATE VIEW pgaad.events AS
        SELECT id, at, role, code, route, kind, tid::uuid, oid::uuid, upn, appid::uuid, agent::uuid, aud, kid, uti,
               CASE WHEN client ~ '^[0-9a-f]*[.:]' THEN client::inet END AS client, hba_file, hba_line, rule, facts
        FROM pgaad._event_rows();
    FOREACH statement IN ARRAY coalesce(repeated, '{}'::text[]) LOOP
        EXECUTE statement;
    END LOOP;
    PERFORM pg_catalog.set_config('search_path', path, true);
END
$events$;
COMMENT ON VIEW pgaad.events IS 'the last 256 decisions, since the server started; client is null for a Unix socket';
COMMENT ON COLUMN pgaad.events.oid IS 'with the other claims known as far as the token''s signature was good';
COMMENT ON COLUMN pgaad.events.agent IS 'the agent that acts, for itself or for the user whose token it has';
COMMENT ON COLUMN pgaad.events.hba_line IS 'the number of the line of pg_hba.conf that matched, in hba_file';
COMMENT ON COLUMN pgaad.events.facts IS 'what the log line says of a refusal: an object of its facts, and the hint';

CREATE FUNCTION pgaad._session_rows() RETURNS TABLE (
    "pid" INT, "since" timestamp with time zone, "role" TEXT, "kind" TEXT, "upn" TEXT, "oid" TEXT, "tid" TEXT,
    "appid" TEXT, "agent" TEXT, "uti" TEXT, "rule" TEXT, "route" TEXT, "client" TEXT,
    "expires_at" timestamp with time zone)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'session_rows_wrapper';
REVOKE ALL ON FUNCTION pgaad._session_rows() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._session_rows() TO pg_monitor, azure_ad_admin;

CREATE VIEW pgaad.sessions AS
    SELECT pid, since, role, kind, upn, oid::uuid, tid::uuid, appid::uuid, agent::uuid, uti, rule, route,
           CASE WHEN client ~ '^[0-9a-f]*[.:]' THEN client::inet END AS client, expires_at
    FROM pgaad._session_rows();
COMMENT ON VIEW pgaad.sessions IS
    'who is behind each connection that logged in with a token; joins pg_stat_activity by pid';
COMMENT ON COLUMN pgaad.sessions.role IS
    'the role that the client logged in as, whatever the session has set its role to since';
COMMENT ON COLUMN pgaad.sessions.agent IS 'the agent that acts, for itself or for the user whose token it has';
COMMENT ON COLUMN pgaad.sessions.expires_at IS
    'when the token expires, which ends the session only if pgaad.session_end says so';
GRANT SELECT ON pgaad.sessions TO pg_monitor, azure_ad_admin;

-- Azure's administrator role, for scripts and dumps that name it: what it was granted on a live Flexible Server of
-- PostgreSQL 16. What of it this major does not have is left out. Its members hand these roles on.
CREATE FUNCTION pgaad.make_azure_roles(with_members boolean DEFAULT false)
RETURNS TABLE (granted name)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    powers CONSTANT name[] := ARRAY['pg_checkpoint', 'pg_create_subscription', 'pg_monitor', 'pg_read_all_data',
                                    'pg_read_all_settings', 'pg_read_all_stats', 'pg_signal_autovacuum_worker',
                                    'pg_signal_backend', 'pg_stat_scan_tables'];
    role record;
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to make Azure''s roles'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only superusers may.';
    END IF;
    -- The role of the name may have been there before, with members that somebody has chosen.
    LOCK TABLE pg_authid, pg_auth_members IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO role FROM pg_authid WHERE rolname = 'azure_pg_admin';
    IF NOT FOUND THEN
        CREATE ROLE azure_pg_admin NOLOGIN;
    ELSE
        IF role.rolcanlogin OR role.rolsuper OR role.rolcreaterole OR role.rolreplication OR role.rolbypassrls
            OR role.rolpassword IS NOT NULL THEN
            RAISE EXCEPTION 'role azure_pg_admin is there, and may log in or has attributes or a password'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'ALTER ROLE azure_pg_admin NOLOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS '
                             'PASSWORD NULL;';
        END IF;
        IF NOT with_members AND EXISTS (SELECT FROM pg_auth_members WHERE roleid = role.oid) THEN
            RAISE EXCEPTION 'role azure_pg_admin is there, and its members would have its rights: %',
                (SELECT string_agg(DISTINCT member::regrole::text, ', ') FROM pg_auth_members WHERE roleid = role.oid)
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'SELECT pgaad.make_azure_roles(with_members => true); -- or revoke the role from them';
        END IF;
        -- A former member may have left a function or a view that others call with the rights of its owner.
        IF NOT with_members AND EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
                                        AND refobjid = role.oid AND deptype = 'o'
                                        AND classid NOT IN ('pg_database'::regclass, 'pg_namespace'::regclass)) THEN
            RAISE EXCEPTION 'role azure_pg_admin is there, and owns what would run with its rights, in %',
                (SELECT string_agg(DISTINCT coalesce(datname, 'all databases'), ', ')
                 FROM pg_shdepend LEFT JOIN pg_database ON pg_database.oid = dbid
                 WHERE refclassid = 'pg_authid'::regclass AND refobjid = role.oid AND deptype = 'o'
                 AND classid NOT IN ('pg_database'::regclass, 'pg_namespace'::regclass))
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'SELECT pgaad.make_azure_roles(with_members => true); -- or drop what you do not trust';
        END IF;
    END IF;
    FOR granted IN SELECT rolname FROM pg_roles WHERE rolname = ANY (powers) AND oid < 16384 ORDER BY rolname LOOP
        EXECUTE format('GRANT %I TO azure_pg_admin WITH ADMIN OPTION', granted);
        RETURN NEXT;
    END LOOP;
END
$function$;
REVOKE ALL ON FUNCTION pgaad.make_azure_roles(boolean) FROM PUBLIC;

-- Shutting somebody out.
CREATE FUNCTION pgaad._deny("claim" TEXT, "id" TEXT, "until" bigint) RETURNS TEXT[]
VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'deny_entry_wrapper';

CREATE FUNCTION pgaad._allow("claim" TEXT, "id" TEXT) RETURNS TEXT[]
STRICT VOLATILE PARALLEL UNSAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'allow_entry_wrapper';

CREATE FUNCTION pgaad._denial_rows() RETURNS TABLE (
    "mark" TEXT, "until" timestamp with time zone, "by_superuser" bool)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'denial_rows_wrapper';

CREATE FUNCTION pgaad._denial_mark("claim" TEXT, "tenant" TEXT, "id" TEXT) RETURNS TEXT
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'denial_mark_wrapper';

-- Shutting somebody out. Who is shut out is in labels of azure_ad_user, which hold for all databases and standbys, and
-- which everybody can read: so they hold digests. Here is who did it, when and why, in the database where they did.

-- An entry is never changed. Its author and its time are not for the author to choose: nobody but superusers may write
-- these two.
CREATE TABLE pgaad._denial_log (
    done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_by name NOT NULL DEFAULT current_user,
    action text NOT NULL CHECK (action IN ('deny', 'allow')),
    claim text NOT NULL CHECK (claim IN ('oid', 'uti', 'appid')),
    tenant uuid NOT NULL,
    id text NOT NULL,
    until timestamptz,
    reason text
);
COMMENT ON TABLE pgaad._denial_log IS 'who was shut out or let in again, by whom and why, in this database';
SELECT pg_catalog.pg_extension_config_dump('pgaad._denial_log', '');

CREATE VIEW pgaad.denied AS
    SELECT log.claim, log.id, denial.until, denial.until > now() AS in_force, denial.by_superuser, log.reason,
           log.done_by AS denied_by, log.done_at AS denied_at, log.tenant AS tenant_id
    FROM pgaad._denial_rows() denial
    LEFT JOIN (
        SELECT DISTINCT ON (mark) mark, entry.claim, entry.tenant, entry.id, entry.reason, entry.done_by,
                                   entry.done_at
        FROM pgaad._denial_log entry, LATERAL pgaad._denial_mark(entry.claim, entry.tenant::text, entry.id) mark
        WHERE entry.action = 'deny'
        ORDER BY mark, entry.done_at DESC) log USING (mark);
COMMENT ON VIEW pgaad.denied IS
    'who is shut out, whatever roles are theirs; claim and id are null where another database has shut them out';
COMMENT ON COLUMN pgaad.denied.claim IS 'what id is: oid of a user or program, uti of one token, appid of a program';
COMMENT ON COLUMN pgaad.denied.by_superuser IS
    'whether a superuser did it: then it holds for superusers'' and administrators'' roles, too';

CREATE FUNCTION pgaad._deny_by(claim text, id text, until timestamptz, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenants text[];
    sessions bigint;
BEGIN
    IF claim IS NULL OR id IS NULL OR until IS NULL THEN
        RAISE EXCEPTION 'the id and the end must not be NULL'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Without an end it is for ever.';
    END IF;
    IF until <= clock_timestamp() THEN
        RAISE EXCEPTION 'the end, %, is past', until
            USING ERRCODE = 'invalid_parameter_value', HINT = 'To let somebody in again call pgaad.allow.';
    END IF;
    tenants := pgaad._deny(claim, id,
                           CASE WHEN isfinite(until) THEN ceil(extract(epoch FROM until))::bigint END);
    INSERT INTO pgaad._denial_log (action, claim, tenant, id, until, reason)
    SELECT 'deny', claim, tenant, id, until, reason FROM unnest(tenants::uuid[]) tenant;
    sessions := (SELECT count(*) FROM pgaad.sessions session
                 WHERE CASE claim WHEN 'oid' THEN session.oid::text = _deny_by.id
                                  WHEN 'uti' THEN session.uti = _deny_by.id
                                  ELSE _deny_by.id IN (session.appid::text, session.agent::text) END);
    IF sessions > 0 THEN
        RAISE NOTICE '% session(s) on this server end within a second after this transaction', sessions;
    END IF;
END
$function$;

CREATE FUNCTION pgaad._allow_by(claim text, id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenants text[];
BEGIN
    IF claim IS NULL OR id IS NULL THEN
        RAISE EXCEPTION 'the id must not be NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    tenants := pgaad._allow(claim, id);
    INSERT INTO pgaad._denial_log (action, claim, tenant, id)
    SELECT 'allow', claim, tenant, id FROM unnest(tenants::uuid[]) tenant;
    RETURN tenants <> '{}';
END
$function$;

CREATE FUNCTION pgaad.deny(oid uuid, until timestamptz DEFAULT 'infinity', reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._deny_by('oid', oid::text, until, reason)
$function$;

CREATE FUNCTION pgaad.deny_client(appid uuid, until timestamptz DEFAULT 'infinity', reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._deny_by('appid', appid::text, until, reason)
$function$;

-- A token lives for a day at most, and the clocks may differ: after that it opens nothing anyway.
CREATE FUNCTION pgaad.deny_token(uti text, until timestamptz DEFAULT now() + interval '34 hours',
                                 reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._deny_by('uti', uti, until, reason)
$function$;

CREATE FUNCTION pgaad.allow(oid uuid)
RETURNS boolean
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._allow_by('oid', oid::text)
$function$;

CREATE FUNCTION pgaad.allow_client(appid uuid)
RETURNS boolean
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._allow_by('appid', appid::text)
$function$;

CREATE FUNCTION pgaad.allow_token(uti text)
RETURNS boolean
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._allow_by('uti', uti)
$function$;

REVOKE ALL ON FUNCTION pgaad.deny(uuid, timestamptz, text), pgaad.deny_token(text, timestamptz, text),
    pgaad.deny_client(uuid, timestamptz, text), pgaad.allow(uuid), pgaad.allow_token(text), pgaad.allow_client(uuid),
    pgaad._deny_by(text, text, timestamptz, text), pgaad._allow_by(text, text), pgaad._deny(text, text, bigint),
    pgaad._allow(text, text), pgaad._denial_rows(), pgaad._denial_mark(text, text, text) FROM PUBLIC;

-- Shutting somebody out. The author and the time of an entry of the log are not for its author to write.
GRANT EXECUTE ON FUNCTION pgaad.deny(uuid, timestamptz, text), pgaad.deny_token(text, timestamptz, text),
    pgaad.deny_client(uuid, timestamptz, text), pgaad.allow(uuid), pgaad.allow_token(text), pgaad.allow_client(uuid),
    pgaad._deny_by(text, text, timestamptz, text), pgaad._allow_by(text, text), pgaad._deny(text, text, bigint),
    pgaad._allow(text, text) TO azure_ad_admin;
GRANT INSERT (action, claim, tenant, id, until, reason) ON pgaad._denial_log TO azure_ad_admin;
GRANT EXECUTE ON FUNCTION pgaad._denial_rows(), pgaad._denial_mark(text, text, text) TO pg_monitor, azure_ad_admin;
GRANT SELECT ON pgaad.denied TO pg_monitor, azure_ad_admin;

-- What each function does, for psql's \df+. The names that begin with _ are internal.
COMMENT ON FUNCTION pgaad.claims() IS
    'the verified claims of the token that this session logged in with; null for a login without a token';
COMMENT ON FUNCTION pgaad.refresh() IS
    'has the signing keys fetched now, and waits for it; true if that brought keys';
COMMENT ON FUNCTION pgaad.explain(text, text) IS
    'why a token, given without its signature, would open a role or not, step by step';
COMMENT ON FUNCTION pgaad.explain_event(bigint) IS
    'why the login of a row of pgaad.events was admitted or refused, step by step';
COMMENT ON FUNCTION pgaad.check() IS
    'what is wrong with the configuration of this server, and what to do about it';
COMMENT ON FUNCTION pgaad.guard_roles(boolean) IS
    'has the members of azure_ad_user load pgaad at the start of their sessions, or no longer';
COMMENT ON FUNCTION pgaad.make_azure_roles(boolean) IS
    'makes azure_pg_admin, with the roles that it was granted on Azure''s servers';
COMMENT ON FUNCTION pgaad.set_admin(text, text, text) IS
    'makes one user, program or group the Entra administrator, in the place of those before';
COMMENT ON FUNCTION pgaad.deny(uuid, timestamptz, text) IS
    'shuts a user or program out of all roles, by object id, and ends their sessions';
COMMENT ON FUNCTION pgaad.deny_token(text, timestamptz, text) IS
    'has one token open nothing any more, by its claim uti, and ends the sessions that it has opened';
COMMENT ON FUNCTION pgaad.deny_client(uuid, timestamptz, text) IS
    'shuts out a program, and all who sign in with it, by its application id, and ends their sessions';
COMMENT ON FUNCTION pgaad.allow(uuid) IS 'lets a user or program in again; true if they were shut out';
COMMENT ON FUNCTION pgaad.allow_token(text) IS 'has a token open roles again; true if it was shut out';
COMMENT ON FUNCTION pgaad.allow_client(uuid) IS 'lets a program in again; true if it was shut out';
COMMENT ON FUNCTION pg_catalog.pgaadauth_create_principal(text, boolean, boolean) IS
    'creates a role for the user or program of that name, as Azure Database for PostgreSQL does';
COMMENT ON FUNCTION pg_catalog.pgaadauth_create_principal_with_oid(text, text, text, boolean, boolean) IS
    'creates a role for the user, program or group of that object id, as Azure Database for PostgreSQL does';
COMMENT ON FUNCTION pg_catalog.pgaadauth_update_principal_with_oid(text, text, text, boolean, boolean) IS
    'binds a role to the user, program or group of that object id, as Azure Database for PostgreSQL does';
COMMENT ON FUNCTION pg_catalog.pgaadauth_sync_roles_for_group_members() IS
    'says that roles are not made for the members of groups here, and what to use';
COMMENT ON FUNCTION pg_catalog.pgaadauth_list_principals(boolean) IS
    'the roles of Entra principals, with true the administrators alone, as Azure Database for PostgreSQL does';
COMMENT ON FUNCTION pgaad._status_row() IS 'the row of pgaad.status';
COMMENT ON FUNCTION pgaad._key_rows() IS 'the rows of pgaad.keys';
COMMENT ON FUNCTION pgaad._tenant_rows() IS 'the rows of pgaad.tenants';
COMMENT ON FUNCTION pgaad._event_rows() IS 'the rows of pgaad.events';
COMMENT ON FUNCTION pgaad._session_rows() IS 'the rows of pgaad.sessions';
COMMENT ON FUNCTION pgaad._login_counts() IS 'the rows of pgaad.stat_logins';
COMMENT ON FUNCTION pgaad._deny_by(text, text, timestamptz, text) IS
    'shuts somebody out by a claim, and keeps by whom and why';
COMMENT ON FUNCTION pgaad._allow_by(text, text) IS 'lets somebody in again, and keeps by whom';
COMMENT ON FUNCTION pgaad._deny(text, text, bigint) IS 'puts an id on the deny list';
COMMENT ON FUNCTION pgaad._allow(text, text) IS 'takes an id off the deny list';
COMMENT ON FUNCTION pgaad._denial_rows() IS 'the deny list, as every login reads it';
COMMENT ON FUNCTION pgaad._denial_mark(text, text, text) IS 'the digest by which the deny list knows an id';
COMMENT ON FUNCTION pgaad._labels(oid) IS 'what the labels of a role add up to, as a login sees them';
COMMENT ON FUNCTION pgaad._readable(text) IS 'text that every client can be sent: bytes of another encoding as \xfc';
COMMENT ON FUNCTION pgaad._gate_policy() IS 'what the settings let members do without a token, and by app roles';
COMMENT ON FUNCTION pgaad._check_server(text[], text[], text[]) IS
    'the rows of pgaad.check() about the settings, the files and the keys of the server';
COMMENT ON FUNCTION pgaad._object_type(text) IS 'the type of a principal, by whichever word of Microsoft''s';
COMMENT ON FUNCTION pgaad._check_words(text, text, text, text[]) IS
    'refuses arguments of the functions that make principals which cannot be used';
COMMENT ON FUNCTION pgaad._check_name(text) IS 'refuses names that no principal can have';
COMMENT ON FUNCTION pgaad._label_principal(text, text, text, boolean, boolean) IS 'binds a role, and makes it a member';
COMMENT ON FUNCTION pgaad._appoint(text, text, text, boolean) IS 'makes another administrator for one in office';
COMMENT ON FUNCTION pgaad._share_roles(regrole) IS 'gives an administrator the ADMIN OPTIONs that the caller has';
COMMENT ON FUNCTION pgaad._admins_make_admins() IS 'whether administrators may make others';
COMMENT ON FUNCTION pgaad._take_roles(oid) IS 'takes back the ADMIN OPTIONs that the office gave';
COMMENT ON FUNCTION pgaad._take_own_grants(oid) IS 'takes back what a former administrator has given to themselves';
COMMENT ON FUNCTION pgaad._give_roles(oid, oid[]) IS 'gives a new administrator the ADMIN OPTION on Entra roles';
COMMENT ON FUNCTION pgaad._take_office(oid) IS 'takes all from a former administrator that the office gave';
COMMENT ON FUNCTION pgaad._check_candidate(oid) IS 'refuses roles that cannot become the administrator';

-- The directory.
CREATE FUNCTION pgaad.refresh_directory() RETURNS bool
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'refresh_directory_wrapper';
CREATE FUNCTION pgaad._directory_rows() RETURNS TABLE (
    "tenant_id" TEXT, "problem" TEXT, "worker_pid" INT, "last_run" timestamp with time zone, "took" interval,
    "last_success" timestamp with time zone, "last_error" TEXT, "cause" TEXT, "failing_since" timestamp with time zone,
    "groups" INT, "accounts" INT, "requests" bigint, "bytes" bigint, "permissions" TEXT,
    "credential_expires" timestamp with time zone)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'directory_rows_wrapper';
CREATE FUNCTION pgaad._group_rows() RETURNS TABLE (
    "tenant_id" TEXT, "group_id" TEXT, "name" TEXT, "ready" bool, "members" bigint,
    "read_at" timestamp with time zone, "age" interval, "is_security" bool, "last_error" TEXT, "cause" TEXT,
    "failing_since" timestamp with time zone)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'group_rows_wrapper';
CREATE FUNCTION pgaad._group_member_rows("role" TEXT) RETURNS TABLE ("oid" TEXT, "account" TEXT)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'group_member_rows_wrapper';
CREATE VIEW pgaad.directory AS
    SELECT tenant_id::uuid, problem, worker_pid, last_run, took, last_success, last_error, cause, failing_since, groups,
           accounts, requests, bytes, string_to_array(permissions, ' ') AS permissions, credential_expires
    FROM pgaad._directory_rows();
COMMENT ON VIEW pgaad.directory IS
    'how the directory of each tenant was read last; no row while pgaad.directory is off';
COMMENT ON COLUMN pgaad.directory.permissions IS
    'the permissions that Microsoft Graph has granted, as its token names them; null where it does not tell';
COMMENT ON COLUMN pgaad.directory.credential_expires IS
    'when the certificate expires; null where the credential is another, or cannot be read';

CREATE VIEW pgaad.groups AS
    WITH bound AS MATERIALIZED (
        SELECT label.object_id, label.tenant_id,
               array_agg(pgaad._readable(role.rolname) ORDER BY role.rolname) AS roles
        FROM pg_catalog.pg_roles role, LATERAL pgaad._labels(role.oid) label
        WHERE label.bound_to = 'group'
        GROUP BY label.object_id, label.tenant_id
    )
    SELECT found.group_id::uuid, found.name,
           (SELECT array_agg(role ORDER BY role) FROM bound, unnest(bound.roles) role
            WHERE bound.object_id = found.group_id AND coalesce(bound.tenant_id, found.tenant_id) = found.tenant_id)
               AS roles,
           found.ready, found.members, found.read_at, found.age, found.is_security, found.last_error, found.cause,
           found.failing_since, found.tenant_id::uuid
    FROM pgaad._group_rows() found;
COMMENT ON VIEW pgaad.groups IS
    'the groups that members of azure_ad_user are bound to, and how each was read last from the directory';
COMMENT ON COLUMN pgaad.groups.ready IS
    'whether its members get in by the directory now: it was read, and not longer ago than pgaad.directory_max_stale';
COMMENT ON COLUMN pgaad.groups.is_security IS
    'securityEnabled: of any other group, its owners, or everybody for themselves, decide who is a member';

CREATE FUNCTION pgaad.group_members(role text) RETURNS TABLE (oid uuid, account text)
LANGUAGE sql STRICT VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$ SELECT member.oid::uuid, member.account FROM pgaad._group_member_rows($1) member $$;
REVOKE ALL ON FUNCTION pgaad.refresh_directory(), pgaad._directory_rows(), pgaad._group_rows(),
    pgaad._group_member_rows(text), pgaad.group_members(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._directory_rows(), pgaad._group_rows(), pgaad._readable(text)
    TO pg_monitor, azure_ad_admin;
GRANT SELECT ON pgaad.directory, pgaad.groups TO pg_monitor, azure_ad_admin;
GRANT EXECUTE ON FUNCTION pgaad.refresh_directory(), pgaad.group_members(text), pgaad._group_member_rows(text)
    TO azure_ad_admin;
COMMENT ON FUNCTION pgaad.refresh_directory() IS
    'has the directory read now, and waits for it; true if nothing failed';
COMMENT ON FUNCTION pgaad.group_members(text) IS
    'who would get in as a role that is bound to a group, as the directory was read last';
COMMENT ON FUNCTION pgaad._directory_rows() IS 'the rows of pgaad.directory';
COMMENT ON FUNCTION pgaad._group_rows() IS 'the rows of pgaad.groups, without the roles';
COMMENT ON FUNCTION pgaad._group_member_rows(text) IS 'the rows of pgaad.group_members()';

-- Names and what has them in the directory.
CREATE FUNCTION pgaad._has_directory() RETURNS bool
STRICT STABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'has_directory_wrapper';
CREATE FUNCTION pgaad._find_principal("name" TEXT) RETURNS TABLE (
    "type" TEXT, "object_id" TEXT, "tenant_id" TEXT)
STRICT VOLATILE PARALLEL RESTRICTED
LANGUAGE c
AS 'MODULE_PATHNAME', 'find_principal_wrapper';
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

REVOKE ALL ON FUNCTION pgaad._has_directory(), pgaad._asks_directory(), pgaad._find_principal(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._has_directory(), pgaad._asks_directory(), pgaad._find_principal(text)
    TO azure_ad_admin;
COMMENT ON FUNCTION pgaad._has_directory() IS 'whether the directory is read, so that names can be looked up';
COMMENT ON FUNCTION pgaad._asks_directory() IS 'whether the caller has names looked up in the directory';
COMMENT ON FUNCTION pgaad._find_principal(text) IS 'what has a name in the directory; an error where not one thing has';
