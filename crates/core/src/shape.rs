//! What can be said of a password that is no token without telling any of it: how it was probably spoilt.

use crate::log_line::LogLine;

/// The outer form of a password that was sent in place of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    bytes: usize,
    parts: usize,
    looks_like: &'static str,
}

/// Longer than passwords are. Access tokens of every provider are.
const LONGEST_PASSWORD: usize = 128;

impl Shape {
    /// The shape of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let parts = bytes.split(|byte| *byte == b'.').count();
        Self { bytes: bytes.len(), parts, looks_like: looks_like(bytes, parts) }
    }

    /// Adds it to a log line.
    pub(crate) fn facts(self, line: LogLine) -> LogLine {
        let line = line.fact("bytes", self.bytes).fact("parts", self.parts);
        line.fact("looks_like", self.looks_like)
    }
}

/// The first that fits. A JOSE header begins with `{"`, which in base64url is `eyJ`.
fn looks_like(bytes: &[u8], parts: usize) -> &'static str {
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return "password" };
    let begins_with =
        |head: &[u8]| bytes.get(..head.len()).is_some_and(|found| found.eq_ignore_ascii_case(head));
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`');
    let is_foreign = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let is_token = bytes.starts_with(b"eyJ");
    if begins_with(b"bearer ") {
        "token_after_bearer"
    } else if is_quote(first) && is_quote(last) {
        "token_in_quotes"
    } else if *first == b'{' {
        "json"
    } else if is_token && (last.is_ascii_whitespace() || *last == 0) {
        "token_before_whitespace"
    } else if is_token && bytes.iter().any(u8::is_ascii_whitespace) {
        "token_with_whitespace"
    } else if is_token && parts == 5 {
        "encrypted_token"
    } else if is_token && bytes.iter().any(is_foreign) {
        "token_with_foreign_characters"
    } else if is_token && parts <= 3 {
        "token_cut"
    } else if first.is_ascii_whitespace() {
        "whitespace_before"
    } else if bytes.len() > LONGEST_PASSWORD {
        "opaque_token"
    } else {
        "password"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_accident_is_told_and_nothing_of_what_was_sent() {
        let (head, long) = ("eyJhbGciOiJSUzI1NiJ9", "x".repeat(200));
        for (sent, parts, looks_like) in [
            (format!("Bearer {head}.e30.c2ln"), 3, "token_after_bearer"),
            (format!("bearer {head}.e30.c2ln"), 3, "token_after_bearer"),
            (format!("\"{head}.e30.c2ln\""), 3, "token_in_quotes"),
            (format!("'{head}.e30.c2ln'"), 3, "token_in_quotes"),
            ("{\"accessToken\": \"eyJ\"}".to_owned(), 1, "json"),
            (format!("{head}.e30.c2ln\n"), 3, "token_before_whitespace"),
            (format!("{head}.e30.c2ln\0"), 3, "token_before_whitespace"),
            (format!("{head}.e30.\nc2ln"), 3, "token_with_whitespace"),
            (format!("{head}.a.b.c.d"), 5, "encrypted_token"),
            (format!("{head}.e30.c2ln=="), 3, "token_with_foreign_characters"),
            (format!("{head}.e30.c2+n"), 3, "token_with_foreign_characters"),
            (format!("{head}.e30."), 3, "token_cut"),
            (format!("{head}.e30"), 2, "token_cut"),
            (head.to_owned(), 1, "token_cut"),
            (format!(" {head}.e30.c2ln"), 3, "whitespace_before"),
            (long.clone(), 1, "opaque_token"),
            (format!("{long}.{long}.{long}.{long}"), 4, "opaque_token"),
            ("correct horse battery staple".to_owned(), 1, "password"),
            ("secret".to_owned(), 1, "password"),
            ("eyJ.a.b.c".to_owned(), 4, "password"),
            (String::new(), 1, "password"),
            (format!("\"{head}.e30.c2ln"), 3, "password"),
            (format!("{head}.e30.c2ln\""), 3, "token_with_foreign_characters"),
            ("x".repeat(LONGEST_PASSWORD), 1, "password"),
            ("x".repeat(LONGEST_PASSWORD + 1), 1, "opaque_token"),
        ] {
            let shape = Shape::of(sent.as_bytes());
            assert_eq!(shape, Shape { bytes: sent.len(), parts, looks_like }, "{sent}");
        }
        let line = Shape::of(b"sec.ret").facts(LogLine::new("x:")).into_text();
        assert_eq!(line, "x: bytes=7 parts=2 looks_like=password");
    }
}
