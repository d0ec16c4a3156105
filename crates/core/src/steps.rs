//! The steps of the straight line, by the names that explanations give them.

/// One step of the straight line and how it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The step.
    pub step: &'static str,
    /// Whether it lets the token on; `None` when it could not be tried.
    pub ok: Option<bool>,
    /// What was found and what was wanted; the code of the refusal first.
    pub detail: String,
}

/// The steps in the order of a login.
pub const STEPS: [&str; 11] =
    ["header", "key", "claims", "issuer", "tenant", "audience", "time", "kind", "scope", "role", "binding"];

/// Stands for a refusal that comes before a token is looked at.
pub(crate) const BEFORE_ANY_STEP: usize = usize::MAX;

/// The place of the step that a refusal comes from.
pub(crate) fn step_of(code: &str) -> usize {
    let step = match code {
        "no_token"
        | "token_too_large"
        | "malformed_token"
        | "header_invalid"
        | "critical_header"
        | "forbidden_header"
        | "unsupported_algorithm" => "header",
        "no_keys" | "keys_stale" | "key_unknown" | "bad_signature" | "key_issuer_mismatch" => "key",
        "payload_invalid" | "claim_missing" | "claim_invalid" => "claims",
        "issuer_unknown" | "version_mismatch" => "issuer",
        "wrong_tenant" => "tenant",
        "wrong_audience" => "audience",
        "expired" | "not_yet_valid" | "lifetime_invalid" => "time",
        "no_object_id" | "not_an_access_token" | "kind_unknown" | "proof_of_possession" => "kind",
        "wrong_scope" => "scope",
        "role_missing" | "role_not_member" | "role_nologin" | "role_expired" | "role_superuser" => "role",
        "label_unusable" | "name_too_long" | "principal_mismatch" | "kind_mismatch" | "not_in_group"
        | "groups_missing" | "groups_overage" | "role_not_bound" | "mfa_missing" | "mfa_unknown" => "binding",
        _ => return BEFORE_ANY_STEP,
    };
    STEPS.iter().position(|other| *other == step).unwrap_or(BEFORE_ANY_STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn every_code_belongs_to_a_step_or_comes_before_all() {
        let before: Vec<_> = Refusal::CODES
            .iter()
            .map(|code| code.name)
            .filter(|code| step_of(code) == BEFORE_ANY_STEP)
            .collect();
        let expected = [
            "not_configured",
            "setting_invalid",
            "tls_required",
            "trust_not_allowed",
            "method_not_allowed",
            "trust_line_guard",
            "not_decided",
            "oauth_not_delegated",
            "role_changed",
            "server_name_line",
            "sessions_full",
            "out_of_memory",
            "internal_error",
        ];
        assert_eq!(before, expected);
    }
}
