//! A program's client id that is given as a role's password, which is how Azure Single Server is told whose role it is:
//! in one statement with the membership in `azure_ad_user`, or in two, in either order. Scripts give a user's object id
//! likewise; which of both it is only the directory can tell ([`role_principal`](super::role_principal)).
//!
//! The id is public, so it must not become a password. Where the role is a member it binds the role. Where it is not
//! one yet the password is stored, as any other, and the id remembered by this session, until the role is made a
//! member: then it binds the role, and the password goes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CStr;

use pgaad_core::label::Binding;
use pgrx::pg_sys::NodeTag;
use pgrx::prelude::*;

use super::report::SqlError;
use super::role_nodes::{list, make, role_named};
use super::role_statement::{items, option_name};
use super::{catalog, encoding};

thread_local! {
    /// The programs that this session has given as passwords, by the role's oid.
    static GIVEN: RefCell<BTreeMap<u32, Given>> = const { RefCell::new(BTreeMap::new()) };
}

/// A program that was given as a password.
struct Given {
    program: Binding,
    /// Who gave it. A function of somebody else's that ran in this session (`SECURITY DEFINER`) speaks for them alone.
    by: u32,
    /// The mark of what was stored: a password that was rolled back, or changed by others, is not the role's any more.
    mark: Option<u64>,
}

/// What a `CREATE ROLE` or `ALTER ROLE` does to the password.
pub(super) enum Password {
    /// It gives an id for one: a program's, unless the directory knows better.
    Program(Binding),
    /// It gives another one, or takes it away.
    Other,
}

/// What the options of a statement do to the password, if anything.
///
/// # Safety
/// The options of a statement of the parser's.
pub(super) unsafe fn password(options: *mut pg_sys::List) -> Option<Password> {
    // SAFETY: as above; the parser gives a password as a string node, or none for PASSWORD NULL.
    unsafe {
        let option = items::<pg_sys::DefElem>(options).find(|&option| option_name(option) == c"password")?;
        let text: *mut pg_sys::String = (*option).arg.cast();
        let text = (!text.is_null()).then(|| CStr::from_ptr((*text).sval).to_str().ok()).flatten();
        let program = text.and_then(|text| Binding::program(text).ok());
        Some(program.map_or(Password::Other, Password::Program))
    }
}

/// Takes a program's client id out of the options.
///
/// # Safety
/// The options of a statement that nobody else reads.
pub(super) unsafe fn take(options: &mut *mut pg_sys::List) -> Option<Binding> {
    // SAFETY: as above.
    unsafe {
        let Some(Password::Program(program)) = password(*options) else { return None };
        let others = items::<pg_sys::DefElem>(*options).filter(|&option| option_name(option) != c"password");
        *options = list(others.collect());
        Some(program)
    }
}

/// Remembers what a statement of `caller` has done to a role's password.
pub(super) fn note(role: &CStr, password: &Password, caller: u32) {
    let Some(oid) = catalog::oid_of(role) else { return };
    let mark = catalog::password_mark(role);
    GIVEN.with_borrow_mut(|given| match password {
        Password::Program(program) => _ = given.insert(oid, Given { program: *program, by: caller, mark }),
        Password::Other => _ = given.remove(&oid),
    });
}

/// The program that `caller` has given in this session as the password that the role has.
pub(super) fn peek(role: &CStr, caller: u32) -> Option<Binding> {
    let oid = catalog::oid_of(role)?;
    let mark = catalog::password_mark(role)?;
    GIVEN.with_borrow(|given| {
        let given = given.get(&oid).filter(|given| given.by == caller && given.mark == Some(mark));
        given.map(|given| given.program)
    })
}

/// The same; it is then forgotten.
pub(super) fn recall(role: &CStr, caller: u32) -> Option<Binding> {
    let program = peek(role, caller);
    catalog::oid_of(role).map(|oid| GIVEN.with_borrow_mut(|given| given.remove(&oid)));
    program
}

/// Raises the error for a role that has a label already: a client id is nothing that such a role can have for a
/// password.
pub(super) fn refuse_labelled(role: &CStr) -> ! {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message: format!("Entra role \"{}\" has a label, and no client id for a password", encoding::of_name(role)),
        hint: "SECURITY LABEL FOR \"pgaadauth\" ON ROLE … IS 'aadauth,oid=<client id>,type=service' binds it to a \
               program, 'aadauth,oid=<object id>,type=user' to a user."
            .into(),
    }
    .raise()
}

/// `ALTER ROLE role PASSWORD NULL`.
pub(super) fn without_password(role: &CStr) -> *mut pg_sys::AlterRoleStmt {
    // SAFETY: new nodes of their own type and tag; the name is copied.
    unsafe {
        let option = pg_sys::makeDefElem(pg_sys::pstrdup(c"password".as_ptr()), std::ptr::null_mut(), -1);
        let statement: *mut pg_sys::AlterRoleStmt = make(NodeTag::T_AlterRoleStmt);
        (*statement).role = role_named(pg_sys::pstrdup(role.as_ptr()));
        (*statement).options = list(vec![option]);
        (*statement).action = 1;
        statement
    }
}
