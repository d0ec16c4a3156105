//! The gate that every login of the server passes: its truth table, as data.
//!
//! "Member" is a direct member of `azure_ad_user`, "token line" a line of `pg_hba.conf` that leaves the decision to
//! pgaad: `pam` with a service `pgaad…`, `oauth` with the validator `pgaad`.
//!
//! | core said | role | matched line | outcome |
//! |---|---|---|---|
//! | client gone | any | any | left to core, silently |
//! | no, and it was our module's refusal | any | any | logged with its code, answered |
//! | no otherwise | any | any | left to core |
//! | yes | member | token line | what our module decided a moment ago, consumed once; else refused |
//! | yes | member | `trust` | with `pgaad.allow_trust`: ask, decide; else refused |
//! | yes | member | another method that `pgaad.allow_other_methods` names | left to core |
//! | yes | member | any other | refused |
//! | yes | not a member | token line | refused |
//! | yes | not a member | `trust`, matched by the entry `+azure_ad_user` | refused, from wherever |
//! | yes | not a member | `trust` for anybody, from elsewhere, no certificate | refused as `pgaad.guard_trust` says |
//! | yes | not a member | any other | left to core |
//!
//! "For anybody" is an entry `all`, another `+group` or a pattern; "from elsewhere" from another machine; a certificate
//! is one that the line demands with `clientcert=verify-full`.
//!
//! A setting that cannot be used refuses the logins of members. Of others it refuses nothing, except that an
//! unusable `pgaad.guard_trust` means its default, `remote`.

use crate::event::Route;
use crate::reason::Reason;

/// What has been said about a login: by core's method, or by our own module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The client is who it says it is.
    Yes,
    /// It is not, or that cannot be told.
    No,
    /// The client hung up, as psql does when it is asked for a password that it does not have.
    ClientGone,
}

/// What our PAM module or OAuth validator has decided in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Nothing.
    Nothing,
    /// It refused the login.
    Refused,
    /// It admitted the login; the facts about the role are those of the role that it admitted.
    Admitted,
}

/// The authentication methods of core (hba.h, `UserAuth`), with their names in `pg_hba.conf`.
macro_rules! methods {
    ($( $method:ident $name:literal )+) => {
        /// A method of `pg_hba.conf` that authenticates a client without pgaad.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is named as pg_hba.conf names it")]
        pub enum OtherMethod { $( $method, )+ }

        impl OtherMethod {
            /// All of them.
            pub const ALL: &'static [Self] = &[ $( Self::$method, )+ ];

            /// The word of `pg_hba.conf`.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$method => $name, )+ }
            }

            const fn bit(self) -> u32 {
                let mut bit = 1;
                $( if matches!(self, Self::$method) { return bit; } bit <<= 1; )+
                bit
            }
        }
    };
}

methods! {
    Ident "ident"
    Peer "peer"
    Password "password"
    Md5 "md5"
    Scram "scram-sha-256"
    Gss "gss"
    Sspi "sspi"
    Pam "pam"
    Bsd "bsd"
    Ldap "ldap"
    Cert "cert"
    Radius "radius"
    OAuth "oauth"
}

/// `pgaad.allow_other_methods`: the methods by which members may log in without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherMethods(u32);

impl OtherMethods {
    /// `off`.
    pub const NONE: Self = Self(0);
    /// `on`.
    pub const ALL: Self = Self(u32::MAX);

    /// Reads a list of methods, separated by commas, in any case.
    ///
    /// `None` for an empty entry and for a word that is not one of these methods. `trust` and `reject` are such words:
    /// `trust` has a setting of its own, and nobody logs in by `reject`.
    pub fn parse(list: &str) -> Option<Self> {
        list.split(',').try_fold(Self::NONE, |methods, word| {
            let found =
                OtherMethod::ALL.iter().find(|method| method.name().eq_ignore_ascii_case(word.trim()))?;
            Some(Self(methods.0 | found.bit()))
        })
    }

    /// Whether members may log in by this method.
    pub const fn allows(self, method: OtherMethod) -> bool {
        self.0 & method.bit() != 0
    }

    /// Whether members may log in by the method of this name.
    pub fn allows_named(self, name: &str) -> bool {
        OtherMethod::ALL.iter().any(|method| method.name() == name && self.allows(*method))
    }
}

/// How a line authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `pam` with a service `pgaad…`.
    TokenByPam,
    /// `oauth` with the validator `pgaad`.
    TokenByOAuth,
    /// `trust`.
    Trust,
    /// Another one. `None` for one that no PostgreSQL of today has.
    Other(Option<OtherMethod>),
}

impl Method {
    /// Whether the line leaves the decision to pgaad.
    pub const fn is_token(self) -> bool {
        matches!(self, Self::TokenByPam | Self::TokenByOAuth)
    }

    /// The way in, for the log.
    pub const fn route(self) -> Route {
        match self {
            Self::TokenByPam => Route::Pam,
            Self::TokenByOAuth => Route::OAuth,
            Self::Trust => Route::Trust,
            Self::Other(_) => Route::Other,
        }
    }
}

/// The entry of a line's role column that matched the role: the first that does (hba.c, `check_role`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `+azure_ad_user`: the line was written for members.
    Members,
    /// `all`, another `+group`, or a pattern: the line was not written for this one role.
    Anybody,
    /// The role's name.
    Name,
}

