//! Every "no" this extension can say: a stable code, the facts for the log, and the little the client may know.

mod define;

use self::define::{reasons, with_facts};
pub use crate::code::Code;
use crate::deny::DeniedBy;
use crate::guid::{ObjectId, TenantId};
use crate::kind::Kind;
use crate::log_line::LogLine;
pub use crate::public_answer::PublicAnswer;
use crate::shape::Shape;
use crate::steps::Step;
use crate::suggestion::Suggestion;
use crate::time::UnixTime;

/// A claim as it is named in the token, for the log.
pub type ClaimName = &'static str;

reasons! {
    /// a setting that every decision needs is empty: `pgaad.tenant_id`
    NotConfigured => Step::Connection, "not_configured", "set `pgaad.tenant_id` in `postgresql.conf` and reload";
    /// a setting has a value that cannot be used; the log and `pgaad.status` name it
    SettingInvalid {
        /// The setting's full name.
        setting: &'static str,
        /// Its value; `None` where it may hold a secret.
        value: Option<String>,
        /// What it may be: values, range and unit.
        expected: String,
    } => Step::Connection, "setting_invalid", "correct the setting that the log names, and reload",
        |line| {
            let line = line.fact("setting", setting);
            let line = value.iter().fold(line, |line, value| line.quoted("value", value));
            line.quoted("expected", expected)
        };
    /// the connection is neither encrypted nor local, and `pgaad.require_tls` is on; said before the token is asked
    /// for
    EncryptionRequired => Step::Connection, "tls_required",
        "connect with `sslmode=require` or better; `ssl = on` on the server";
    /// the client sent an empty password
    NoToken => Step::Header, "no_token", "send the token as the password; `PGPASSWORD` is empty or missing";
    /// the password is longer than `pgaad.max_token_bytes`
    TokenTooLarge {
        /// Bytes received.
        bytes: usize,
    } => Step::Header, "token_too_large",
        "ask for fewer claims (groups assigned to the application), or raise `pgaad.max_token_bytes`",
        |line| line.fact("bytes", bytes);
    /// the password is not three base64url parts whose first is a JSON object (RFC 7515 §7.1)
    Malformed {
        /// What was sent in its place; `None` where there was no password at all.
        shape: Option<Shape>,
    } => Step::Header, "malformed_token",
        "send an access token, whole and nothing else: `looks_like` in the log says what was sent in its place",
        |line| shape.iter().fold(line, |line, shape| shape.facts(line));
    /// a header member is missing, has the wrong type or an unusable value (RFC 7515 §4.1)
    HeaderInvalid {
        /// The member.
        member: &'static str,
    } => Step::Header, "header_invalid", "get the token from Entra; something else made or changed this one",
        |line| line.fact("member", member);
    /// the header names an extension that must be understood, and none is (RFC 7515 §4.1.11)
    CriticalHeader => Step::Header, "critical_header",
        "get the token from Entra; something else made or changed this one";
    /// the header has a member that no Entra access token needs: embedded or linked keys, compression, nesting,
    /// unknown ones
    ForbiddenHeader {
        /// The member, when it is one we know; `other` otherwise.
        member: &'static str,
    } => Step::Header, "forbidden_header", "get the token from Entra; something else made or changed this one",
        |line| line.fact("member", member);
    /// the header's `alg` is not RS256
    UnsupportedAlgorithm => Step::Header, "unsupported_algorithm",
        "get the token from Entra, which signs with RS256; somebody may be trying to forge one";
    /// there are no keys yet: the provider has not answered and there is no usable `keys.json`
    NoKeys => Step::Key, "no_keys",
        "see `last_error` in `pgaad.status`; the server must reach the provider, or have `pgaad.jwks_file`";
    /// the keys are older than `pgaad.max_stale`
    KeysStale {
        /// Their age.
        age_seconds: i64,
    } => Step::Key, "keys_stale",
        "see `last_error` in `pgaad.status`: the provider has not answered for longer than `pgaad.max_stale`",
        |line| line.fact("key_age_s", age_seconds);
    /// no key of the tenant has the token's key id, also after a fetch where one was allowed
    KeyUnknown {
        /// The `kid`, or `x5t`, that the token names; nobody vouches for it.
        kid: String,
        /// Number of keys known.
        keys: usize,
        /// Their age.
        age_seconds: i64,
    } => Step::Key, "key_unknown",
        "is the token of this tenant and cloud? `SELECT pgaad.refresh()`, then compare with `pgaad.keys`",
        |line| line.quoted("kid", kid).fact("keys", keys).fact("key_age_s", age_seconds);
    /// the signature is not as long as the key that the token names makes it: the token was cut, or something was
    /// added to it
    SignatureLength {
        /// Bytes of the signature.
        signature_bytes: usize,
        /// Bytes of the key's modulus, which is as long as its signatures are (RFC 8017 §8.2.1).
        key_bytes: usize,
    } => Step::Key, "signature_length",
        "send the whole token: it was cut or added to on its way, by a field that is too short or by copying",
        |line| line.fact("signature_bytes", signature_bytes).fact("key_bytes", key_bytes);
    /// the signature is not the key's (RFC 7515 §5.2)
    BadSignature => Step::Key, "bad_signature", "get a new token; somebody may be trying to forge one";
    /// the payload is not a JSON object without duplicates
    PayloadInvalid => Step::Claims, "payload_invalid",
        "get the token from Entra; something else made or changed this one";
    /// a required claim is missing
    ClaimMissing {
        /// The claim.
        claim: ClaimName,
    } => Step::Claims, "claim_missing", "get an access token for this server, not another kind of token",
        |line| line.fact("claim", claim);
    /// a claim has the wrong type or cannot be read
    ClaimInvalid {
        /// The claim.
        claim: ClaimName,
    } => Step::Claims, "claim_invalid", "get the token from Entra; something else made or changed this one",
        |line| line.fact("claim", claim);
    /// `iss` is not one of the tenant's two issuers
    IssuerUnknown {
        /// The token's.
        iss: String,
    } => Step::Issuer, "issuer_unknown",
        "compare `iss` in the log with `pgaad.tenant_id` and `pgaad.cloud`; sign in to that tenant",
        |line| line.quoted("iss", iss);
    /// `ver` does not belong to the issuer
    VersionMismatch => Step::Issuer, "version_mismatch",
        "get the token from Entra; something else made or changed this one";
    /// `tid` is not `pgaad.tenant_id`
    WrongTenant => Step::Tenant, "wrong_tenant", "sign in to the tenant of `pgaad.tenant_id`";
    /// the key that signed belongs to another issuer, such as that of consumer accounts, or to another Microsoft
    /// cloud
    KeyIssuerMismatch {
        /// `issuer` or `cloud_instance_name`.
        member: &'static str,
        /// What the key has there.
        found: String,
        /// What it should have.
        wanted: String,
    } => Step::Key, "key_issuer_mismatch",
        "sign in with an account of the tenant, not a personal one; compare both values in the log with \
         `pgaad.cloud` and `pgaad.authority`",
        |line| line.fact("member", member).quoted("found", found).quoted("wanted", wanted);
    /// `aud` holds no accepted audience
    WrongAudience {
        /// The token's, separated by spaces.
        aud: String,
    } => Step::Audience, "wrong_audience",
        "ask for a token for this server: the resource is an entry of `pgaad.audience`; if `aud` is the client id of \
         an application of yours whose URI is accepted, add it there, since version 2 tokens carry the client id",
        |line| {
            // The subject has it.
            let _ = aud;
            line
        };
    /// `exp` is past by more than `pgaad.clock_skew`
    Expired {
        /// The claim.
        exp: UnixTime,
        /// The server's clock.
        now: UnixTime,
    } => Step::Time, "expired", "get a new token; if it is new, compare the clocks",
        |line| line.fact("exp", exp).fact("now", now).fact("ago_s", now.since(*exp));
    /// `nbf` is ahead by more than `pgaad.clock_skew`
    NotYetValid {
        /// The claim.
        nbf: UnixTime,
        /// The server's clock.
        now: UnixTime,
    } => Step::Time, "not_yet_valid", "compare the server's clock with the world's",
        |line| line.fact("nbf", nbf).fact("now", now).fact("ahead_s", nbf.since(*now));
    /// `exp` is not after `nbf`, or more than 32 hours after it
    LifetimeInvalid {
        /// `exp` − `nbf`.
        seconds: i64,
    } => Step::Time, "lifetime_invalid", "get the token from Entra; something else made or changed this one",
        |line| line.fact("lifetime_s", seconds);
    /// the token has no `oid`
    NoObjectId => Step::Kind, "no_object_id", "get an access token of a user or a program of the tenant";
    /// the token names no application (`appid`, `azp`): an ID token or another thing that is no access token
    NotAnAccessToken => Step::Kind, "not_an_access_token", "send the access token, not the ID token";
    /// the token is neither clearly a user's nor clearly a program's
    KindUnknown => Step::Kind, "kind_unknown",
        "get a delegated token (with `scp`) for a user, or an app-only one for a program";
    /// the token is bound to a key of its holder's (`cnf`, RFC 7800) and is no bearer token
    ProofOfPossession => Step::Kind, "proof_of_possession",
        "get a bearer token: switch proof of possession off in the client";
    /// a user's token has no accepted scope: none of `pgaad.scope`, or not all that the `oauth` line names
    WrongScope {
        /// The token's `scp`.
        scp: String,
        /// The accepted ones, separated by spaces.
        wanted: String,
    } => Step::Scope, "wrong_scope",
        "ask for a token with an accepted scope: the application's `/.default`, or one of those that the log \
         names",
        |line| line.quoted("scp", scp).quoted("wanted", wanted);
    /// the role's name cannot be compared: it is not UTF-8, or as long as PostgreSQL cuts names, so that it may be
    /// a piece of another one
    NameTooLong => Step::Binding, "name_too_long", "bind the role by object id, as docs/identity.md says";
    /// the role does not exist
    RoleMissing => Step::Role, "role_missing",
        "correct the user name of the connection, or create the role as a member of `azure_ad_user`";
    /// the role is not a direct member of `azure_ad_user`
    RoleNotMember {
        /// The statement that makes it one, where the role is bound to the token's holder: nobody else gets in by it.
        grant: Option<String>,
    } => Step::Role, "role_not_member",
        "grant `azure_ad_user` to the role itself, not through another role: the log has the statement where the \
         role is the holder's; or give the role's `pg_hba.conf` line its own method",
        |line| {
            // The statement is the hint.
            let _ = grant;
            line
        };
    /// the role may not log in (`NOLOGIN`)
    RoleNologin => Step::Role, "role_nologin", "give the role `LOGIN`, if it is meant to log in";
    /// the role's `VALID UNTIL` is past
    RoleExpired => Step::Role, "role_expired", "move the role's `VALID UNTIL`, if it is meant to log in";
    /// the role is a superuser and `pgaad.allow_superuser` is off
    RoleSuperuser => Step::Role, "role_superuser", "use a role that is none; or `pgaad.allow_superuser = on`";
    /// the user, the program or the token is shut out (`pgaad.denied`)
    Denied {
        /// By what; `None` while the list cannot be read, which shuts everybody out.
        by: Option<DeniedBy>,
        /// Until when; `None` for ever.
        until: Option<UnixTime>,
    } => Step::Binding, "denied",
        "call `pgaad.allow`, `pgaad.allow_client` or `pgaad.allow_token` to let them in again",
        |line| {
            let line = line.fact("denied", by.map_or("everybody", DeniedBy::name));
            until.iter().fold(line, |line, until| line.fact("until", until))
        };
    /// the role's security label cannot be read
    LabelUnusable => Step::Binding, "label_unusable", "write the label again, as docs/identity.md says";
    /// the role is for tokens of another tenant: the one that its label names, or the first of `pgaad.tenant_id`
    TenantMismatch {
        /// That of the label, where it names one.
        label: Option<TenantId>,
        /// The token's.
        token: TenantId,
    } => Step::Binding, "tenant_mismatch",
        "log in as a role of your own tenant, or name the tenant in the role's label (`tenant=`)",
        |line| label.iter().fold(line, |line, label| line.fact("label_tid", label)).fact("token_tid", token);
    /// the role is bound to another object id
    PrincipalMismatch {
        /// That of the label.
        label: ObjectId,
        /// The token's.
        token: ObjectId,
    } => Step::Binding, "principal_mismatch",
        "log in as your own role, or correct the object id in the role's label",
        |line| line.fact("label_oid", label).fact("token_oid", token);
    /// the role is bound to the other kind: a user's token for a service, or the reverse
    KindMismatch {
        /// That of the label.
        label: Kind,
        /// The token's.
        token: Kind,
    } => Step::Binding, "kind_mismatch",
        "log in with a token of the kind that the label names: a program's own for `service`, a user's for \
         `user`",
        |line| line.fact("label_kind", label).fact("token_kind", token);
    /// the token's groups do not hold the role's group
    NotInGroup {
        /// The role's group.
        group: ObjectId,
        /// Whether the token holds names of groups and no ids.
        by_names: bool,
        /// When the directory was read that says so; `None` where the token does.
        by_directory: Option<UnixTime>,
    } => Step::Binding, "not_in_group",
        "become a member of the group and get a new token, or wait for `pgaad.directory_interval`; if the log says \
         `groups=names`, have the application emit object ids",
        |line| {
            let line = line.fact("group", group).fact_if(*by_names, "groups", "names");
            by_directory.iter().fold(line, |line, at| line.fact("directory_at", at))
        };
    /// the token says nothing of groups: it has no `groups` claim
    GroupsMissing {
        /// The role's group.
        group: ObjectId,
    } => Step::Binding, "groups_missing",
        "have the application emit groups (app registration, *Token configuration*, *Add groups claim*) and \
         get a new token; or set `pgaad.directory = on`",
        |line| line.fact("group", group);
    /// the token says that its groups did not fit, so membership cannot be told (group overage)
    GroupsOverage => Step::Binding, "groups_overage",
        "set `pgaad.directory = on`, which reads groups of any size; or have your own application emit only the groups \
         assigned to it, or use app roles";
    /// the token does not say whether its holder is in the role's group, and what the directory said is too old,
    /// dated in the future, or lost
    GroupsStale {
        /// The role's group.
        group: ObjectId,
        /// How long ago the directory was read; `None` where that is lost.
        age_seconds: Option<i64>,
    } => Step::Directory, "groups_stale",
        "see `last_error` in `pgaad.directory` and `pgaad.groups`: the group was last read longer ago than \
         `pgaad.directory_max_stale`, or its file is lost",
        |line| age_seconds.iter().fold(line.fact("group", group), |line, age| line.fact("directory_age_s", age));
    /// the user's account is disabled in Entra, as the directory says
    AccountDisabled => Step::Directory, "account_disabled",
        "enable the account in Entra, and call `pgaad.refresh_directory()`";
    /// the user is deleted in Entra, as the directory says twice
    AccountGone => Step::Directory, "account_gone", "restore the user, and call `pgaad.refresh_directory()`";
    /// the user's sessions were revoked in Entra after the token was issued
    SessionsRevoked {
        /// From when on tokens count.
        valid_from: UnixTime,
    } => Step::Directory, "sessions_revoked", "sign in again, and get a new token a few minutes later",
        |line| line.fact("revoked_at", valid_from);
    /// what the directory said of accounts is lost, and it may have said no
    AccountsLost => Step::Directory, "accounts_lost", "call `pgaad.refresh_directory()`, and see `pgaad.directory`";
    /// the token's `roles` do not hold the role's app role; there are no `roles` where none is assigned
    NotInAppRole {
        /// The app role's value.
        app_role: String,
    } => Step::Binding, "not_in_app_role",
        "assign the app role to the user, one of their groups, or the program (enterprise application, *Users and \
         groups*), and get a new token",
        |line| line.quoted("app_role", app_role);
    /// the role is bound to an app role, and tokens of more than one application, or of one that others share, are
    /// accepted: their app roles are not this server's
    AppRolesShared {
        /// The role's app role.
        app_role: String,
    } => Step::Binding, "app_roles_shared",
        "let `pgaad.audience` name one application of your own and no other: docs/audience.md",
        |line| line.quoted("app_role", app_role);
    /// no rule binds this role to this token: the names differ, or matching by name does not apply, as for guests
    /// and administrators
    RoleNotBound {
        /// Whether the token's holder is a guest of the tenant, who has no name to match.
        guest: bool,
        /// The binding that is meant, where the token's own name tells.
        suggestion: Option<Box<Suggestion>>,
    } => Step::Binding, "role_not_bound",
        "if the role is the holder's, bind it to their object id: docs/identity.md has the statement, and the \
         log's `hint` where the names agree; a guest is bound by object id only",
        |line| {
            // The suggestion is the hint.
            let _ = suggestion;
            line.fact_if(*guest, "guest", "yes")
        };
    /// the role demands multi-factor authentication and the token's `amr` does not say `mfa`
    MfaMissing => Step::Binding, "mfa_missing", "sign in with a second factor and get a new token";
    /// the role demands multi-factor authentication and the token carries no `amr`, as v2 tokens never do
    MfaUnknown => Step::Binding, "mfa_unknown",
        "use v1 tokens, or ask for a second factor in Entra's Conditional Access and drop `mfa` here";
    /// the role is a member of `azure_ad_user` and its `pg_hba.conf` line is `trust` while `pgaad.allow_trust` is
    /// off
    TrustNotAllowed => Step::Connection, "trust_not_allowed",
        "give the role a `pam` line before the `trust` one; or read the README's danger box and set \
         `pgaad.allow_trust`";
    /// the role is a member of `azure_ad_user` and its `pg_hba.conf` line asks for no token
    MethodNotAllowed => Step::Connection, "method_not_allowed",
        "put the line that asks for a token before the one that matched; `SELECT * FROM pgaad.check()`";
    /// the role is not a member of `azure_ad_user` and came over a `trust` line from another machine
    /// (`pgaad.guard_trust`)
    TrustLineGuard => Step::Connection, "trust_line_guard", "give the role a line of its own, before the `trust` line";
    /// the PAM service let the client in without asking pgaad for this very role; its file must name `pgaad.so` in
    /// `auth` and `account`
    NotDecided => Step::Connection, "not_decided",
        "write the PAM service file as the README has it, `auth` and `account` both with `pgaad.so`";
    /// the `oauth` line does not leave the role to pgaad, which knows whose it is: it lacks
    /// `delegate_ident_mapping=1`
    OauthNotDelegated => Step::Connection, "oauth_not_delegated",
        "add `delegate_ident_mapping=1` to the `oauth` line in `pg_hba.conf`";
    /// PAM refused the login without asking pgaad, or after pgaad had admitted it: the module or another one of the
    /// service could not be loaded, or said no
    PamFailed {
        /// The service.
        service: String,
        /// Whether pgaad was asked, and had admitted the login.
        admitted: bool,
    } => Step::Connection, "pam_failed",
        "read core's and libpam's own words in the log around this line, and `SELECT * FROM pgaad.check()`, which \
         looks at the service file",
        |line| line.quoted("service", service).fact("pgaad", if *admitted { "admitted" } else { "not_asked" });
    /// during the login the role was renamed, and its name went to another one; one of the two is a member of
    /// `azure_ad_user`
    RoleChanged => Step::Connection, "role_changed",
        "log in again; somebody who keeps renaming roles during logins tries to log in as another role";
    /// the role is named with `@` and `pgaad.server_name` behind it, and without that the login would meet another
    /// line of `pg_hba.conf`
    ServerNameLine => Step::Connection, "server_name_line",
        "log in without the server name, or give both names the same line";
    /// `pgaad.session_end` is `token`, and there are too many sessions to watch over
    SessionsFull => Step::Connection, "sessions_full", "close sessions, or set `pgaad.session_end = never`";
    /// the server has too little memory left to read a token of this length
    OutOfMemory => Step::Connection, "out_of_memory", "give the server more memory, or lower `pgaad.max_token_bytes`";
    /// the decision did not come to an end; the server's log has the cause
    InternalError => Step::Connection, "internal_error", "find `pgaad: internal error` in the log and report it";
}
