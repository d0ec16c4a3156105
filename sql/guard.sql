-- A second lock for trust lines: members of azure_ad_user load the library at session start, and
-- where it was not preloaded its _PG_init raises an ERROR, which core makes FATAL there.
-- What it cannot do: superusers can override it, walsenders do not load it, and a setting of the
-- role in one database hides this one.
CREATE FUNCTION pgaad.guard_roles("on" boolean)
RETURNS TABLE (rolename text, session_preload_libraries text)
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    libraries text[];
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'permission denied to guard roles'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Only superusers may.';
    END IF;
    FOR rolename, session_preload_libraries IN
        SELECT role.rolname,
               (SELECT substr(entry, length('session_preload_libraries=') + 1)
                FROM pg_db_role_setting setting, unnest(setting.setconfig) entry
                WHERE setting.setrole = role.oid AND setting.setdatabase = 0
                  AND entry LIKE 'session\_preload\_libraries=%')
        FROM pg_auth_members membership
        JOIN pg_roles role ON role.oid = membership.member
        WHERE membership.roleid = 'azure_ad_user'::regrole
        GROUP BY role.oid, role.rolname
        ORDER BY role.rolname
    LOOP
        -- The list as core stores it: names quoted where they have to be, separated by commas.
        libraries := array_remove(
            ARRAY(SELECT trim(both ' "' FROM library)
                  FROM unnest(string_to_array(coalesce(session_preload_libraries, ''), ',')) library
                  WHERE trim(both ' "' FROM library) <> ''),
            'pgaad');
        IF "on" THEN
            libraries := libraries || 'pgaad'::text;
        END IF;
        IF cardinality(libraries) = 0 THEN
            EXECUTE format('ALTER ROLE %I RESET session_preload_libraries', rolename);
        ELSE
            EXECUTE format('ALTER ROLE %I SET session_preload_libraries = %s', rolename,
                           (SELECT string_agg(quote_literal(library), ', ') FROM unnest(libraries) library));
        END IF;
        session_preload_libraries := array_to_string(libraries, ', ');
        RETURN NEXT;
    END LOOP;
END
$function$;
