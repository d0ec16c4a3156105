//! TLS to the provider: rustls with its own verification, whose refusals name the certificate that was refused.
//!
//! A proxy that inspects TLS, a forgotten renewal and a wrong authority all end in an error of the same words. Who
//! issued the certificate for whom, and for which time, tells them apart.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::time::{Duration, Instant};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};
use x509_cert::der::Decode;

use crate::error::FetchError;

/// Wraps the connection of the chain before it in TLS, unless it is the one to a proxy that is still to be asked.
#[derive(Debug)]
pub(crate) struct TlsConnector(Arc<ClientConfig>);

impl TlsConnector {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// [`FetchError::NoAuthorities`] if there are none.
    pub(crate) fn new(authorities: RootCertStore) -> Result<Self, FetchError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider));
        let verifier = NamingVerifier(inner.build().map_err(|_| FetchError::NoAuthorities)?);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| FetchError::Internal)?
            // "Dangerous" is any verifier but rustls's own: this one is, and adds to its refusals what they are about.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, Tls>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let (Some(transport), Some(host)) = (chained, details.uri.host()) else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| ureq::Error::HostNotFound)?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.0), name).map_err(std::io::Error::other)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(left(details));
        connection.complete_io(&mut socket)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Tls { stream: StreamOwned::new(connection, socket), buffers })))
    }
}

/// What the TCP connection has left of the time for both.
fn left(details: &ConnectionDetails) -> NextTimeout {
    let mut left = details.timeout;
    if let (Duration::Exact(limit), Instant::Exact(now), Instant::Exact(began)) =
        (left.after, (details.current_time)(), details.now)
    {
        left.after = Duration::Exact(limit.saturating_sub(now.duration_since(began)));
    }
    left
}

/// A TLS connection, as ureq reads and writes one.
pub(crate) struct Tls {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("over", self.stream.sock.get_ref()).finish_non_exhaustive()
    }
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// A certificate that was refused, and why.
#[derive(Debug)]
pub(crate) struct RefusedCertificate {
    /// rustls's own reason.
    pub(crate) error: CertificateError,
    /// Whose it is, by whom, and when it is valid; `None` where it cannot be read.
    names: Option<String>,
}

impl RefusedCertificate {
    fn new(error: CertificateError, certificate: &CertificateDer<'_>) -> Self {
        let names = x509_cert::Certificate::from_der(certificate).ok().map(|certificate| {
            let certificate = certificate.tbs_certificate();
            let (subject, issuer) = (certificate.subject(), certificate.issuer());
            let validity = certificate.validity();
            let (from, to) = (validity.not_before, validity.not_after);
            format!("subject \"{subject}\", issuer \"{issuer}\", valid from {from} to {to}")
        });
        Self { error, names }
    }
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", rustls::Error::InvalidCertificate(self.error.clone()))?;
        self.names.iter().try_for_each(|names| write!(f, ": {names}"))
    }
}

impl std::error::Error for RefusedCertificate {}

/// rustls's own verifier, whose refusals become a [`RefusedCertificate`].
#[derive(Debug)]
struct NamingVerifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for NamingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(error) => {
                let refused = RefusedCertificate::new(error, end_entity);
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
