//! The tenant whose tokens are accepted, and where Microsoft's clouds keep what belongs to it.

use std::fmt;
use std::str::FromStr;

use crate::guid::TenantId;

/// A Microsoft cloud: where its identity provider is, who issues its tokens, and what Azure's
/// databases are called there (<https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Azure, worldwide.
    Public,
    /// Azure Government (US).
    UsGov,
    /// Azure operated by 21Vianet (China).
    China,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Public, Self::UsGov, Self::China];

    /// Its name in `pgaad.cloud`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::UsGov => "usgov",
            Self::China => "china",
        }
    }

    /// The cloud whose Azure databases have this audience; a trailing slash does not count.
    pub fn of_default_audience(audience: &str) -> Option<Self> {
        let audience = audience.trim_end_matches('/');
        Self::ALL.into_iter().find(|cloud| cloud.default_audiences().contains(&audience))
    }

    /// Base URL of the identity provider.
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGov => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// Base URL in the `iss` of v1 tokens.
    const fn v1_issuer_base(self) -> &'static str {
        match self {
            Self::Public | Self::UsGov => "https://sts.windows.net",
            Self::China => "https://sts.chinacloudapi.cn",
        }
    }

    /// Base URL in the `iss` of v2 tokens; China's is not that of its authority.
    const fn v2_issuer_base(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGov => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// What the cloud's own metadata calls it (`cloud_instance_name`).
    const fn instance(self) -> &'static str {
        match self {
            Self::Public => "microsoftonline.com",
            Self::UsGov => "microsoftonline.us",
            Self::China => "partner.microsoftonline.cn",
        }
    }

    /// The audiences of a token for Azure's open-source databases (`az account get-access-token --resource-type
    /// oss-rdbms`).
    pub const fn default_audiences(self) -> &'static [&'static str] {
        match self {
            Self::Public => {
                &["https://ossrdbms-aad.database.windows.net", "123cd850-d9df-40bd-94d5-c9f07b7fa203"]
            }
            Self::UsGov => &["https://ossrdbms-aad.database.usgovcloudapi.net"],
            Self::China => &["https://ossrdbms-aad.database.chinacloudapi.cn"],
        }
    }
}

/// Base URL of an identity provider: `https://host[:port][/path]`, kept without a trailing slash. What pgaad adds
/// itself, the tenant and what follows it, is not in its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(String);

/// The text is no `https://host[:port][/path]`, or has the tenant in its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAuthority;

impl fmt::Display for NotAnAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https://host or https://host:port; the tenant and what follows it is added")
    }
}

impl FromStr for Authority {
    type Err = NotAnAuthority;

