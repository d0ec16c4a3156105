//! One verification whose outcome is known, before any that counts.
//!
//! It shows that the cryptographic library does what it should in this process. It also has the library make its
//! tables: in the postmaster, once, instead of in every backend for its only login.

use crate::inline::Inline;
use crate::keys::read_entries;
use crate::token::rs256_holds;

/// Verifies the RS256 example of RFC 7515, appendix A.2, and refuses it with one letter changed.
///
/// `false` means that no signature can be trusted to be verified here.
pub fn self_test() -> bool {
    const KEYS: &[u8] = br#"{"keys":[{"kty":"RSA","kid":"RFC 7515, A.2.1","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;
    const SIGNING_INPUT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    let Ok((keys, _)) = read_entries(KEYS, Inline::EMPTY) else { return false };
    let [key] = keys.as_slice() else { return false };
    let changed = SIGNING_INPUT.replace(".eyJpc3", ".eyJpc2");
    rs256_holds(key, SIGNING_INPUT, SIGNATURE) && !rs256_holds(key, &changed, SIGNATURE)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_known_signature_is_verified_and_a_changed_text_is_not() {
        assert!(super::self_test());
    }
}
