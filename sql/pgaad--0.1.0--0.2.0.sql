-- From 0.1.0 to 0.2.0. Once 0.2.0 is released this file is never edited again.
\echo Use "ALTER EXTENSION pgaad UPDATE TO '0.2.0'" to load this file. \quit

-- It answers also while a setting has a value that is none.
CREATE OR REPLACE FUNCTION pgaad.check()
RETURNS TABLE (item text, ok boolean, detail text, hint text)
LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    -- A setting may have a value that is none; what is on must not depend on a cast.
    yes CONSTANT text := '^(on|t(r|ru|rue)?|y(e|es)?|1)$';
    members oid[] := ARRAY(SELECT member FROM pg_auth_members WHERE roleid = to_regrole('azure_ad_user') GROUP BY 1);
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to check the server'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only superusers may.';
    END IF;

    RETURN QUERY SELECT server.item, server.ok, server.detail, server.hint
        FROM pgaad.check_server(ARRAY(SELECT rolname::text FROM pg_roles WHERE oid = ANY (members))) server;

    RETURN QUERY WITH found(item, detail, hint) AS (
        SELECT 'roles', format('there is no role %I', marker), format('CREATE ROLE %I NOLOGIN;', marker)
        FROM unnest(ARRAY['azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa']) marker
        WHERE to_regrole(marker) IS NULL
      UNION ALL
        SELECT 'members_superuser', format('%I is a superuser and a member of azure_ad_user', rolname),
               format('REVOKE azure_ad_user FROM %I;', rolname)
        FROM pg_authid WHERE oid = ANY (members) AND rolsuper
      UNION ALL
        SELECT 'members_replication', format('%I has REPLICATION and is a member of azure_ad_user', rolname),
               format('ALTER ROLE %I NOREPLICATION;', rolname)
        FROM pg_authid WHERE oid = ANY (members) AND rolreplication
      UNION ALL
        SELECT 'members_password',
               format('%I has a password', rolname) || CASE
                   WHEN current_setting('pgaad.allow_other_methods') ~* yes THEN ', which works beside its token'
                   ELSE ', which works again when it leaves azure_ad_user' END,
               format('ALTER ROLE %I PASSWORD NULL;', rolname)
        FROM pg_authid WHERE oid = ANY (members) AND rolpassword IS NOT NULL
      UNION ALL
        SELECT 'members_by_name', format('%I is bound to its name, which can be given to somebody else', rolname),
               format('SECURITY LABEL FOR pgaadauth ON ROLE %I IS ''aadauth,oid=<object id>,type=user'';', rolname)
        FROM pg_authid role WHERE oid = ANY (members) AND rolcanlogin AND NOT EXISTS (
            SELECT FROM pg_shseclabel WHERE classoid = 'pg_authid'::regclass AND objoid = role.oid
                AND provider IN ('pgaadauth', 'pgaadauth-int') AND label ~ 'oid=')
      UNION ALL
        SELECT 'members_granted',
               format('%I is granted to %I, which is no member of azure_ad_user', granted.rolname, taker.rolname),
               format('REVOKE %I FROM %I;', granted.rolname, taker.rolname)
        FROM pg_auth_members membership
        JOIN pg_roles granted ON granted.oid = membership.roleid
        JOIN pg_roles taker ON taker.oid = membership.member
        WHERE membership.roleid = ANY (members) AND NOT membership.member = ANY (members) AND NOT taker.rolsuper
      UNION ALL
        SELECT 'members_guarded', format('%I does not load pgaad, and a trust line matches it', rolname),
               'SELECT * FROM pgaad.guard_roles(true);'
        FROM pg_roles role WHERE oid = ANY (members) AND current_setting('pgaad.allow_trust') ~* yes
            AND NOT EXISTS (SELECT FROM pg_db_role_setting setting, unnest(setting.setconfig) entry
                            WHERE setting.setrole = role.oid AND entry ~ '^session_preload_libraries=.*pgaad')
      UNION ALL
        SELECT 'unknown_settings', format('%s:%s: %s is no setting of pgaad''s', sourcefile, sourceline, name),
               format('Take line %s out of %s.', sourceline, sourcefile)
        FROM pg_file_settings setting WHERE name ~* '^pgaad\.'
            AND NOT EXISTS (SELECT FROM pg_settings known WHERE known.name = lower(setting.name))
    )
    SELECT checks.item, found.item IS NULL, coalesce(found.detail, checks.sound), found.hint
    FROM unnest(
        ARRAY['roles', 'members_superuser', 'members_replication', 'members_password', 'members_by_name',
              'members_granted', 'members_guarded', 'unknown_settings'],
        ARRAY['the three marker roles are there', 'no member is a superuser', 'no member has REPLICATION',
              'no member has a password', 'every member is bound to an id',
              'no member is granted to a role that is none', 'no member depends on a trust line alone',
              'every pgaad setting in the files is one']) WITH ORDINALITY AS checks(item, sound, place)
    LEFT JOIN found ON found.item = checks.item
    ORDER BY checks.place, found.detail;
END
$function$;
