//! The tenant's own certificate authority, and the certificate of its HTTPS server.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// A certificate authority that nobody trusts unless told to.
pub(crate) struct Authority {
    key: KeyPair,
}

impl Authority {
    /// A new one, with an ECDSA P-256 key.
    pub(crate) fn generate() -> Self {
        Self { key: KeyPair::generate().expect("an ECDSA key can be generated") }
    }

    /// The one whose key [`Self::key_pem`] gave.
    pub(crate) fn from_key_pem(pem: &str) -> Self {
        Self { key: KeyPair::from_pem(pem).expect("the CA's key is a PEM key") }
    }

    /// The private key.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate that clients are to trust.
    pub(crate) fn certificate_pem(&self) -> String {
        Self::params().self_signed(&self.key).expect("a CA certificate can be made").pem()
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("stand-in tenant CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2045, 1, 1);
        params
    }

    /// TLS for a server called localhost, 127.0.0.1 or ::1, with a certificate made for it now.
    pub(crate) fn server_tls(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("an ECDSA key can be generated");
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.distinguished_name = named("stand-in tenant");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2045, 1, 1);
        let issuer = Issuer::new(Self::params(), &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a server certificate can be made");
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .expect("key and certificate belong together");
        Arc::new(config)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
