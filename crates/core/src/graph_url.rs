//! Where Microsoft Graph is.

use std::fmt;
use std::str::FromStr;

use crate::https_url::{https_url, is_same_origin};
use crate::tenant::Cloud;

/// Base URL of Microsoft Graph: `https://host[:port]`, kept without a trailing slash. What pgaad adds itself, the
/// version and what follows it, is not in its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphUrl(String);

/// The text is no `https://host[:port]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAGraphUrl;

impl fmt::Display for NotAGraphUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("https://host or https://host:port; the version and what follows it is added")
    }
}

impl FromStr for GraphUrl {
    type Err = NotAGraphUrl;

    fn from_str(text: &str) -> Result<Self, NotAGraphUrl> {
        let url = https_url(text).ok_or(NotAGraphUrl)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || text.contains('#') {
            return Err(NotAGraphUrl);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl GraphUrl {
    /// That of a cloud (<https://learn.microsoft.com/graph/deployments>).
    pub fn of(cloud: Cloud) -> Self {
        let url = match cloud {
            Cloud::Public => "https://graph.microsoft.com",
            Cloud::UsGov => "https://graph.microsoft.us",
            Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
        };
        Self(url.to_owned())
    }

    /// The URL without trailing slash; also the resource that a token for Graph is asked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `url` is an https URL on the same host and port.
    pub fn is_origin_of(&self, url: &str) -> bool {
        is_same_origin(&self.0, url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_of_every_cloud_is_one_and_slashes_at_its_end_do_not_count() {
        for cloud in Cloud::ALL {
            let url = GraphUrl::of(cloud);
            assert_eq!(format!("{}/", url.as_str()).parse(), Ok(url));
        }
        assert_eq!("https://localhost:8443".parse::<GraphUrl>().unwrap().as_str(), "https://localhost:8443");
    }

    #[test]
    fn anything_with_more_than_host_and_port_is_refused() {
        for text in [
            "http://graph.microsoft.com",
            "graph.microsoft.com",
            "https://graph.microsoft.com/v1.0",
            "https://graph.microsoft.com/?a=1",
            "https://graph.microsoft.com#a",
            "https://me@graph.microsoft.com",
            "https://",
            "",
        ] {
            assert_eq!(text.parse::<GraphUrl>(), Err(NotAGraphUrl), "{text}");
        }
        assert!(NotAGraphUrl.to_string().contains("the version"));
    }

    #[test]
    fn only_the_very_host_and_port_are_the_same_origin() {
        let own: GraphUrl = "https://Graph.example".parse().unwrap();
        for (url, expected) in [
            ("https://graph.example/v1.0/groups?$skiptoken=a", true),
            ("https://graph.example:443/x", true),
            ("https://graph.example:444/x", false),
            ("http://graph.example/x", false),
            ("https://graph.example.evil/x", false),
            ("https://graph.example@evil/x", false),
            ("//graph.example/x", false),
            ("/v1.0/groups", false),
        ] {
            assert_eq!(own.is_origin_of(url), expected, "{url}");
        }
    }
}
