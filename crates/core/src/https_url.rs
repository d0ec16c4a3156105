//! URLs of services that are reached by https.

use http::Uri;

/// `text` as an https URL with a host and without user information.
pub(crate) fn https_url(text: &str) -> Option<Uri> {
    let url: Uri = text.parse().ok()?;
    let host = url.authority()?;
    (url.scheme_str() == Some("https") && !host.as_str().contains('@') && !host.host().is_empty())
        .then_some(url)
}

/// Whether `url` is an https URL on the host and port of `own` (RFC 6454 §5).
pub(crate) fn is_same_origin(own: &str, url: &str) -> bool {
    match (https_url(own), https_url(url)) {
        (Some(own), Some(other)) => {
            own.host().is_some_and(|host| other.host().is_some_and(|found| host.eq_ignore_ascii_case(found)))
                && own.port_u16().unwrap_or(443) == other.port_u16().unwrap_or(443)
        }
        _ => false,
    }
}
