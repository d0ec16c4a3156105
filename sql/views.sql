CREATE VIEW pgaad.status AS
    SELECT configured, ready, problem, worker_pid, last_success, last_error, next_refresh, keys, age, version
    FROM pgaad.status_row();
COMMENT ON VIEW pgaad.status IS 'whether token logins can work on this server, and what the key worker is about';

CREATE VIEW pgaad.keys AS
    SELECT kid, algorithm, bits, issuer, first_seen, last_seen, source
    FROM pgaad.key_rows();
COMMENT ON VIEW pgaad.keys IS 'the signing keys that tokens are verified with';
