//! The tenant's signing keys: checked once, when they are imported from a JWK set (RFC 7517).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::inline::Inline;
use crate::json::{Json, Object};
pub use crate::key_error::{KeyError, KeySetError};
use crate::tenant::Tenant;

/// Most keys a set may have; Entra publishes about half a dozen.
pub const MAX_KEYS: usize = 64;

/// One RSA public key that passed every check of the import.
///
/// Plain data of fixed size, so that it can live in shared memory. [`KeySet::import`] is its only maker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigningKey {
    kid: Inline<128>,
    x5t: Inline<64>,
    /// Big-endian, no leading zero, 2048 to 8192 bits.
    modulus: Inline<1024>,
    /// Big-endian, 3 or 65537.
    exponent: Inline<3>,
    /// Entra's extension to RFC 7517: who may issue tokens with this key; empty when the key does not say.
    issuer: Inline<256>,
    /// Entra's `cloud_instance_name`: the Microsoft cloud of the key; empty when the key does not say.
    cloud: Inline<64>,
    /// The cloud of the key set that the key is from; empty when that is not known.
    set_cloud: Inline<64>,
}

/// How a token names the key that signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyName<'a> {
    /// The header's `kid` (RFC 7515 §4.1.4).
    Kid(&'a str),
    /// The header's `x5t`, in tokens that have no `kid` (RFC 7515 §4.1.7), as old v1 tokens.
    Thumbprint(&'a str),
}

impl<'a> KeyName<'a> {
    /// The name itself.
    pub fn text(self) -> &'a str {
        match self {
            Self::Kid(kid) => kid,
            Self::Thumbprint(x5t) => x5t,
        }
    }
}

/// What a key says of itself and is not what this tenant's keys say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// `issuer` or `cloud_instance_name`.
    pub member: &'static str,
    /// What the key has.
    pub found: String,
    /// What it should have.
    pub wanted: String,
}

impl SigningKey {
    /// Whether a token could mean either: by `kid`, or by `x5t` where it has no `kid`.
    pub(crate) fn shares_a_name_with(&self, other: &Self) -> bool {
        self.kid == other.kid || (self.x5t == other.x5t && !self.x5t.is_empty())
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        self.kid.as_str()
    }

    /// The modulus, big-endian.
    pub fn modulus(&self) -> &[u8] {
        self.modulus.as_bytes()
    }

    /// The public exponent, big-endian.
    pub fn exponent(&self) -> &[u8] {
        self.exponent.as_bytes()
    }

    /// The modulus' length in bits.
    pub fn bits(&self) -> usize {
        bit_length(self.modulus())
    }

    /// The issuer this key signs for, `{tenantid}` standing for any tenant of it; `None` when the key set does not say.
    pub fn issuer(&self) -> Option<&str> {
        (!self.issuer.is_empty()).then(|| self.issuer.as_str())
    }

    /// The Microsoft cloud this key signs in (`cloud_instance_name`); `None` when the key set does not say.
    pub fn cloud(&self) -> Option<&str> {
        (!self.cloud.is_empty()).then(|| self.cloud.as_str())
    }

    /// Whether the key may sign for `tenant`, as far as the key says.
    ///
    /// Genuine key sets hold keys of personal accounts, and keys of other Microsoft clouds under the public cloud's
    /// issuer; both verify signatures as well as any other (Storm-0558 was the first kind).
    ///
    /// # Errors
    /// [`ForeignKey`]: the key's own `issuer` is not the tenant's v2 issuer, or its `cloud_instance_name` is not that
    /// of the key set. What either does not say is not compared.
    pub fn signs_for(&self, tenant: &Tenant) -> Result<(), ForeignKey> {
        if let Some(issuer) = self.issuer().filter(|issuer| !tenant.is_key_issuer(issuer)) {
            let (found, wanted) = (issuer.to_owned(), tenant.v2_issuer().to_owned());
            return Err(ForeignKey { member: "issuer", found, wanted });
        }
        match self.cloud() {
            Some(cloud) if !self.set_cloud.is_empty() && cloud != self.set_cloud.as_str() => {
                let (found, wanted) = (cloud.to_owned(), self.set_cloud.as_str().to_owned());
                Err(ForeignKey { member: "cloud_instance_name", found, wanted })
            }
            _ => Ok(()),
        }
    }

