//! What is wrong with the settings, and with what stands beside them.

use pgaad_core::Reason;
use pgaad_core::log_line::LogLine;
use pgaad_core::settings::strict_default;
use pgaad_core::tenant::Cloud;
use pgaad_core::verify::TokenPolicy;

use crate::defect::{Defect, RELOAD};
use crate::evidence::Evidence;

/// A setting whose value cannot be used.
#[allow(clippy::unnecessary_wraps, reason = "the shape of all checks")]
pub(crate) fn unusable(evidence: &Evidence) -> Option<Vec<Defect>> {
    let defect = |reason: &Reason| {
        Defect::new(
            reason.facts(LogLine::new("every token login is refused:")).into_text(),
            match strict_default_of(reason) {
                Some((setting, value)) => format!("ALTER SYSTEM SET {setting} = '{value}'; {RELOAD}"),
                None => "Correct it in postgresql.conf and reload the server.".to_owned(),
            },
        )
    };
    Some(evidence.settings.as_ref().err().map(defect).into_iter().collect())
}

/// The setting that cannot be used, with its default, where that may be put in its place.
fn strict_default_of(reason: &Reason) -> Option<(&'static str, &'static str)> {
    let Reason::SettingInvalid { setting, .. } = reason else { return None };
    Some((setting, strict_default(setting)?))
}

/// No tenant.
pub(crate) fn tenant(evidence: &Evidence) -> Option<Vec<Defect>> {
    let is_set = evidence.settings.as_ref().ok()?.token.is_some();
    let defect = || {
        Defect::new(
            "pgaad.tenant_id is empty: every token login is refused",
            format!(
                "ALTER SYSTEM SET pgaad.tenant_id = '<tenant id>'; {RELOAD} -- az account show --query tenantId -o tsv"
            ),
        )
    };
    Some((!is_set).then(defect).into_iter().collect())
}

/// An audience that no token of this cloud has.
pub(crate) fn audience(evidence: &Evidence) -> Option<Vec<Defect>> {
    let policy = evidence.policy()?;
    let own = policy.tenant.cloud();
    let defect = |(audience, other): (&String, Cloud)| {
        Defect::new(
            format!(
                "{audience} is of another cloud than pgaad.cloud, which is {}: no token has it",
                own.name()
            ),
            format!("ALTER SYSTEM SET pgaad.cloud = '{}'; {RELOAD}", other.name()),
        )
    };
    Some(default_audiences(policy).filter(|(_, cloud)| *cloud != own).take(1).map(defect).collect())
}

/// An audience that others share.
pub(crate) fn audience_shared(evidence: &Evidence) -> Option<Vec<Defect>> {
    let policy = evidence.policy()?;
    let own = policy.tenant.cloud();
    let defect = |(audience, _): (&String, Cloud)| {
        Defect::new(
            format!(
                "{audience} is shared by Azure and all pgaad servers of the tenant: each could use tokens at \
                 the others"
            ),
            "Set pgaad.audience to an app registration of this server's own: docs/audience.md.",
        )
    };
    Some(default_audiences(policy).filter(|(_, cloud)| *cloud == own).take(1).map(defect).collect())
}

/// Those accepted audiences that Azure gives its own databases, each with its cloud.
fn default_audiences(policy: &TokenPolicy) -> impl Iterator<Item = (&String, Cloud)> {
    policy.audiences.iter().filter_map(|audience| Some((audience, Cloud::of_default_audience(audience)?)))
}

/// An application of one's own has the scopes that one gives it, and any client of the tenant can get a token for it.
pub(crate) fn scope(evidence: &Evidence) -> Option<Vec<Defect>> {
    let policy = evidence.policy()?;
    let has_own = policy.audiences.iter().any(|audience| Cloud::of_default_audience(audience).is_none());
    let defect = || {
        Defect::new(
            "users' tokens with any scope are accepted, also such that were issued for another purpose than \
             this server",
            "Set pgaad.scope to the scope of the application in pgaad.audience that means this server: \
             docs/audience.md.",
        )
    };
    Some((has_own && policy.scopes.is_empty()).then(defect).into_iter().collect())
}

/// Another library decides whether pgaad is asked.
#[allow(clippy::unnecessary_wraps, reason = "the shape of all checks")]
pub(crate) fn hook(evidence: &Evidence) -> Option<Vec<Defect>> {
    let defect = |library: &String| {
        Defect::new(
            format!("{library} has put itself before pgaad, and decides whether pgaad is asked"),
            format!(
                "ALTER SYSTEM SET shared_preload_libraries = {}; -- and restart the server",
                with_pgaad_last(evidence)
            ),
        )
    };
    Some(evidence.outer_library.iter().map(defect).collect())
}

/// The libraries to preload, each quoted by itself: the quotes of a list would make it one name.
fn with_pgaad_last(evidence: &Evidence) -> String {
    let names = evidence.preloaded.split(',').map(|name| name.trim().trim_matches('"'));
    let is_ours = |name: &str| name.rsplit('/').next() == Some("pgaad");
    let others = names.filter(|name| !name.is_empty() && !is_ours(name));
    let quoted: Vec<_> = others.chain(["pgaad"]).map(|name| format!("'{name}'")).collect();
    quoted.join(", ")
}

/// The server goes by lines that are not those of the file any more.
pub(crate) fn hba_reload(evidence: &Evidence) -> Option<Vec<Defect>> {
    evidence.lines.as_ref().ok()?;
    let defect = |file: &String| {
        Defect::new(
            format!("{file} was changed, and not loaded since: the server goes by the lines from before"),
            RELOAD,
        )
    };
    Some(evidence.changed_files.iter().map(defect).collect())
}

/// `pg_hba.conf` cannot be read.
#[allow(clippy::unnecessary_wraps, reason = "the shape of all checks")]
pub(crate) fn hba_file(evidence: &Evidence) -> Option<Vec<Defect>> {
    let defect = |error: &String| {
        Defect::new(error.as_str(), "SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL;")
    };
    Some(evidence.lines.as_ref().err().map(defect).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgaad_is_named_once_and_last_and_each_library_by_itself() {
        for (preloaded, wanted) in [
            ("pgaad, auth_delay", "'auth_delay', 'pgaad'"),
            ("\"$libdir/pgaad\",pg_stat_statements , Odd", "'pg_stat_statements', 'Odd', 'pgaad'"),
            ("", "'pgaad'"),
        ] {
            let evidence = Evidence { preloaded: preloaded.to_owned(), ..Evidence::default() };
            assert_eq!(with_pgaad_last(&evidence), wanted);
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_replaced_only_by_the_strictest() {
        let hint = |setting| {
            let reason = Reason::SettingInvalid { setting, value: None, expected: "x".to_owned() };
            let evidence = Evidence { settings: Err(reason), ..Evidence::default() };
            unusable(&evidence).unwrap().remove(0).hint
        };
        let pasted = "ALTER SYSTEM SET pgaad.clock_skew = '300s'; SELECT pg_reload_conf();";
        assert_eq!(hint("pgaad.clock_skew"), pasted);
        for setting in ["pgaad.audience", "pgaad.tenant_id"] {
            assert_eq!(hint(setting), "Correct it in postgresql.conf and reload the server.");
        }
    }
}
