//! The tenant whose tokens are accepted, and where Microsoft's clouds keep what belongs to it.

use std::fmt;
use std::str::FromStr;

use crate::guid::TenantId;
use crate::https_url::{https_url, is_same_origin};

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

    /// Base URL of the identity provider, and of the `iss` of v2 tokens.
    pub const fn authority(self) -> &'static str {
        match self {
            Self::Public => "https://login.microsoftonline.com",
            Self::UsGov => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    /// The hosts of the identity provider: its metadata may say that the keys are at any of them. As Microsoft's own
    /// libraries have them (MSAL, instance discovery metadata: `aliases`).
    pub const fn hosts(self) -> &'static [&'static str] {
        match self {
            Self::Public => {
                &["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
            }
            Self::UsGov => &["login.microsoftonline.us", "login.usgovcloudapi.net"],
            Self::China => &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
        }
    }

    /// Base URL in the `iss` of v1 tokens.
    const fn v1_issuer_base(self) -> &'static str {
        match self {
            Self::Public | Self::UsGov => "https://sts.windows.net",
            Self::China => "https://sts.chinacloudapi.cn",
        }
    }

    /// Whether `url` is an https URL at one of the hosts, at the usual port.
    fn has(self, url: &str) -> bool {
        https_url(url).is_some_and(|url| {
            let is_host = |host: &str| url.host().is_some_and(|found| host.eq_ignore_ascii_case(found));
            url.port_u16().unwrap_or(443) == 443 && self.hosts().iter().any(|host| is_host(host))
        })
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
        is_same_origin(&self.0, url)
    }

    /// The URL without trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
    /// The tenant `id` of `cloud`. An `authority` set by hand at a host that the cloud does not have (a private cloud,
    /// a stand-in) also replaces the base of the v2 issuer. The v1 issuer stays the cloud's.
    pub fn new(id: TenantId, cloud: Cloud, authority: Option<Authority>) -> Self {
        let by_hand = authority.as_ref().map(Authority::as_str).filter(|authority| !cloud.has(authority));
        let v2_base = by_hand.unwrap_or(cloud.authority()).to_owned();
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
        Cloud::ALL.into_iter().find(|cloud| cloud.has(self.authority.as_str())).map(Cloud::instance)
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

    /// Whether the tenant's key set may be at `url`: at the authority's own host and port, or, where the authority is
    /// the cloud's, at any of the cloud's hosts.
    pub fn may_have_keys_at(&self, url: &str) -> bool {
        self.authority.is_origin_of(url) || (self.cloud.has(self.authority.as_str()) && self.cloud.has(url))
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
        // https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, az cloud list, and the
        // instance discovery metadata of MSAL.
        let id: TenantId = "123cd850-d9df-40bd-94d5-c9f07b7fa203".parse().unwrap();
        for (cloud, name, host, others, v1_issuer, instance, audience) in [
            (
                Cloud::Public,
                "public",
                "login.microsoftonline.com",
                &["login.windows.net", "login.microsoft.com", "sts.windows.net"][..],
                "sts.windows.net",
                "microsoftonline.com",
                "https://ossrdbms-aad.database.windows.net",
            ),
            (
                Cloud::UsGov,
                "usgov",
                "login.microsoftonline.us",
                &["login.usgovcloudapi.net"],
                "sts.windows.net",
                "microsoftonline.us",
                "https://ossrdbms-aad.database.usgovcloudapi.net",
            ),
            (
                Cloud::China,
                "china",
                "login.partner.microsoftonline.cn",
                &["login.chinacloudapi.cn"],
                "sts.chinacloudapi.cn",
                "partner.microsoftonline.cn",
                "https://ossrdbms-aad.database.chinacloudapi.cn",
            ),
        ] {
            assert_eq!((cloud.name(), cloud.authority()), (name, format!("https://{host}").as_str()));
            assert_eq!(cloud.hosts(), [&[host], others].concat());
            assert_eq!(Cloud::of_default_audience(audience), Some(cloud));
            assert_eq!(Cloud::of_default_audience(&format!("{audience}/")), Some(cloud));
            // By whichever of its hosts the cloud is asked, it issues under the same names.
            let asked = others.iter().map(|host| (*host, Some(format!("https://{host}/").parse().unwrap())));
            for (asked, authority) in asked.chain([(host, None)]) {
                let tenant = Tenant::new(id, cloud, authority);
                let metadata = format!("https://{asked}/{id}/v2.0/.well-known/openid-configuration");
                assert_eq!(tenant.metadata_url(), metadata);
                assert_eq!(tenant.v1_issuer(), format!("https://{v1_issuer}/{id}/"));
                assert_eq!(tenant.v2_issuer(), format!("https://{host}/{id}/v2.0"));
                assert_eq!(tenant.cloud_instance(), Some(instance));
                for host in cloud.hosts() {
                    assert!(tenant.may_have_keys_at(&format!("https://{host}/{id}/discovery/v2.0/keys")));
                    for elsewhere in [
                        format!("https://{host}:8443/keys"),
                        format!("http://{host}/keys"),
                        format!("https://x.{host}/keys"),
                        format!("https://{host}.evil/keys"),
                        format!("https://{host}@evil/keys"),
                    ] {
                        assert!(!tenant.may_have_keys_at(&elsewhere), "{elsewhere}");
                    }
                }
            }
        }
        // The keys of a cloud may not come from another cloud's hosts, and those of a stand-in from no cloud's.
        let stand_in: Authority = "https://localhost:8443".parse().unwrap();
        for cloud in Cloud::ALL {
            let own = Tenant::new(id, cloud, None);
            let by_hand = Tenant::new(id, cloud, Some(stand_in.clone()));
            assert_eq!(by_hand.cloud_instance(), None);
            assert_eq!(by_hand.v2_issuer(), format!("https://localhost:8443/{id}/v2.0"));
            for other in Cloud::ALL.into_iter().flat_map(Cloud::hosts) {
                let url = format!("https://{other}/keys");
                assert_eq!(own.may_have_keys_at(&url), cloud.hosts().contains(other), "{other}");
                assert!(!by_hand.may_have_keys_at(&url), "{other}");
            }
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
}