    /// Whether a token means this key. Ids are compared byte for byte.
    pub fn matches(&self, name: KeyName<'_>) -> bool {
        match name {
            KeyName::Kid(kid) => self.kid.as_bytes() == kid.as_bytes(),
            KeyName::Thumbprint(x5t) => !self.x5t.is_empty() && self.x5t.as_bytes() == x5t.as_bytes(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, {} bits)", self.kid, self.bits())
    }
}

/// The keys of one document that passed, and why the others did not.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<SigningKey>,
    errors: Vec<KeyError>,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 §5) and keeps the keys that may sign our tokens.
    ///
    /// `cloud` is the `cloud_instance_name` of the metadata that the set belongs to. Where there is none, the cloud is
    /// that of the tenant's own provider, if that is Microsoft's.
    ///
    /// Keys of other tenants and clouds are kept, so that a token that names one is refused for what it is.
    /// They come last, and no key of the tenant's is lost because one of them has the same name.
    ///
    /// # Errors
    /// [`KeySetError`] when the document is not a key set or has no usable key; a bad key does not affect the others.
    pub fn import(document: &[u8], tenant: &Tenant, cloud: Option<&str>) -> Result<Self, KeySetError> {
        let set_cloud = cloud.or(tenant.cloud_instance()).unwrap_or_default();
        let set_cloud = Inline::new(set_cloud.as_bytes()).ok_or(KeySetError::Malformed)?;
        let (mut keys, mut errors) = read_entries(document, set_cloud)?;
        merge_twins(&mut keys);
        let (mut own, mut foreign): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.signs_for(tenant).is_ok());
        let all = own.clone();
        own.retain(|key| {
            let clear = all.iter().all(|other| !other.shares_a_name_with(key) || same_numbers(other, key));
            if !clear {
                errors.push(KeyError::Ambiguous);
            }
            clear
        });
        keep_first_of_each_id(&mut own);
        keep_first_of_each_id(&mut foreign);
        own.append(&mut foreign);
        if own.is_empty() {
            return Err(KeySetError::NoUsableKey(errors));
        }
        Ok(Self { keys: own, errors })
    }

    /// The usable keys, at least one and at most [`MAX_KEYS`].
    pub fn keys(&self) -> &[SigningKey] {
        &self.keys
    }

    /// Why entries were left out, one each.
    pub fn errors(&self) -> &[KeyError] {
        &self.errors
    }

    /// The key that a token of `tenant` means.
    pub fn find(&self, name: KeyName<'_>, tenant: &Tenant) -> Option<&SigningKey> {
        find(self.keys.iter(), name, tenant)
    }
}

/// The key that a token of `tenant` means: one that may sign for the tenant. Only where no key of the name may, it is
/// another one, so that the token can be refused for what the key is.
pub fn find<'a>(
    keys: impl Iterator<Item = &'a SigningKey>,
    name: KeyName<'_>,
    tenant: &Tenant,
) -> Option<&'a SigningKey> {
    let mut foreign = None;
    for key in keys.filter(|key| key.matches(name)) {
        if key.signs_for(tenant).is_ok() {
            return Some(key);
        }
        foreign = foreign.or(Some(key));
    }
    foreign
}

/// The entries of a document that are sound keys, in their order, and what is wrong with the others.
pub(crate) fn read_entries(
    document: &[u8],
    set_cloud: Inline<64>,
) -> Result<(Vec<SigningKey>, Vec<KeyError>), KeySetError> {
    let object = Object::read(document).ok_or(KeySetError::Malformed)?;
    let entries = object.member("keys").and_then(Json::as_array).ok_or(KeySetError::Malformed)?;
    if entries.len() > MAX_KEYS {
        return Err(KeySetError::TooManyKeys);
    }
    let (mut keys, mut errors) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        match import_key(entry, set_cloud) {
            Ok(key) => keys.push(key),
            Err(error) => errors.push(error),
        }
    }
    Ok((keys, errors))
}

/// Tells every entry what other entries of the same key say: one without `issuer`, as v1 key sets have it, is as much
/// bound to an issuer as the one that has it.
fn merge_twins(keys: &mut [SigningKey]) {
    let known = keys.to_vec();
    for key in keys {
        let twins = || known.iter().filter(|other| other.shares_a_name_with(key) && same_numbers(other, key));
        let issuer = twins().map(|twin| twin.issuer).find(|issuer| !issuer.is_empty());
        let cloud = twins().map(|twin| twin.cloud).find(|cloud| !cloud.is_empty());
        if key.issuer.is_empty() {
            key.issuer = issuer.unwrap_or_default();
        }
        if key.cloud.is_empty() {
            key.cloud = cloud.unwrap_or_default();
        }
    }
}

