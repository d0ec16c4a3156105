-- What the extension is built on: its schema and the marker roles. No name that was there before is trusted.

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
               WHEN EXISTS (SELECT FROM pg_depend inside
                            WHERE inside.refclassid = 'pg_namespace'::regclass AND inside.refobjid = schema.oid
                              AND inside.classid <> 'pg_extension'::regclass
                              AND NOT EXISTS (
                                  SELECT FROM pg_depend member JOIN pg_extension extension
                                    ON extension.oid = member.refobjid AND extension.extname = 'pgaad'
                                  WHERE member.refclassid = 'pg_extension'::regclass AND member.deptype = 'e'
                                    AND member.classid = inside.classid AND member.objid = inside.objid)) THEN
                   'schema pgaad holds objects that are not of this extension'
           END
    INTO problem
    FROM pg_namespace schema JOIN pg_roles owner ON owner.oid = schema.nspowner
    WHERE schema.nspname = 'pgaad';
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Somebody may have prepared it. Find out who, and whether it is needed.',
                  HINT = 'DROP SCHEMA pgaad CASCADE;';
    END IF;
    PERFORM pg_catalog.set_config('search_path', path, true);
END
$bootstrap$;

-- The marker roles belong to the cluster, not to a database, and outlive the extension. They are made where they are
-- absent; one that is there already must be what it would be if it were made here. Members stay: a restore has them.
DO $bootstrap$
DECLARE
    path CONSTANT pg_catalog.text := pg_catalog.current_setting('search_path');
    marker pg_catalog.text;
    problem pg_catalog.text;
    cure pg_catalog.text;
    names pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- Waits for transactions that have changed roles while no marker role was there, prepared ones too: their
    -- statements were judged by nobody. Those that come later see the marker roles.
    LOCK TABLE pg_catalog.pg_authid, pg_catalog.pg_auth_members IN SHARE ROW EXCLUSIVE MODE;
    FOREACH marker IN ARRAY ARRAY['azure_ad_admin', 'azure_ad_user', 'azure_ad_mfa'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = marker) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', marker);
            CONTINUE;
        END IF;
        SELECT found.problem, found.cure INTO problem, cure FROM (
            SELECT 1 AS place, 'may log in, or has attributes or a password' AS problem,
                   format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB '
                          'NOREPLICATION NOBYPASSRLS PASSWORD NULL;',
                          marker) AS cure
            FROM pg_authid
            WHERE rolname = marker AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication
                                        OR rolbypassrls OR rolpassword IS NOT NULL)
          UNION ALL
            SELECT 2, format('is a member of %s', roleid::regrole),
                   format('REVOKE %s FROM %I GRANTED BY %s CASCADE;', roleid::regrole, marker, grantor::regrole)
            FROM pg_auth_members WHERE member = quote_ident(marker)::regrole
          UNION ALL
            -- An Entra administrator has the ADMIN OPTION on azure_ad_user, as on Azure.
            SELECT 3, format('can be granted by %s', membership.member::regrole),
                   format(CASE WHEN coalesce((to_jsonb(membership)->>'inherit_option')::boolean, true)
                                 OR coalesce((to_jsonb(membership)->>'set_option')::boolean, true)
                               THEN 'REVOKE ADMIN OPTION FOR %I FROM %s CASCADE;' ELSE 'REVOKE %I FROM %s CASCADE;' END,
                          marker, membership.member::regrole)
            FROM pg_auth_members membership JOIN pg_roles holder ON holder.oid = membership.member
            WHERE membership.roleid = quote_ident(marker)::regrole AND membership.admin_option AND NOT holder.rolsuper
              AND (marker = 'azure_ad_admin' OR NOT EXISTS (
                  SELECT FROM pg_auth_members office
                  WHERE office.roleid = to_regrole('azure_ad_admin') AND office.member = membership.member
                    AND coalesce((to_jsonb(office)->>'inherit_option')::boolean, true)))
        ) found ORDER BY place LIMIT 1;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'role % is there already and %', quote_ident(marker), problem
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = cure, DETAIL = 'Somebody may have prepared it. Find out who before you trust its members.';
        END IF;
    END LOOP;

    FOREACH marker IN ARRAY ARRAY['azure_ad_user', 'azure_ad_admin'] LOOP
        SELECT string_agg(member::regrole::text, ', ' ORDER BY member::regrole::text) FILTER (WHERE place <= 10)
               || CASE WHEN max(place) > 10 THEN format(' and %s more', max(place) - 10) ELSE '' END
        INTO names
        FROM (SELECT member, row_number() OVER (ORDER BY member::regrole::text) AS place
              FROM pg_auth_members WHERE roleid = quote_ident(marker)::regrole GROUP BY member) members;
        IF names IS NOT NULL AND marker = 'azure_ad_user' THEN
            RAISE NOTICE 'role azure_ad_user has members already: %', names;
        ELSIF names IS NOT NULL THEN
            RAISE WARNING 'role azure_ad_admin has members already, who are Entra administrators: %', names;
        END IF;
    END LOOP;
    PERFORM pg_catalog.set_config('search_path', path, true);
END
$bootstrap$;
