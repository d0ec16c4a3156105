//! Asking the client for its token, as core asks for a password.

use pgaad_core::{Reason, packet};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use super::libpq;
use super::port::Port;

/// What the client sent as its password; wiped when it is let go of.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// `AUTH_REQ_PASSWORD` (libpq/pqcomm.h): AuthenticationCleartextPassword.
const AUTH_REQ_PASSWORD: u32 = 3;

/// The most core accepts in this place (auth.c, `PG_MAX_AUTH_TOKEN_LENGTH`).
const MAX_PASSWORD_MESSAGE: i32 = 65_535;

/// Sends AuthenticationCleartextPassword and reads the answer: auth.c, `recv_password_packet`. The bytes of the
/// password, without the terminating NUL; `None` when the client hung up.
///
/// # Errors
/// [`Reason::Malformed`] for a message of another type, or one whose length and NUL do not agree;
/// [`Reason::OutOfMemory`].
pub(crate) fn ask_for_password(port: Port) -> Result<Option<Secret>, Reason> {
    // SAFETY: a live Port in its authentication phase; core flushes the message itself.
    unsafe {
        pg_guard_ffi_boundary(|| {
            libpq::sendAuthRequest(port.as_ptr(), AUTH_REQ_PASSWORD, std::ptr::null(), 0);
        });
    }
    // SAFETY: no message is half read: nothing was read since the start-up packet.
    //   pq_startmsgread();
    //   mtype = pq_getbyte();
    let message_type = unsafe {
        pg_guard_ffi_boundary(|| {
            libpq::pq_startmsgread();
            libpq::pq_getbyte()
        })
    };
    if message_type == -1 {
        return Ok(None);
    }
    if message_type != i32::from(b'p') {
        return Err(Reason::Malformed { shape: None });
    }
    // SAFETY: an empty StringInfo in the current context.
    //   initStringInfo(&buf);
    //   if (pq_getmessage(&buf, PG_MAX_AUTH_TOKEN_LENGTH)) return NULL; /* EOF or bad length, already logged */
    let (buffer, failed) = unsafe {
        let buffer = pg_sys::makeStringInfo();
        (buffer, pg_guard_ffi_boundary(|| libpq::pq_getmessage(buffer.cast(), MAX_PASSWORD_MESSAGE)))
    };
    // SAFETY: pq_getmessage made room for `len` bytes at `data` and a NUL behind them. Nobody else has a reference;
    // the slice ends with this function.
    let received = unsafe {
        let buffer = &*buffer;
        std::slice::from_raw_parts_mut(
            buffer.data.cast::<u8>(),
            usize::try_from(buffer.len).unwrap_or_default(),
        )
    };
    let secret = match packet::password(received) {
        _ if failed != 0 => Ok(None),
        Some(password) => copy(password).map(Some),
        None => Err(Reason::Malformed { shape: None }),
    };
    received.zeroize();
    secret
}

/// A copy that is wiped when it is let go of.
///
/// # Errors
/// [`Reason::OutOfMemory`]: a client chooses how many bytes these are, and must not be able to abort the process
/// with them.
pub(super) fn copy(bytes: &[u8]) -> Result<Secret, Reason> {
    let mut copy = Secret::default();
    copy.try_reserve_exact(bytes.len()).map_err(|_| Reason::OutOfMemory)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
