-- Is this server safe? What files and settings tell is pgaad._check_server()'s; what the catalogs tell is here.
-- For superusers and those whom they grant it: it tells who has a password, and what is in files of the server.
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
