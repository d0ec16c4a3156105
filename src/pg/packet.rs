//! Asking the client for its token, as core asks for a password.

use pgaad_core::packet;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use zeroize::Zeroize;

use super::libpq;
use super::port::Port;

/// `AUTH_REQ_PASSWORD` (libpq/pqcomm.h): AuthenticationCleartextPassword.
const AUTH_REQ_PASSWORD: u32 = 3;

/// The most core accepts in this place (auth.c, `PG_MAX_AUTH_TOKEN_LENGTH`).
const MAX_PASSWORD_MESSAGE: i32 = 65_535;

/// What came back.
pub(crate) enum Reply {
    /// The bytes of the password, without the terminating NUL.
    Password(Vec<u8>),
    /// The client hung up, as psql does to ask its user for the password and come again.
    Gone,
    /// Not a password message, or one whose length and NUL do not agree.
    Broken,
}

/// Sends AuthenticationCleartextPassword and reads the answer: auth.c, `recv_password_packet`.
pub(crate) fn ask_for_password(port: Port) -> Reply {
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
        return Reply::Gone;
    }
    if message_type != i32::from(b'p') {
        return Reply::Broken;
    }
    // SAFETY: an empty StringInfo in the current context.
    //   initStringInfo(&buf);
    //   if (pq_getmessage(&buf, PG_MAX_AUTH_TOKEN_LENGTH)) return NULL; /* EOF or bad length, already logged */
    let (buffer, failed) = unsafe {
        let buffer = pg_sys::makeStringInfo();
        (buffer, pg_guard_ffi_boundary(|| libpq::pq_getmessage(buffer.cast(), MAX_PASSWORD_MESSAGE)))
    };
    if failed != 0 {
        return Reply::Gone;
    }
    // SAFETY: pq_getmessage left `len` bytes at `data`, and made room for a NUL behind them. Nobody
    // else has a reference; the slice ends with this function.
    let received = unsafe {
        let buffer = &*buffer;
        std::slice::from_raw_parts_mut(
            buffer.data.cast::<u8>(),
            usize::try_from(buffer.len).unwrap_or_default(),
        )
    };
    let reply =
        packet::password(received).map_or(Reply::Broken, |password| Reply::Password(password.to_vec()));
    received.zeroize();
    reply
}
