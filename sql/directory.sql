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