/// A key that is listed twice is one key.
fn keep_first_of_each_id(keys: &mut Vec<SigningKey>) {
    let mut seen = Vec::with_capacity(keys.len());
    keys.retain(|key| {
        let is_new = !seen.contains(&key.kid);
        seen.push(key.kid);
        is_new
    });
}

fn same_numbers(one: &SigningKey, other: &SigningKey) -> bool {
    one.modulus == other.modulus && one.exponent == other.exponent
}

/// The checks of one key, in the order of RFC 7517 §4, then RFC 7518 §6.3.1, then the numbers.
fn import_key(entry: &Json<'_>, set_cloud: Inline<64>) -> Result<SigningKey, KeyError> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

    let jwk = entry.as_object().ok_or(KeyError::Malformed)?;
    let text = |member: &str| match jwk.member(member) {
        None => Ok(None),
        Some(value) => value.as_text().map(Some).ok_or(KeyError::Malformed),
    };
    if PRIVATE.iter().any(|part| jwk.member(part).is_some()) {
        return Err(KeyError::PrivateParts);
    }
    if text("kty")? != Some("RSA") {
        return Err(KeyError::NotRsa);
    }
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyError::WrongPurpose);
    }
    if let Some(operations) = jwk.member("key_ops") {
        let operations = operations.as_array().ok_or(KeyError::Malformed)?;
        if operations.iter().any(|operation| operation.as_text().is_none()) {
            return Err(KeyError::Malformed);
        }
        if !operations.iter().any(|operation| operation.as_text() == Some("verify")) {
            return Err(KeyError::WrongPurpose);
        }
    }
    if text("alg")?.is_some_and(|alg| alg != "RS256") {
        return Err(KeyError::WrongPurpose);
    }
    let kid = text("kid")?.filter(|kid| !kid.is_empty()).ok_or(KeyError::NoKeyId)?;
    let kid = Inline::new(kid.as_bytes()).ok_or(KeyError::NoKeyId)?;
    let modulus = base64url_uint(text("n")?).ok_or(KeyError::WeakModulus)?;
    let exponent = base64url_uint(text("e")?).ok_or(KeyError::WrongExponent)?;

    if !(2048..=8192).contains(&bit_length(&modulus)) || modulus.last().is_none_or(|low| low & 1 == 0) {
        return Err(KeyError::WeakModulus);
    }
    if exponent != [3] && exponent != [1, 0, 1] {
        return Err(KeyError::WrongExponent);
    }
    if has_roca_fingerprint(&modulus) {
        return Err(KeyError::Roca);
    }
    let bounded = |member| text(member).map(|value| value.unwrap_or_default());
    if text("issuer")? == Some("") || text("cloud_instance_name")? == Some("") {
        // An empty one must not pass for none, which is not compared with anything.
        return Err(KeyError::Malformed);
    }
    Ok(SigningKey {
        kid,
        x5t: Inline::new(bounded("x5t")?.as_bytes()).ok_or(KeyError::Malformed)?,
        modulus: Inline::new(&modulus).ok_or(KeyError::WeakModulus)?,
        exponent: Inline::new(&exponent).ok_or(KeyError::WrongExponent)?,
        issuer: Inline::new(bounded("issuer")?.as_bytes()).ok_or(KeyError::Malformed)?,
        cloud: Inline::new(bounded("cloud_instance_name")?.as_bytes()).ok_or(KeyError::Malformed)?,
        set_cloud,
    })
}

/// Base64urlUInt of RFC 7518 §2: big-endian, in the fewest octets; `None` for anything else, zero included.
fn base64url_uint(text: Option<&str>) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
    bytes.first().is_some_and(|high| *high != 0).then_some(bytes)
}

/// Length in bits of a big-endian number without leading zero octets.
fn bit_length(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |high| high.leading_zeros());
    (number.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or_default())
}

/// Whether `modulus` could come from Infineon's flawed generator, whose primes are all of the form
/// `k·M + 65537^a mod M`, `M` a primorial: then the modulus is a power of 65537 modulo each small
/// prime (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, §4; CVE-2017-15361).
///
/// A sound key passes for one with a probability of about 2⁻²⁷.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|&prime| {
        let residue = modulus.iter().fold(0, |sum, &byte| (sum * 256 + u32::from(byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * 65537 % prime;
            power == residue
        })
    })
}
