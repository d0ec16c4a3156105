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
COMMENT ON FUNCTION pgaad.refresh_directory() IS
    'has the directory read now, and waits for it; true if nothing failed';
COMMENT ON FUNCTION pgaad.group_members(text) IS
    'who would get in as a role that is bound to a group, as the directory was read last';
COMMENT ON FUNCTION pgaad._directory_rows() IS 'the rows of pgaad.directory';
COMMENT ON FUNCTION pgaad._group_rows() IS 'the rows of pgaad.groups, without the roles';
COMMENT ON FUNCTION pgaad._group_member_rows(text) IS 'the rows of pgaad.group_members()';
COMMENT ON FUNCTION pgaad._has_directory() IS 'whether the directory is read, so that names can be looked up';
COMMENT ON FUNCTION pgaad._asks_directory() IS 'whether the caller has names looked up in the directory';
COMMENT ON FUNCTION pgaad._find_principal(text) IS 'what has a name in the directory; an error where not one thing has';
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
