//! How a statement about roles is carried out: as one statement or as several, some of them by the bootstrap
//! superuser, and what follows from it.
//!
//! Memberships in the marker roles are recorded with the bootstrap superuser as grantor, so that revoking an
//! administrator never takes away the users whom they enabled. A statement that mixes them with other memberships is
//! therefore carried out in parts. The parts are found one after the other, since each sees what the one before did.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};

use pgaad_core::label::Binding;
use pgaad_core::membership::RoleGraph;
use pgaad_core::membership_rules::Caller;
use pgrx::pg_sys::NodeTag;
use pgrx::prelude::*;

use super::catalog::{self, Marker};
use super::report::{self, SqlError};
use super::role_parts::{self, Part};
use super::role_principal::{self, Directory, Newcomer, Principal};
use super::role_program::{self, Password};
use super::role_statement::{self, Change, RoleStatement};
use super::{label_providers, role_graph, role_nodes, role_vouch};

/// A statement about roles on its way. Lives in the memory context of the statement, which drops it.
pub(super) struct Plan {
    original: *mut pg_sys::PlannedStmt,
    pub(super) statement: RoleStatement,
    pub(super) is_superuser: bool,
    pub(super) caller: Caller,
    /// All roles and memberships before the statement, if the rules are asked afterwards.
    pub(super) before: Option<RoleGraph>,
    /// Whom the directory has named.
    answers: Vec<(Newcomer, Principal)>,
    waiting: VecDeque<Part>,
}

/// A statement to be carried out next; plain data, for a frame that owns nothing.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Step {
    /// Null when the plan is at its end.
    pub(super) statement: *mut pg_sys::PlannedStmt,
    /// In the name of the bootstrap superuser, and not of the caller.
    pub(super) as_superuser: bool,
    /// The tree is core's own.
    pub(super) is_original: bool,
}

