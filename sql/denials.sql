-- Shutting somebody out. Who is shut out is in labels of azure_ad_user, which hold for all databases and standbys, and
-- which everybody can read: so they hold digests. Here is who did it, when and why, in the database where they did.

-- An entry is never changed. Its author and its time are not for the author to choose: nobody but superusers may write
-- these two.
CREATE TABLE pgaad._denial_log (
    done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_by name NOT NULL DEFAULT current_user,
    action text NOT NULL CHECK (action IN ('deny', 'allow')),
    claim text NOT NULL CHECK (claim IN ('oid', 'uti', 'appid')),
    tenant uuid NOT NULL,
    id text NOT NULL,
    until timestamptz,
    reason text
);
COMMENT ON TABLE pgaad._denial_log IS 'who was shut out or let in again, by whom and why, in this database';
SELECT pg_catalog.pg_extension_config_dump('pgaad._denial_log', '');

CREATE VIEW pgaad.denied AS
    SELECT log.claim, log.id, denial.until, denial.until > now() AS in_force, denial.by_superuser, log.reason,
           log.done_by AS denied_by, log.done_at AS denied_at, log.tenant AS tenant_id
    FROM pgaad._denial_rows() denial
    LEFT JOIN (
        SELECT DISTINCT ON (mark) mark, entry.claim, entry.tenant, entry.id, entry.reason, entry.done_by,
                                   entry.done_at
        FROM pgaad._denial_log entry, LATERAL pgaad._denial_mark(entry.claim, entry.tenant::text, entry.id) mark
        WHERE entry.action = 'deny'
        ORDER BY mark, entry.done_at DESC) log USING (mark);
COMMENT ON VIEW pgaad.denied IS
    'who is shut out, whatever roles are theirs; claim and id are null where another database has shut them out';
COMMENT ON COLUMN pgaad.denied.claim IS 'what id is: oid of a user or program, uti of one token, appid of a program';
COMMENT ON COLUMN pgaad.denied.by_superuser IS
    'whether a superuser did it: then it holds for superusers'' and administrators'' roles, too';

CREATE FUNCTION pgaad._deny_by(claim text, id text, until timestamptz, reason text)
RETURNS void
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenants text[];
    sessions bigint;
BEGIN
    IF claim IS NULL OR id IS NULL OR until IS NULL THEN
        RAISE EXCEPTION 'the id and the end must not be NULL'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Without an end it is for ever.';
    END IF;
    IF until <= clock_timestamp() THEN
        RAISE EXCEPTION 'the end, %, is past', until
            USING ERRCODE = 'invalid_parameter_value', HINT = 'To let somebody in again call pgaad.allow.';
    END IF;
    tenants := pgaad._deny(claim, id,
                           CASE WHEN isfinite(until) THEN ceil(extract(epoch FROM until))::bigint END);
    INSERT INTO pgaad._denial_log (action, claim, tenant, id, until, reason)
    SELECT 'deny', claim, tenant, id, until, reason FROM unnest(tenants::uuid[]) tenant;
    sessions := (SELECT count(*) FROM pgaad.sessions session
                 WHERE CASE claim WHEN 'oid' THEN session.oid::text = _deny_by.id
                                  WHEN 'uti' THEN session.uti = _deny_by.id
                                  ELSE _deny_by.id IN (session.appid::text, session.agent::text) END);
    IF sessions > 0 THEN
        RAISE NOTICE '% session(s) on this server end within a second after this transaction', sessions;
    END IF;
END
$function$;

CREATE FUNCTION pgaad._allow_by(claim text, id text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenants text[];
BEGIN
    IF claim IS NULL OR id IS NULL THEN
        RAISE EXCEPTION 'the id must not be NULL' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    tenants := pgaad._allow(claim, id);
    INSERT INTO pgaad._denial_log (action, claim, tenant, id)
    SELECT 'allow', claim, tenant, id FROM unnest(tenants::uuid[]) tenant;
    RETURN tenants <> '{}';
END
$function$;

CREATE FUNCTION pgaad.deny(oid uuid, until timestamptz DEFAULT 'infinity', reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._deny_by('oid', oid::text, until, reason)
$function$;

CREATE FUNCTION pgaad.deny_client(appid uuid, until timestamptz DEFAULT 'infinity', reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._deny_by('appid', appid::text, until, reason)
$function$;

-- A token lives for a day at most, and the clocks may differ: after that it opens nothing anyway.
CREATE FUNCTION pgaad.deny_token(uti text, until timestamptz DEFAULT now() + interval '34 hours',
                                 reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._deny_by('uti', uti, until, reason)
$function$;

CREATE FUNCTION pgaad.allow(oid uuid)
RETURNS boolean
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._allow_by('oid', oid::text)
$function$;

CREATE FUNCTION pgaad.allow_client(appid uuid)
RETURNS boolean
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._allow_by('appid', appid::text)
$function$;

CREATE FUNCTION pgaad.allow_token(uti text)
RETURNS boolean
LANGUAGE sql VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT pgaad._allow_by('uti', uti)
$function$;
