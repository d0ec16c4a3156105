//! What a relying party does: fetches documents over TLS that trusts the tenant's CA alone, and verifies.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tenant::Tenant;

/// A directory that goes when the test does.
pub struct Directory(PathBuf);

impl Directory {
    /// A name no other test has.
    pub fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tenant-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What came back, as far as it came.
#[derive(Debug)]
pub struct Reply {
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A TLS connection, not yet greeted, that gives up after `patience` without a byte.
pub fn connect(tenant: &Tenant, patience: Duration) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tenant.ca_file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port(tenant)))?;
    stream.set_read_timeout(Some(patience))?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream))
}

pub fn port(tenant: &Tenant) -> u16 {
    tenant.authority().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// GETs an absolute URL of the tenant and reads at most `limit` bytes of the reply.
pub fn fetch_at_most(tenant: &Tenant, url: &str, patience: Duration, limit: u64) -> io::Result<Reply> {
    let path = url.strip_prefix(&tenant.authority()).expect("the URL is the tenant's");
    let mut stream = connect(tenant, patience)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(limit).read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a reply has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    Ok(Reply { head, body: bytes[end + 4..].to_vec() })
}

/// GETs an absolute URL of the tenant.
pub fn fetch(tenant: &Tenant, url: &str) -> io::Result<Reply> {
    fetch_at_most(tenant, url, Duration::from_secs(10), 1 << 20)
}

pub fn metadata_url(tenant: &Tenant) -> String {
    format!("{}/{}/v2.0/.well-known/openid-configuration", tenant.authority(), tenant.tenant_id())
}

/// The key set where the metadata says it is.
pub fn published(tenant: &Tenant) -> Value {
    let metadata = fetch(tenant, &metadata_url(tenant)).unwrap().json();
    fetch(tenant, metadata["jwks_uri"].as_str().unwrap()).unwrap().json()
}

pub fn base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Header and payload of a token.
pub fn decoded(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let json = |part| serde_json::from_slice(&base64url(part)).unwrap();
    (json(parts[0]), json(parts[1]))
}

/// The key of `jwks` whose `kid` the token names.
pub fn key_of<'a>(token: &str, jwks: &'a Value) -> Option<&'a Value> {
    let (header, _) = decoded(token);
    jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"])
}

/// Whether the key of `jwks` that the token names made its RS256 signature.
pub fn verifies(token: &str, jwks: &Value) -> bool {
    let Some(key) = key_of(token, jwks) else { return false };
    let (input, signature) = token.rsplit_once('.').unwrap();
    let number = |member: &str| base64url(key[member].as_str().unwrap());
    RsaPublicKeyComponents { n: number("n"), e: number("e") }
        .verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &base64url(signature))
        .is_ok()
}
