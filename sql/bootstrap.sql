-- The marker roles. They belong to the cluster, not to a database, and outlive the extension:
-- made where they are absent, never altered, never dropped.
DO $bootstrap$
DECLARE
    marker pg_catalog.name;
BEGIN
    FOREACH marker IN ARRAY ARRAY['azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa']::pg_catalog.name[] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) marker) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', marker);
        END IF;
    END LOOP;
END
$bootstrap$;
