//! Tests that run inside a PostgreSQL with the library preloaded (`cargo pgrx test`).

#![allow(unsafe_code, reason = "the macros export each test under its C name")]
#![allow(clippy::unwrap_used)]

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::settings;
    use pgaad_core::settings::table::TABLE;

    fn is(query: &str) -> bool {
        Spi::get_one(query).unwrap() == Some(true)
    }

    #[pg_test]
    fn a_session_without_a_token_has_no_claims() {
        assert!(is("SELECT pgaad.claims() IS NULL"));
    }

    #[pg_test]
    fn the_marker_roles_exist_and_cannot_log_in() {
        assert!(is("SELECT count(*) = 3 AND NOT bool_or(rolcanlogin) FROM pg_roles
                    WHERE rolname IN ('azure_ad_user', 'azure_ad_admin', 'azure_ad_mfa')"));
    }

    #[pg_test]
    fn public_may_read_its_claims_and_what_labels_add_up_to() {
        assert!(is("SELECT array_agg(proname::text ORDER BY proname) = '{_labels,claims}' FROM pg_proc
                    WHERE pronamespace = 'pgaad'::regnamespace
                      AND has_function_privilege('azure_ad_mfa', oid, 'EXECUTE')"));
        assert!(is(
            "SELECT count(*) = 10 AND NOT bool_or(has_table_privilege('azure_ad_mfa', oid, 'SELECT'))
                    FROM pg_class WHERE relnamespace = 'pgaad'::regnamespace AND relkind IN ('v', 'r')"
        ));
    }

    #[pg_test]
    fn an_extension_made_again_keeps_the_marker_roles_and_their_members() {
        Spi::run("CREATE ROLE kept IN ROLE azure_ad_user").unwrap();
        Spi::run("DROP EXTENSION pgaad").unwrap();
        assert!(is("SELECT pg_has_role('kept', 'azure_ad_user', 'MEMBER')"));
        Spi::run("CREATE EXTENSION pgaad").unwrap();
        assert!(is("SELECT pg_has_role('kept', 'azure_ad_user', 'MEMBER')"));
    }

    #[pg_test]
    fn every_setting_has_a_default_that_can_be_read() {
        let settings = settings::read().unwrap();
        assert!(settings.token.is_none(), "no tenant is set in this server");
        let defined: i64 =
            Spi::get_one("SELECT count(*) FROM pg_settings WHERE name LIKE 'pgaad.%'").unwrap().unwrap();
        assert_eq!(usize::try_from(defined).unwrap(), TABLE.len());
    }

    #[pg_test]
    fn a_server_without_a_tenant_says_so_in_status() {
        assert!(is(
            "SELECT NOT configured AND NOT ready AND problem = 'pgaad.tenant_id is not set' FROM pgaad.status"
        ));
    }

    #[pg_test]
    fn the_setting_of_single_server_scripts_is_accepted_from_anybody() {
        Spi::run("SET ROLE azure_ad_mfa; SET aad_validate_oids_in_tenant = off").unwrap();
        assert!(is("SELECT current_setting('aad_validate_oids_in_tenant') = 'off'"));
    }
}

/// Set-up of the test cluster; pgrx-tests calls it by this path.
#[cfg(test)]
pub(crate) mod pg_test {
    pub(crate) fn setup(_options: Vec<&str>) {}

    pub(crate) fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'pgaad'"]
    }
}
