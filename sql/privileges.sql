-- To PUBLIC nothing but claims(), what a session is told of itself, and _labels() for pgaadauth_list_principals.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgaad FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA pgaad FROM PUBLIC;
GRANT USAGE ON SCHEMA pgaad TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad.claims() TO PUBLIC;

-- A view checks the caller's right to execute the functions inside it, so these go together.
GRANT EXECUTE ON FUNCTION pgaad._status_row(), pgaad._tenant_rows(), pgaad._key_rows(), pgaad._event_rows(),
    pgaad._session_rows(), pgaad._login_counts() TO pg_monitor, azure_ad_admin;
GRANT SELECT ON pgaad.status, pgaad.tenants, pgaad.keys, pgaad.events, pgaad.sessions, pgaad.stat_logins
    TO pg_monitor, azure_ad_admin;
GRANT EXECUTE ON FUNCTION pgaad._directory_rows(), pgaad._group_rows(), pgaad._readable(text)
    TO pg_monitor, azure_ad_admin;
GRANT SELECT ON pgaad.directory, pgaad.groups TO pg_monitor, azure_ad_admin;
GRANT EXECUTE ON FUNCTION pgaad.refresh_directory(), pgaad.group_members(text), pgaad._group_member_rows(text)
    TO azure_ad_admin;
GRANT EXECUTE ON FUNCTION pgaad.refresh(), pgaad.explain(text, text), pgaad.explain_event(bigint) TO azure_ad_admin;

-- Azure's functions are in pg_catalog and anybody's to call, as there; what they do is for those
-- whom the label provider lets. The labels themselves anybody can read in pg_seclabels.
GRANT EXECUTE ON FUNCTION pgaad._labels(oid) TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgaad._check_words(text, text, text, text[]), pgaad._check_name(text),
    pgaad._object_type(text), pgaad._label_principal(text, text, text, boolean, boolean),
    pgaad._appoint(text, text, text, boolean), pgaad._share_roles(regrole), pgaad._has_directory(),
    pgaad._asks_directory(), pgaad._find_principal(text) TO azure_ad_admin;

-- Shutting somebody out. The author and the time of an entry of the log are not for its author to write.
GRANT EXECUTE ON FUNCTION pgaad.deny(uuid, timestamptz, text), pgaad.deny_token(text, timestamptz, text),
    pgaad.deny_client(uuid, timestamptz, text), pgaad.allow(uuid), pgaad.allow_token(text), pgaad.allow_client(uuid),
    pgaad._deny_by(text, text, timestamptz, text), pgaad._allow_by(text, text), pgaad._deny(text, text, bigint),
    pgaad._allow(text, text) TO azure_ad_admin;
GRANT INSERT (action, claim, tenant, id, until, reason) ON pgaad._denial_log TO azure_ad_admin;
GRANT EXECUTE ON FUNCTION pgaad._denial_rows(), pgaad._denial_mark(text, text, text) TO pg_monitor, azure_ad_admin;
GRANT SELECT ON pgaad.denied TO pg_monitor, azure_ad_admin;
