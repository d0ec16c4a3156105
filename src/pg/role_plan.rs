//! How a statement about roles is carried out: as one statement or as several, some of them by the bootstrap
//! superuser, and what follows from it.
//!
//! Memberships in the marker roles are recorded with the bootstrap superuser as grantor, so that revoking an
//! administrator never takes away the users whom they enabled. A statement that mixes them with other memberships is
//! therefore carried out in parts. The parts are found one after the other, since each sees what the one before did.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};

use pgaad_core::label::Binding;
use pgaad_core::labelling::Labelling;
use pgaad_core::membership::RoleGraph;
use pgaad_core::membership_rules::Caller;
use pgrx::pg_sys::NodeTag;
use pgrx::prelude::*;

use super::catalog::{self, Marker};
use super::role_program::{self, Password};
use super::role_statement::{self, Change, RoleStatement};
use super::{encoding, report};
use super::{label_providers, role_graph, role_nodes, role_vouch};

/// A statement about roles on its way. Lives in the memory context of the statement, which drops it.
pub(super) struct Plan {
    original: *mut pg_sys::PlannedStmt,
    pub(super) statement: RoleStatement,
    pub(super) is_superuser: bool,
    pub(super) caller: Caller,
    /// All roles and memberships before the statement, if the rules are asked afterwards.
    pub(super) before: Option<RoleGraph>,
    waiting: VecDeque<Part>,
}