impl Plan {
    /// Reads the statement. `None` where it is left to core alone: no role is marked yet, and it marks none.
    ///
    /// # Safety
    /// A statement that [`role_statement::is_about_roles`], in a transaction.
    pub(super) unsafe fn new(original: *mut pg_sys::PlannedStmt) -> Option<Self> {
        // SAFETY: as above.
        let statement = unsafe { role_statement::read((*original).utilityStmt) };
        let names_marker = |change: &Change| match change {
            Change::Role(name) | Change::Drop(name) => Marker::named(name).is_some(),
            Change::Label(_) => true,
            Change::Grant { .. } | Change::Revoke { .. } => !change.markers().is_empty(),
        };
        // A transaction may have looked for the marker roles before they were made.
        role_graph::accept_changes();
        if !Marker::any_exists() && !statement.changes.iter().any(names_marker) {
            return None;
        }
        // Who calls is looked up once nobody else can change roles.
        let caller = Caller { role: 0, is_entra_admin: false, createrole_rules_all: false };
        Some(Self {
            original,
            statement,
            is_superuser: false,
            caller,
            before: None,
            answers: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// Looks up who calls, once nobody else can change roles.
    pub(super) fn look_up_caller(&mut self) {
        role_graph::accept_changes();
        (self.is_superuser, self.caller) = catalog::caller();
    }

    /// Asks the directory whom the roles are bound to, as far as it is needed and was not asked yet. What is needed
    /// still `once_locked` is an error.
    ///
    /// # Errors
    /// Of the [`Directory`], and [`role_principal::changed_meanwhile`].
    ///
    /// # Safety
    /// As [`Plan::new`].
    pub(super) unsafe fn ask(&mut self, directory: Directory, once_locked: bool) -> Result<(), SqlError> {
        if !(self.is_superuser || self.caller.is_entra_admin) || asks_nobody() {
            return Ok(());
        }
        // SAFETY: as above.
        let newcomers = unsafe {
            let node = (*self.original).utilityStmt;
            role_principal::newcomers(node, &self.statement.changes, self.caller.role)
        };
        for newcomer in newcomers {
            if self.answers.iter().any(|(answered, _)| *answered == newcomer) {
                continue;
            }
            match (directory.question)(&newcomer)? {
                None => {}
                Some(_) if once_locked => return Err(role_principal::changed_meanwhile(&newcomer)),
                Some(question) => {
                    let principal = Principal::found(&newcomer, (directory.look_up)(&newcomer, question)?);
                    self.answers.push((newcomer, principal));
                }
            }
        }
        Ok(())
    }

    /// Whom a role is bound to that becomes a member, if to anybody.
    fn principal(&self, role: &CStr, given: Option<Binding>) -> Option<Principal> {
        let newcomer = Newcomer::new(role.to_owned(), given);
        let answer = self.answers.iter().find(|(answered, _)| *answered == newcomer);
        answer.map(|(_, principal)| *principal).or_else(|| given.map(Principal::program))
    }

    /// Takes the statement apart.
    ///
    /// # Safety
    /// As [`Plan::new`].
    pub(super) unsafe fn begin(&mut self) {
        if self.statement.changes_graph && !self.is_superuser {
            self.before = Some(role_graph::read());
        }
        // SAFETY: as above; a node is cast to the type that its tag names, and only copies are changed.
        unsafe {
            let node = (*self.original).utilityStmt;
            let is_about_members = self.statement.changes.iter().any(|change| !change.markers().is_empty());
            match (*node).type_ {
                NodeTag::T_GrantRoleStmt if is_about_members => self.plan_grant(),
                NodeTag::T_CreateRoleStmt if is_about_members => self.plan_create(),
                // ALTER GROUP, of a marker role: nothing is left for the caller. With other options, which only
                // superusers may change, the bootstrap superuser is the grantor anyway.
                NodeTag::T_AlterRoleStmt
                    if is_about_members && role_statement::is_only_about_members(node.cast()) =>
                {
                    let ours = role_nodes::copy(self.original);
                    self.plan_change(role_nodes::of_group((*ours).utilityStmt.cast()));
                }
                NodeTag::T_CreateRoleStmt => {
                    let create: *mut pg_sys::CreateRoleStmt = node.cast();
                    self.plan_password(role_statement::text((*create).role), (*create).options);
                }
                NodeTag::T_AlterRoleStmt => {
                    let alter: *mut pg_sys::AlterRoleStmt = node.cast();
                    self.plan_password(role_statement::role_name((*alter).role), (*alter).options);
                }
                NodeTag::T_SecLabelStmt => {
                    label_providers::register();
                    self.waiting.push_back(Part::AsCaller(self.original));
                    if let Some(role) = role_statement::labelled_role(node.cast()) {
                        let before = catalog::labelling(&role);
                        self.waiting.push_back(Part::Labelled(role, before));
                    }
                }
                _ => self.waiting.push_back(Part::AsCaller(self.original)),
            }
        }
    }

    /// # Safety
    /// The statement is a GRANT or REVOKE of marker roles, and perhaps others.
    unsafe fn plan_grant(&mut self) {
        // SAFETY: as above.
        unsafe {
            let (rest, ours) = (role_nodes::copy(self.original), role_nodes::copy(self.original));
            let (theirs, change): (*mut pg_sys::GrantRoleStmt, *mut pg_sys::GrantRoleStmt) =
                ((*rest).utilityStmt.cast(), (*ours).utilityStmt.cast());
            let (markers, others) = role_nodes::split((*theirs).granted_roles);
            (*change).granted_roles = markers;
            // The grantor that is named makes no difference: it is the bootstrap superuser.
            (*change).grantor = std::ptr::null_mut();
            if !others.is_null() {
                (*theirs).granted_roles = others;
                self.waiting.push_back(Part::AsCaller(rest));
            }
            self.plan_change(change);
        }
    }

    /// # Safety
    /// The statement is a CREATE ROLE that makes memberships in a marker role.
    unsafe fn plan_create(&mut self) {
        // SAFETY: as above.
        unsafe {
            let rest = role_nodes::copy(self.original);
            let create: *mut pg_sys::CreateRoleStmt = (*rest).utilityStmt.cast();
            self.waiting.push_back(Part::AsCaller(rest));
            // None: a marker role is made with members, by a superuser, who may as well be the grantor.
            let Some(grant) = role_nodes::take_markers(create) else { return };
            let is_for_tokens =
                self.statement.changes.iter().any(|change| change.markers().contains(&Marker::User));
            let given = is_for_tokens.then(|| role_program::take(&mut (*create).options)).flatten();
            if let Some(given) = given {
                self.bind_to(CStr::from_ptr((*create).role), given);
            }
            self.plan_change(grant);
        }
    }

    /// Plans a statement that makes or alters a role, and may give a program's client id for a password.
    ///
    /// # Safety
    /// The role of the original statement, a CREATE or ALTER ROLE, and its options.
    unsafe fn plan_password(&mut self, role: Option<CString>, options: *mut pg_sys::List) {
        // SAFETY: as above.
        let given = role.zip(unsafe { role_program::password(options) });
        match given {
            Some((role, Password::Program(_)))
                if catalog::standing(&role).is_some_and(|role| role.is_member) =>
            {
                // SAFETY: the original is an ALTER ROLE, since the role is there.
                unsafe { self.plan_program_of_member(&role) };
            }
            given => {
                self.waiting.push_back(Part::AsCaller(self.original));
                self.waiting.extend(given.map(|(role, password)| Part::Given(role, password)));
            }
        }
    }

    /// An id that is given for a member's password binds the role, unless it has a label already.
    ///
    /// # Safety
    /// The original statement is an ALTER ROLE of this role.
    unsafe fn plan_program_of_member(&mut self, role: &CStr) {
        if catalog::labelling(role).is_some_and(|labelling| labelling.is_labelled) {
            role_program::refuse_labelled(role);
        }
        // SAFETY: as above; only a copy is changed.
        unsafe {
            let rest = role_nodes::copy(self.original);
            let alter: *mut pg_sys::AlterRoleStmt = (*rest).utilityStmt.cast();
            let Some(program) = role_program::take(&mut (*alter).options) else { return };
            if !(*alter).options.is_null() {
                self.waiting.push_back(Part::AsCaller(rest));
            }
            self.bind_to(role, program);
        }
    }

    /// Binds a role to whom the id is of that was given for its password.
    fn bind_to(&mut self, role: &CStr, given: Binding) {
        let parts =
            self.principal(role, Some(given)).map(|found| role_parts::binding(self.original, role, found));
        self.waiting.extend(parts.into_iter().flatten());
    }

    /// Plans a GRANT or REVOKE of marker roles in the name of the bootstrap superuser. A REVOKE takes the membership
    /// away, whichever role granted it.
    ///
    /// # Safety
    /// `change` is a copy that nobody else reads.
    unsafe fn plan_change(&mut self, change: *mut pg_sys::GrantRoleStmt) {
        // SAFETY: as above.
        unsafe {
            role_nodes::name_members(change);
            for single in role_nodes::one_by_one(change) {
                if (*single).is_grant {
                    let statement = role_nodes::with_statement(self.original, single);
                    self.waiting.push_back(Part::AsSuperuser(statement));
                    let member = role_nodes::ends(single)
                        .filter(|(role, _)| Marker::named(role) == Some(Marker::User));
                    self.waiting.extend(member.map(|(_, member)| Part::Bind(member)));
                    continue;
                }
                self.waiting.push_back(Part::Revoke(single));
                if let Some((role, member)) = role_nodes::ends(single)
                    && Marker::named(&role) == Some(Marker::User)
                {
                    self.waiting.push_back(Part::Leave(member));
                }
            }
        }
    }

    /// The statement to carry out next.
    pub(super) fn next(&mut self) -> Step {
        while let Some(part) = self.waiting.pop_front() {
            let parts = match part {
                Part::AsCaller(statement) => return self.step(statement, false),
                Part::AsSuperuser(statement) => {
                    if !self.is_superuser {
                        // SAFETY: a copy that this plan made.
                        unsafe { role_vouch::vouch(statement, self.caller.role) };
                    }
                    return self.step(statement, true);
                }
                // SAFETY: a copy that this plan made.
                Part::Revoke(single) => unsafe { role_parts::by_grantors(self.original, single) },
                Part::Leave(role) => role_parts::after_leaving(self.original, &role, self.is_superuser),
                // SAFETY: core's own statement.
                Part::Labelled(role, before) => unsafe {
                    role_parts::after_label(self.original, &role, before)
                },
                Part::Given(role, password) => {
                    role_program::note(&role, &password, self.caller.role);
                    Vec::new()
                }
                Part::Bind(role) => self.bind(&role),
                Part::Bound(role, principal) => {
                    report::notice(principal.notice(&role));
                    Vec::new()
                }
            };
            parts.into_iter().rev().for_each(|part| self.waiting.push_front(part));
        }
        Step { statement: std::ptr::null_mut(), as_superuser: false, is_original: false }
    }

    fn step(&self, statement: *mut pg_sys::PlannedStmt, as_superuser: bool) -> Step {
        Step { statement, as_superuser, is_original: statement == self.original }
    }

    /// Binds a role that has become a member and has no label: to whom the directory has named, or to the program that
    /// this session has given for its password, which then goes.
    fn bind(&self, role: &CStr) -> Vec<Part> {
        if catalog::labelling(role).is_none_or(|labelling| labelling.is_labelled) {
            return Vec::new();
        }
        let given = role_program::recall(role, self.caller.role);
        let Some(principal) = self.principal(role, given) else { return Vec::new() };
        let mut parts = role_parts::binding(self.original, role, principal);
        if given.is_some() {
            // SAFETY: core's own statement, and one that was made for this.
            let alter =
                unsafe { role_nodes::with_statement(self.original, role_program::without_password(role)) };
            parts.insert(0, Part::AsCaller(alter));
        }
        parts
    }
}

/// Whether core refuses any change of roles, or `pg_upgrade` makes them as they were.
fn asks_nobody() -> bool {
    // SAFETY: statics of core's, read by the process's only thread.
    unsafe { pg_sys::XactReadOnly || pg_sys::IsBinaryUpgrade }
}