    fn from_str(text: &str) -> Result<Self, NotAnAuthority> {
        let url = https_url(text).ok_or(NotAnAuthority)?;
        let is_added = |part: &str| {
            ["v2.0", "oauth2", "discovery", ".well-known"].contains(&part) || part.parse::<TenantId>().is_ok()
        };
        if url.query().is_some() || text.contains('#') || url.path().split('/').any(is_added) {
            return Err(NotAnAuthority);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Authority {
    /// Whether `url` is an https URL on the authority's own host and port (RFC 6454 §5).
    pub fn is_origin_of(&self, url: &str) -> bool {
        match (https_url(&self.0), https_url(url)) {
            (Some(own), Some(other)) => {
                own.host()
                    .is_some_and(|host| other.host().is_some_and(|found| host.eq_ignore_ascii_case(found)))
                    && own.port_u16().unwrap_or(443) == other.port_u16().unwrap_or(443)
            }
            _ => false,
        }
    }

    /// The URL without trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` as an https URL with a host and without user information.
fn https_url(text: &str) -> Option<http::Uri> {
    let url: http::Uri = text.parse().ok()?;
    let host = url.authority()?;
    (url.scheme_str() == Some("https") && !host.as_str().contains('@') && !host.host().is_empty())
        .then_some(url)
}

/// The one tenant whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    id: TenantId,
    cloud: Cloud,
    authority: Authority,
    v1_issuer: String,
    v2_issuer: String,
}

impl Tenant {
    /// The tenant `id` of `cloud`. An `authority` set by hand (a private cloud, a stand-in) also
    /// replaces the base of the v2 issuer; the v1 issuer stays the cloud's.
    pub fn new(id: TenantId, cloud: Cloud, authority: Option<Authority>) -> Self {
        let v2_base = authority.as_ref().map_or(cloud.v2_issuer_base(), Authority::as_str).to_owned();
        Self {
            id,
            cloud,
            v1_issuer: format!("{}/{id}/", cloud.v1_issuer_base()),
            v2_issuer: format!("{v2_base}/{id}/v2.0"),
            authority: authority.unwrap_or_else(|| Authority(cloud.authority().to_owned())),
        }
    }

    /// The tenant's id.
    pub fn id(&self) -> TenantId {
        self.id
    }

    /// The cloud that the tenant is in.
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// The identity provider.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The cloud's name in key sets and metadata (`cloud_instance_name`). `None` for a provider that is not one of
    /// Microsoft's: only its own metadata can tell.
    pub fn cloud_instance(&self) -> Option<&'static str> {
        let is_of =
            |cloud: &Cloud| [cloud.authority(), cloud.v2_issuer_base()].contains(&self.authority.as_str());
        Cloud::ALL.into_iter().find(is_of).map(Cloud::instance)
    }

    /// Whether `idp` names this tenant itself: in its own tokens that is one of its two issuers.
    pub fn is_own_identity_provider(&self, idp: &str) -> bool {
        let bare = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
        [&self.v1_issuer, &self.v2_issuer].into_iter().any(|issuer| bare(issuer) == bare(idp))
    }

    /// `iss` of the tenant's v1 tokens.
    pub fn v1_issuer(&self) -> &str {
        &self.v1_issuer
    }

    /// `iss` of the tenant's v2 tokens, and `issuer` of its v2 metadata.
    pub fn v2_issuer(&self) -> &str {
        &self.v2_issuer
    }

    /// Where the tenant's v2 OpenID metadata is (OpenID Connect Discovery 1.0 §4).
    pub fn metadata_url(&self) -> String {
        format!("{}/{}/v2.0/.well-known/openid-configuration", self.authority.0, self.id)
    }

    /// Whether a key whose set says `issuer` signs for this tenant. Entra's keys name v2 issuers
    /// only, with the literal `{tenantid}` where a key serves many tenants, and sign v1 tokens too.
    pub fn is_key_issuer(&self, issuer: &str) -> bool {
        issuer.replace("{tenantid}", &self.id.to_string()) == self.v2_issuer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_https_with_a_host_and_nothing_beside() {
        for good in ["https://login.microsoftonline.com", "https://localhost:8443/", "https://10.0.0.1/adfs"]
        {
            assert!(good.parse::<Authority>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "login.microsoftonline.com",
            "http://login.microsoftonline.com",
            "https://",
            "https:///x",
            "https://user@host",
            "https://host?x=1",
            "https://host#x",
            "https://ho st",
            "file:///etc/passwd",
            "https://login.microsoftonline.com/7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10",
            "https://login.microsoftonline.com/common/v2.0",
            "https://login.microsoftonline.com/x/.well-known/openid-configuration",
        ] {
            assert_eq!(bad.parse::<Authority>(), Err(NotAnAuthority), "{bad}");
        }
    }

    #[test]
    fn each_cloud_is_what_microsoft_says_it_is() {
        // https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, and az cloud list.
        for (cloud, name, authority, audience) in [
            (
                Cloud::Public,
                "public",
                "https://login.microsoftonline.com",
                "https://ossrdbms-aad.database.windows.net",
            ),
            (
                Cloud::UsGov,
                "usgov",
                "https://login.microsoftonline.us",
                "https://ossrdbms-aad.database.usgovcloudapi.net",
            ),
            (
                Cloud::China,
                "china",
                "https://login.chinacloudapi.cn",
                "https://ossrdbms-aad.database.chinacloudapi.cn",
            ),
        ] {
            assert_eq!((cloud.name(), cloud.authority()), (name, authority));
            assert_eq!(Cloud::of_default_audience(audience), Some(cloud));
            assert_eq!(Cloud::of_default_audience(&format!("{audience}/")), Some(cloud));
        }
        assert_eq!(Cloud::of_default_audience("https://graph.microsoft.com"), None);
        assert_eq!(Cloud::of_default_audience(""), None);
    }

    #[test]
    fn the_origin_is_host_and_port() {
        let authority: Authority = "https://localhost:8443".parse().unwrap();
        assert!(authority.is_origin_of("https://LOCALHOST:8443/keys"));
        for other in [
            "https://localhost/keys",
            "https://localhost:84430/keys",
            "http://localhost:8443/keys",
            "https://localhost.evil:8443/keys",
            "https://localhost@evil:8443/keys",
            "https://localhost:8443@evil/keys",
        ] {
            assert!(!authority.is_origin_of(other), "{other}");
        }
        let default: Authority = "https://login.microsoftonline.com".parse().unwrap();
        assert!(default.is_origin_of("https://login.microsoftonline.com:443/keys"));
    }

    #[test]
    fn china_issues_v2_tokens_under_another_host_than_its_authority() {
        let id: TenantId = "123cd850-d9df-40bd-94d5-c9f07b7fa203".parse().unwrap();
        let tenant = Tenant::new(id, Cloud::China, None);
        assert_eq!(tenant.v2_issuer(), format!("https://login.partner.microsoftonline.cn/{id}/v2.0"));
        assert_eq!(tenant.v1_issuer(), format!("https://sts.chinacloudapi.cn/{id}/"));
        assert!(tenant.metadata_url().starts_with("https://login.chinacloudapi.cn/"));
    }
}
