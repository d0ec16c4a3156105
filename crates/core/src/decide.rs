//! The decision: from the bytes that a client sent as its password to an admission for a role.
//!
//! This is the only composition of the straight line. The login, the attack tables, the properties, the fuzz targets
//! and the benchmarks all call [`decide`].

use crate::admit::{AdmitPolicy, RoleCase, Rule, admit};
use crate::deny::DenyList;
use crate::directory::{Directory, DirectoryFacts};
use crate::keys::{KeyName, KeySet, SigningKey};
use crate::principal::Principal;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::role_facts::RoleFacts;
use crate::subject::TokenSubject;
use crate::tenant::Tenant;
use crate::time::UnixTime;
use crate::token::{RawToken, UnverifiedToken};
use crate::verify::{TokenPolicy, verify};

/// The settings that a decision depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy<'a> {
    /// `pgaad.max_token_bytes`.
    pub max_bytes: usize,
    /// What a token is measured against.
    pub token: &'a TokenPolicy,
    /// Which roles are admitted how.
    pub admit: AdmitPolicy,
}

/// What a decision asks for while it is made, in the order of the methods.
///
/// A server answers each question when it is asked: a key may have to be waited for, and the role must be read after
/// the token has arrived.
pub trait Surroundings {
    /// The key that `name` means, usable for `tenant`.
    ///
    /// # Errors
    /// Why there is no such key.
    fn key(&mut self, name: KeyName<'_>, tenant: &Tenant) -> Result<SigningKey, Reason>;

    /// The role that the client asked for; `None` if no role has that name. Asked only when the token is good.
    ///
    /// # Errors
    /// Why the role may not be asked for in this way.
    fn role(&mut self) -> Result<Option<RoleFacts>, Reason>;

    /// What the directory says of `principal`, as far as `role` asks. Asked for after the role.
    fn directory(&mut self, principal: &Principal, role: &RoleFacts) -> DirectoryFacts;

    /// Whom no role opens to. Asked for after the role.
    fn denied(&mut self) -> DenyList;

    /// The time, asked for after the key and once more after the role.
    fn now(&mut self) -> UnixTime;
}

/// Surroundings that are known beforehand and stand still.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The keys, fetched this very moment.
    pub keys: &'a KeySet,
    /// The role; `None` if no role has the name.
    pub role: Option<&'a RoleFacts>,
    /// What the directory says.
    pub directory: &'a dyn Directory,
    /// Whom no role opens to.
    pub denied: &'a DenyList,
    /// The time.
    pub now: UnixTime,
}

impl Surroundings for Known<'_> {
    fn key(&mut self, name: KeyName<'_>, tenant: &Tenant) -> Result<SigningKey, Reason> {
        self.keys.find(name, tenant).copied().ok_or_else(|| Reason::KeyUnknown {
            kid: name.text().to_owned(),
            keys: self.keys.keys().len(),
            age_seconds: 0,
        })
    }

    fn role(&mut self) -> Result<Option<RoleFacts>, Reason> {
        Ok(self.role.cloned())
    }

    fn directory(&mut self, principal: &Principal, role: &RoleFacts) -> DirectoryFacts {
        self.directory.facts(principal, role)
    }

    fn denied(&mut self) -> DenyList {
        self.denied.clone()
    }

    fn now(&mut self) -> UnixTime {
        self.now
    }
}

/// A login that may go on. [`decide`] is its only maker.
#[derive(Debug)]
pub struct Admission {
    role_oid: u32,
    principal: Principal,
    rule: Rule,
    claims: String,
    expires_at: UnixTime,
}

impl Admission {
    /// The role it is for, and no other.
    pub fn role_oid(&self) -> u32 {
        self.role_oid
    }

    /// Who logs in.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Why it is this role.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The verified claims, for `pgaad.claims()`: a JSON object, no member named twice, no U+0000 in a string.
    pub fn claims(&self) -> &str {
        &self.claims
    }

    /// The verified claims, when nothing else is needed any more.
    pub fn into_claims(self) -> String {
        self.claims
    }

    /// When the token expires (`exp`), skew not added.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

/// Decides whether the token `bytes` opens the role that the client asked for.
///
/// `bytes` is the password as received; it is wiped from memory when the decision is made.
///
/// # Errors
/// The first check that fails, in the order of a login: the form and the header, the key and the signature, the checks
/// of the token ([`crate::verify`]), the checks of the role ([`crate::admit`]).
pub fn decide(
    bytes: Vec<u8>,
    policy: &Policy<'_>,
    surroundings: &mut impl Surroundings,
) -> Result<Admission, Refusal> {
    let raw = RawToken::new(bytes, policy.max_bytes)?;
    let token = UnverifiedToken::parse(&raw)?;
    let measure = policy.token.for_token(&token);
    let key = surroundings.key(token.key_name(), &measure.tenant)?;
    let verified = verify(token, &key, &measure, surroundings.now())?;
    let (claims, expires_at) = (verified.json().to_owned(), verified.expires_at());
    let principal = Principal::from(verified);
    let refused = |reason| Refusal { reason, subject: Some(Box::new(TokenSubject::from(&principal))) };
    let role = surroundings.role().map_err(refused)?;
    let directory = role.as_ref().map(|role| surroundings.directory(&principal, role)).unwrap_or_default();
    let denied = surroundings.denied();
    let case = RoleCase {
        principal: Ok(&principal),
        role: role.as_ref(),
        directory,
        denied: &denied,
        policy: policy.admit,
        now: surroundings.now(),
    };
    match admit(&case) {
        Ok((role_oid, rule)) => Ok(Admission { role_oid, principal, rule, claims, expires_at }),
        Err(reason) => Err(refused(reason)),
    }
}
