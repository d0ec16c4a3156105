//! Tests that run inside a PostgreSQL with the library preloaded (`cargo pgrx test`).

#![allow(clippy::unwrap_used, clippy::expect_used, unsafe_code)]

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn a_session_without_a_token_has_no_claims() {
        assert_eq!(Spi::get_one::<bool>("SELECT pgaad.claims() IS NULL").unwrap(), Some(true));
    }
}

/// Set-up of the test cluster, called by pgrx-tests.
#[cfg(test)]
pub(crate) mod pg_test {
    pub(crate) fn setup(_options: Vec<&str>) {}

    pub(crate) fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'pgaad'"]
    }
}
