//! The body of a PasswordMessage (PostgreSQL documentation, "Message Formats").

/// The password in the body: everything before the one NUL that ends it.
///
/// `None` where core says `invalid password packet size` (auth.c, `recv_password_packet`): no NUL at
/// the end, or another one before it.
pub fn password(body: &[u8]) -> Option<&[u8]> {
    let (end, password) = body.split_last()?;
    (*end == 0 && !password.contains(&0)).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_nul_ends_the_password_and_there_is_no_other() {
        assert_eq!(password(b"secret\0"), Some(&b"secret"[..]));
        assert_eq!(password(b"\0"), Some(&b""[..]));
        for broken in [&b""[..], b"secret", b"sec\0ret\0", b"secret\0\0", b"\0secret"] {
            assert_eq!(password(broken), None, "{broken:?}");
        }
    }
}
