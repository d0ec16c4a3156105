CREATE VIEW pgaad.status AS
    SELECT configured, ready, problem, worker_pid, last_success, last_error, next_refresh, keys, age, version,
           clock_ahead
    FROM pgaad._status_row();
COMMENT ON VIEW pgaad.status IS 'whether token logins can work on this server, and what the key worker is about';
COMMENT ON COLUMN pgaad.status.clock_ahead IS
    'by how much this server''s clock was ahead of the provider''s when that last answered';

CREATE VIEW pgaad.tenants AS
    SELECT tenant_id::uuid, ready, keys, age, last_success, last_error, cause
    FROM pgaad._tenant_rows();
COMMENT ON VIEW pgaad.tenants IS 'the tenants of pgaad.tenant_id, in their order, and how the fetches of their keys go';

CREATE VIEW pgaad.keys AS
    SELECT kid, algorithm, bits, issuer, first_seen, last_seen, source, tenant_id::uuid
    FROM pgaad._key_rows();
COMMENT ON VIEW pgaad.keys IS 'the signing keys that tokens are verified with';

CREATE VIEW pgaad.events AS
    SELECT id, at, role, code, route, kind, tid::uuid, oid::uuid, upn, appid::uuid, agent::uuid, aud, kid, uti,
           CASE WHEN client ~ '^[0-9a-f]*[.:]' THEN client::inet END AS client, hba_file, hba_line, rule, facts
    FROM pgaad._event_rows();
COMMENT ON VIEW pgaad.events IS 'the last 256 decisions, since the server started; client is null for a Unix socket';
COMMENT ON COLUMN pgaad.events.oid IS 'with the other claims known as far as the token''s signature was good';
COMMENT ON COLUMN pgaad.events.agent IS 'the agent that acts, for itself or for the user whose token it has';
COMMENT ON COLUMN pgaad.events.hba_line IS 'the number of the line of pg_hba.conf that matched, in hba_file';
COMMENT ON COLUMN pgaad.events.facts IS 'what the log line says of a refusal: an object of its facts, and the hint';

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

CREATE VIEW pgaad.stat_logins AS
    SELECT code, count, last_at, since FROM pgaad._login_counts();
COMMENT ON VIEW pgaad.stat_logins IS 'how often each decision was taken since the server started, or crashed last';