/// The matched line of `pg_hba.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it authenticates.
    pub method: Method,
    /// The entry of the role column that matched. Looked at on `trust` lines only.
    pub entry: Entry,
    /// Whether it has `clientcert=verify-full`: the client has a certificate that names the role.
    pub verifies_certificate: bool,
}

/// `pgaad.guard_trust`: which logins of other roles to refuse over `trust` lines for anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardTrust {
    /// Logins from other machines.
    Remote,
    /// All logins.
    All,
    /// None.
    Off,
}

/// The settings that decide by which lines members get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// `pgaad.allow_trust`.
    pub allow_trust: bool,
    /// `pgaad.allow_other_methods`.
    pub other_methods: OtherMethods,
}

impl GatePolicy {
    /// What the settings are by default. Stands for settings that were not read because nothing depends on them.
    pub const STRICT: Self = Self { allow_trust: false, other_methods: OtherMethods::NONE };
}

/// Everything that the table looks at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the method of the matched line said.
    pub core: Answer,
    /// What our module decided in this process.
    pub decided: Decided,
    /// Whether the role is a direct member of `azure_ad_user`.
    pub is_member: bool,
    /// The matched line.
    pub line: Line,
    /// Whether the client is on this machine.
    pub is_local: bool,
    /// Whether the client asks for physical replication.
    pub is_physical_replication: bool,
    /// The settings, or the refusal that names the one that cannot be used.
    pub policy: Result<GatePolicy, Reason>,
    /// `pgaad.guard_trust`, `None` when it cannot be used.
    pub guard_trust: Option<GuardTrust>,
}

impl Facts {
    /// Whether the outcome depends on `guard_trust`. Most logins are not pgaad's business, and read no setting.
    pub const fn depend_on_guard(core: Answer, is_member: bool, line: &Line) -> bool {
        matches!((core, line.method, line.entry), (Answer::Yes, Method::Trust, Entry::Anybody))
            && !is_member
            && !line.verifies_certificate
    }
}

/// What becomes of a login.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Core goes on with what it had decided.
    LeaveToCore,
    /// The same, and the log says that replication comes over a `trust` line for anybody.
    LeaveReplicationToCore,
    /// What our module decided is carried out.
    CarryOut,
    /// The client is asked for its token here, and the decision carried out.
    Ask,
    /// The login is refused.
    Refuse(Reason),
    /// The login is refused, after the client was asked for a token as a member would be, so that a stranger cannot
    /// tell members from others.
    RefuseAfterAsking(Reason),
}

impl Outcome {
    /// Whether other settings than [`GatePolicy::STRICT`] could have led to another outcome.
    pub const fn depends_on_policy(&self) -> bool {
        matches!(self, Self::Refuse(_))
    }
}

/// The truth table.
pub fn judge(facts: &Facts) -> Outcome {
    match (facts.core, facts.decided) {
        (Answer::ClientGone, _) => Outcome::LeaveToCore,
        (Answer::No, Decided::Refused) => Outcome::CarryOut,
        (Answer::No, _) => Outcome::LeaveToCore,
        (Answer::Yes, _) if facts.is_member => judge_member(facts),
        (Answer::Yes, _) => judge_other(facts),
    }
}

fn judge_member(facts: &Facts) -> Outcome {
    if facts.line.method.is_token() {
        return match facts.decided {
            Decided::Admitted | Decided::Refused => Outcome::CarryOut,
            // The service file lets clients in without asking us.
            Decided::Nothing => Outcome::Refuse(Reason::NotDecided),
        };
    }
    let policy = match &facts.policy {
        Ok(policy) => policy,
        Err(reason) => return Outcome::Refuse(reason.clone()),
    };
    match facts.line.method {
        Method::Trust if policy.allow_trust => Outcome::Ask,
        Method::Trust => Outcome::Refuse(Reason::TrustNotAllowed),
        Method::Other(Some(method)) if policy.other_methods.allows(method) => Outcome::LeaveToCore,
        _ => Outcome::Refuse(Reason::MethodNotAllowed),
    }
}

fn judge_other(facts: &Facts) -> Outcome {
    match facts.line.method {
        Method::TokenByPam | Method::TokenByOAuth => Outcome::Refuse(Reason::RoleNotMember { grant: None }),
        Method::Other(_) => Outcome::LeaveToCore,
        Method::Trust => judge_other_on_trust(facts),
    }
}

fn judge_other_on_trust(facts: &Facts) -> Outcome {
    let reason = match facts.line.entry {
        Entry::Members => Reason::RoleNotMember { grant: None },
        Entry::Anybody if !facts.line.verifies_certificate && is_guarded(facts) => Reason::TrustLineGuard,
        Entry::Anybody | Entry::Name => return Outcome::LeaveToCore,
    };
    if facts.is_physical_replication && reason == Reason::TrustLineGuard {
        return Outcome::LeaveReplicationToCore;
    }
    match &facts.policy {
        Ok(policy) if policy.allow_trust => Outcome::RefuseAfterAsking(reason),
        _ => Outcome::Refuse(reason),
    }
}

fn is_guarded(facts: &Facts) -> bool {
    match facts.guard_trust {
        Some(GuardTrust::Off) => false,
        Some(GuardTrust::All) => true,
        Some(GuardTrust::Remote) | None => !facts.is_local,
    }
}
