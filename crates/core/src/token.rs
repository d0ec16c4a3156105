//! The password as received, and the token it may be: a JWS in compact form (RFC 7515 §7.1).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, DecodingKey};
use zeroize::Zeroizing;

use crate::guid::TenantId;
use crate::json::Object;
use crate::keys::{KeyName, SigningKey};
use crate::reason::Reason;
use crate::shape::Shape;

/// The bytes of a password message, wiped from memory when dropped. Does not print.
pub struct RawToken(Zeroizing<Vec<u8>>);

impl RawToken {
    /// Takes over the password as received.
    ///
    /// # Errors
    /// [`Reason::NoToken`] when there are no bytes, [`Reason::TokenTooLarge`] when they are more than `max_bytes`,
    /// [`Reason::OutOfMemory`] when there is less memory left than reading them can take.
    pub fn new(bytes: Vec<u8>, max_bytes: usize) -> Result<Self, Reason> {
        let bytes = Zeroizing::new(bytes);
        if bytes.is_empty() {
            return Err(Reason::NoToken);
        }
        if bytes.len() > max_bytes {
            return Err(Reason::TokenTooLarge { bytes: bytes.len() });
        }
        have_headroom(bytes.len())?;
        Ok(Self(bytes))
    }
}

/// The most memory that a decision takes for each byte of the token. The worst is JSON made of arrays in arrays, each
/// of which has a capacity for four values from its first on: 55 bytes, measured by `tests/memory.rs`. The rest is
/// reserve.
pub const HEADROOM_FACTOR: usize = 96;
/// What a decision takes besides, whatever the token.
pub const HEADROOM_BASE: usize = 512 * 1024;

/// Whether a decision about this many bytes can have the memory that it may take.
///
/// A client chooses the bytes, and the JSON reader, the cryptographic library and `String` abort the process where
/// they get no memory, which restarts the whole server. So as much as they may take is asked for first, where a "no" is
/// an answer, and given back.
fn have_headroom(bytes: usize) -> Result<(), Reason> {
    let mut headroom = Vec::<u8>::new();
    let wanted = bytes.saturating_mul(HEADROOM_FACTOR).saturating_add(HEADROOM_BASE);
    headroom.try_reserve_exact(wanted).map_err(|_| Reason::OutOfMemory)?;
    // Else the compiler may leave out an allocation that nobody uses.
    std::hint::black_box(&mut headroom);
    Ok(())
}

impl fmt::Debug for RawToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawToken({} bytes)", self.0.len())
    }
}

const MALFORMED: Reason = Reason::Malformed { shape: None };

/// The header, as far as pgaad uses it.
#[derive(Debug)]
struct Header {
    kid: Option<String>,
    x5t: Option<String>,
    typed: bool,
}

/// A token whose form is right. Nothing is verified: it cannot answer any question about who the client is.
pub struct UnverifiedToken<'a> {
    header: Header,
    /// `BASE64URL(header) || '.' || BASE64URL(payload)` (RFC 7515 §5.1).
    signing_input: &'a [u8],
    signature: Zeroizing<Vec<u8>>,
    payload: Zeroizing<Vec<u8>>,
}

/// A payload whose signature was verified; its claims are not yet looked at.
#[derive(Debug)]
pub struct SignedPayload {
    bytes: Zeroizing<Vec<u8>>,
    typed: bool,
}

impl<'a> UnverifiedToken<'a> {
    /// Splits a compact JWS into header, payload and signature, and reads the header.
    ///
    /// # Errors
    /// [`Reason::Malformed`] unless there are exactly three parts of strict base64url: no padding, no
    /// white space, canonical last character (RFC 7515 §2, RFC 4648 §5), the first of them a JSON object.
    /// [`Reason::CriticalHeader`], [`Reason::ForbiddenHeader`], [`Reason::UnsupportedAlgorithm`] and
    /// [`Reason::HeaderInvalid`] for what the header says.
    pub fn parse(raw: &'a RawToken) -> Result<Self, Reason> {
        Self::parse_text(&raw.0).map_err(|reason| match reason {
            Reason::Malformed { .. } => Reason::Malformed { shape: Some(Shape::of(&raw.0)) },
            reason => reason,
        })
    }

    fn parse_text(bytes: &'a [u8]) -> Result<Self, Reason> {
        let text = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
        let (signing_input, signature) = text.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signing_input.split_once('.').ok_or(MALFORMED)?;
        if payload.contains('.') {
            return Err(MALFORMED);
        }
        let header = base64url(header)?;
        let payload = Zeroizing::new(base64url(payload)?);
        if signature.is_empty() {
            // `alg: none` has this shape (RFC 7519 §6); say so when the header is the cause.
            Header::read(&header)?;
            return Err(MALFORMED);
        }
        let signature = Zeroizing::new(base64url(signature)?);
        Ok(Self {
            header: Header::read(&header)?,
            signing_input: signing_input.as_bytes(),
            signature,
            payload,
        })
    }

