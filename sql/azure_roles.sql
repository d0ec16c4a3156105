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