/// A part of the statement.
enum Part {
    /// Carried out in the name of the caller, as core gave it (then its tree is core's) or as a copy.
    AsCaller(*mut pg_sys::PlannedStmt),
    /// Carried out in the name of the bootstrap superuser.
    AsSuperuser(*mut pg_sys::PlannedStmt),
    /// The REVOKE of one membership in a marker role, by whichever roles it was granted.
    Revoke(*mut pg_sys::GrantRoleStmt),
    /// The role may have left `azure_ad_user`: it leaves the Entra roles that it is a member of.
    Leave(CString),
    /// The role has got another label than the one that bound it so far.
    Labelled(CString, Option<Labelling>),
    /// The role got this password, or lost its own.
    Given(CString, Password),
    /// The role was made a member: the program that was its password binds it.
    BindGiven(CString),
    /// The role was bound to the program of this client id.
    BoundToProgram(CString, String),
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
            waiting: VecDeque::new(),
        })
    }

    /// Looks up who calls, once nobody else can change roles.
    pub(super) fn look_up_caller(&mut self) {
        role_graph::accept_changes();
        (self.is_superuser, self.caller) = catalog::caller();
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
            let program = is_for_tokens.then(|| role_program::take(&mut (*create).options)).flatten();
            if let Some(program) = program {
                let parts = self.binding(CStr::from_ptr((*create).role), program);
                self.waiting.extend(parts);
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
            let parts = self.binding(role, program);
            self.waiting.extend(parts);
        }
    }

    /// What binds a role to a program.
    fn binding(&self, role: &CStr, program: Binding) -> [Part; 2] {
        label_providers::register();
        // SAFETY: core's own statement, and one that was made for this.
        let label = unsafe { role_nodes::with_statement(self.original, role_program::label(role, program)) };
        let client_id = program.object_id().map(|id| id.to_string()).unwrap_or_default();
        [Part::AsCaller(label), Part::BoundToProgram(role.to_owned(), client_id)]
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
                    self.waiting.extend(member.map(|(_, member)| Part::BindGiven(member)));
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
            match part {
                Part::AsCaller(statement) => return self.step(statement, false),
                Part::AsSuperuser(statement) => {
                    if !self.is_superuser {
                        // SAFETY: a copy that this plan made.
                        unsafe { role_vouch::vouch(statement, self.caller.role) };
                    }
                    return self.step(statement, true);
                }
                // SAFETY: a copy that this plan made.
                Part::Revoke(single) => unsafe { self.revoke_by_grantors(single) },
                Part::Leave(role) => self.leave_entra_roles(&role),
                Part::Labelled(role, before) => self.follow_label(&role, before),
                Part::Given(role, password) => role_program::note(&role, &password, self.caller.role),
                Part::BindGiven(role) => self.bind_given(&role),
                Part::BoundToProgram(role, client_id) => report::notice(format!(
                    "role \"{}\" is bound to the program with client id {client_id}, and has no password",
                    encoding::of_name(&role)
                )),
            }
        }
        Step { statement: std::ptr::null_mut(), as_superuser: false, is_original: false }
    }

    fn step(&self, statement: *mut pg_sys::PlannedStmt, as_superuser: bool) -> Step {
        Step { statement, as_superuser, is_original: statement == self.original }
    }

    /// # Safety
    /// The REVOKE of one membership, a copy that nobody else reads.
    unsafe fn revoke_by_grantors(&mut self, single: *mut pg_sys::GrantRoleStmt) {
        // SAFETY: as above.
        unsafe {
            for revoke in role_nodes::by_grantors(single).into_iter().rev() {
                let statement = role_nodes::with_statement(self.original, revoke);
                self.waiting.push_front(Part::AsSuperuser(statement));
            }
        }
    }

    /// A role that has become a member is bound to the program that this session has given for its password.
    fn bind_given(&mut self, role: &CStr) {
        let is_labelled = catalog::labelling(role).is_none_or(|labelling| labelling.is_labelled);
        let Some(program) = role_program::recall(role, self.caller.role).filter(|_| !is_labelled) else {
            return;
        };
        // SAFETY: core's own statement, and one that was made for this.
        let alter =
            unsafe { role_nodes::with_statement(self.original, role_program::without_password(role)) };
        let [label, notice] = self.binding(role, program);
        for part in [notice, Part::AsCaller(alter), label] {
            self.waiting.push_front(part);
        }
    }

    /// A role that is no Entra role any more is a member of none either: their rights would be had without a token.
    fn leave_entra_roles(&mut self, role: &CStr) {
        if catalog::standing(role).is_none_or(|standing| standing.is_member) {
            return;
        }
        for entra in catalog::entra_roles_of(role) {
            report::notice(format!(
                "role \"{}\" also leaves the Entra role \"{}\"",
                encoding::of_name(role),
                encoding::of_name(&entra)
            ));
            self.waiting.push_front(Part::Revoke(role_nodes::revoke(&entra, role)));
        }
        // An administrator who takes a role out keeps it, to drop the role: it is what core gives to who made the role,
        // too.
        if self.is_superuser {
            self.end_office_over(role);
        }
    }

    /// From 16 on an administrator has the ADMIN OPTION on Entra roles by their office, and on others not.
    fn end_office_over(&mut self, role: &CStr) {
        for administrator in catalog::administrators_by_office(role) {
            // SAFETY: core's own statement, and one that this plan made.
            let statement = unsafe {
                let revoke = role_nodes::revoke(role, &administrator);
                role_nodes::name_bootstrap_superuser(revoke);
                role_nodes::with_statement(self.original, revoke)
            };
            self.waiting.push_front(Part::AsSuperuser(statement));
        }
    }

    /// A label makes its role an Entra role, as on Azure. A label that is taken away takes the role out again where
    /// what is left asks for less than before.
    fn follow_label(&mut self, role: &CStr, before: Option<Labelling>) {
        let (Some(standing), Some(after)) = (catalog::standing(role), catalog::labelling(role)) else {
            return;
        };
        if self.removes_label() {
            let asks_for_less = before.is_some_and(|before| {
                before.is_labelled && (!after.is_labelled || after.is_wider_than(&before))
            });
            if standing.is_member && asks_for_less {
                report::notice(format!(
                    "role \"{}\" leaves azure_ad_user, since its label is removed",
                    encoding::of_name(role)
                ));
                self.waiting.push_back(Part::Revoke(role_nodes::revoke(Marker::User.name(), role)));
                self.waiting.push_back(Part::Leave(role.to_owned()));
            }
        } else if !Marker::User.exists() {
            report::notice(
                "role azure_ad_user does not exist yet; the label takes effect when the role is made a member of it"
                    .to_owned(),
            );
        } else if !standing.is_member {
            let grant = role_nodes::grant(Marker::User.name(), role);
            // SAFETY: core's own statement, and one that this plan made.
            let statement = unsafe { role_nodes::with_statement(self.original, grant) };
            self.waiting.push_back(Part::AsSuperuser(statement));
        }
    }

    fn removes_label(&self) -> bool {
        // SAFETY: core's own statement, cast to the type that its tag names.
        unsafe {
            let node = (*self.original).utilityStmt;
            (*node).type_ == NodeTag::T_SecLabelStmt && (*node.cast::<pg_sys::SecLabelStmt>()).label.is_null()
        }
    }
}