    /// The name of the key to look for: `kid`, or `x5t` where there is none. The parser made sure that one is there.
    pub fn key_name(&self) -> KeyName<'_> {
        match (&self.header.kid, &self.header.x5t) {
            (Some(kid), _) => KeyName::Kid(kid),
            (None, x5t) => KeyName::Thumbprint(x5t.as_deref().unwrap_or_default()),
        }
    }

    /// Whether the header says `typ: JWT` or `typ: at+jwt`.
    pub(crate) fn is_typed(&self) -> bool {
        self.header.typed
    }

    /// The payload, which nobody vouches for: to explain, never to decide.
    pub(crate) fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// The tenant that the payload names, for which nobody vouches: to choose whose rules the token is measured by.
    pub(crate) fn unverified_tenant(&self) -> Option<TenantId> {
        Object::read(&self.payload)?.member("tid")?.as_text()?.parse().ok()
    }

    /// Checks the signature with `key` as RS256, whatever the header says, and gives the payload out.
    ///
    /// # Errors
    /// [`Reason::SignatureLength`] unless the signature is as long as one of `key`'s; [`Reason::BadSignature`] unless
    /// `key` made it over these very bytes (RFC 7515 §5.2 step 8).
    pub fn verify_signature(self, key: &SigningKey) -> Result<SignedPayload, Reason> {
        // RFC 8017 §8.2.2 step 1.
        let (signature_bytes, key_bytes) = (self.signature.len(), key.modulus().len());
        if signature_bytes != key_bytes {
            return Err(Reason::SignatureLength { signature_bytes, key_bytes });
        }
        rs256(key, self.signing_input, &self.signature)?;
        Ok(SignedPayload { bytes: self.payload, typed: self.header.typed })
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("header", &self.header).finish_non_exhaustive()
    }
}

impl SignedPayload {
    /// The payload's bytes: JSON, if it is a JWT.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the header said `typ: JWT` or `typ: at+jwt`.
    pub fn is_typed(&self) -> bool {
        self.typed
    }
}

impl Header {
    /// Reads a header, deny by default: a member that is not known refuses the token.
    fn read(json: &[u8]) -> Result<Self, Reason> {
        let object = Object::read(json).ok_or(MALFORMED)?;
        if object.member("crit").is_some() {
            return Err(Reason::CriticalHeader);
        }
        for name in object.names() {
            if !matches!(name, "alg" | "kid" | "typ" | "x5t" | "nonce") {
                return Err(Reason::ForbiddenHeader { member: known_name(name) });
            }
        }
        let text = |member: &'static str| match object.member(member) {
            None => Ok(None),
            Some(value) => value.as_text().map(Some).ok_or(Reason::HeaderInvalid { member }),
        };
        match text("alg")? {
            Some("RS256") => {}
            Some(_) => return Err(Reason::UnsupportedAlgorithm),
            None => return Err(Reason::HeaderInvalid { member: "alg" }),
        }
        let typed = match text("typ")? {
            Some("JWT" | "at+jwt") => true,
            Some(_) => return Err(Reason::HeaderInvalid { member: "typ" }),
            None => false,
        };
        let kid = text("kid")?;
        let x5t = text("x5t")?;
        text("nonce")?;
        if kid.is_some_and(str::is_empty) || (kid.is_none() && x5t.is_none_or(str::is_empty)) {
            return Err(Reason::HeaderInvalid { member: "kid" });
        }
        Ok(Self { kid: kid.map(str::to_owned), x5t: x5t.map(str::to_owned), typed })
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
fn rs256(key: &SigningKey, signing_input: &[u8], signature: &Vec<u8>) -> Result<(), Reason> {
    let key = DecodingKey::from_rsa_raw_components(key.modulus(), key.exponent());
    // Its verifier and not its `verify`, which would decode the signature once more and leave it in memory.
    let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&Algorithm::RS256, &key)
        .map_err(|_| Reason::BadSignature)?;
    verifier.verify(signing_input, signature).map_err(|_| Reason::BadSignature)
}

/// Whether `key` made the signature, which is base64url: for the self-test, which has no token.
pub(crate) fn rs256_holds(key: &SigningKey, signing_input: &str, signature: &str) -> bool {
    base64url(signature).is_ok_and(|signature| rs256(key, signing_input.as_bytes(), &signature).is_ok())
}

/// The name of a forbidden member as a fact for the log; a name that is not in the RFCs is not repeated.
fn known_name(name: &str) -> &'static str {
    const KNOWN: [&str; 10] = ["b64", "jwk", "jku", "x5u", "x5c", "x5t#S256", "zip", "enc", "cty", "epk"];
    KNOWN.iter().find(|known| **known == name).copied().unwrap_or("other")
}

/// Strict base64url: the engine refuses padding, white space, foreign characters and a last
/// character with bits that are not used.
fn base64url(text: &str) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(base64::decoded_len_estimate(text.len())).map_err(|_| Reason::OutOfMemory)?;
    URL_SAFE_NO_PAD.decode_vec(text, &mut bytes).map_err(|_| MALFORMED)?;
    Ok(bytes)
}
