//! The rules of who may change roles and memberships, each beside a twin that is allowed.

use std::collections::BTreeMap;

use pgaad_core::membership::{Markers, Membership, Privilege, Role, RoleGraph, RoleOid};
use pgaad_core::membership_rules::{Caller, Violation, judge, judge_alteration};

const USER: RoleOid = 20_001;
const ADMIN: RoleOid = 20_002;
const MFA: RoleOid = 20_003;
const ROOT: RoleOid = 20_010;
const ANN: RoleOid = 20_011;
const BOB: RoleOid = 20_012;
const PLAIN: RoleOid = 20_020;
const EVE: RoleOid = 20_021;
const GROUP: RoleOid = 20_022;
const SUPER: RoleOid = 20_030;
const PROGRAMS: RoleOid = 4571;
const MONITOR: RoleOid = 3373;

/// The world of these tests: ROOT is the administrator, ANN and BOB are Entra users.
#[derive(Clone)]
struct World {
    roles: BTreeMap<RoleOid, Role>,
    memberships: Vec<Membership>,
    markers: Markers,
}

fn role(name: &str) -> Role {
    Role { name: name.into(), is_superuser: false, can_replicate: false, bypasses_rls: false }
}

fn edge(role: RoleOid, member: RoleOid) -> Membership {
    Membership { role, member, admin: false, conveys: true }
}

/// What from 16 on a CREATEROLE gets for a role that they make.
fn admin_only(role: RoleOid, member: RoleOid) -> Membership {
    Membership { role, member, admin: true, conveys: false }
}

impl World {
    fn new() -> Self {
        let names = [
            (USER, "azure_ad_user"),
            (ADMIN, "azure_ad_admin"),
            (MFA, "azure_ad_mfa"),
            (ROOT, "root"),
            (ANN, "ann"),
            (BOB, "bob"),
            (PLAIN, "plain"),
            (EVE, "eve"),
            (GROUP, "group"),
            (PROGRAMS, "pg_execute_server_program"),
            (MONITOR, "pg_monitor"),
        ];
        let mut roles: BTreeMap<_, _> = names.into_iter().map(|(oid, name)| (oid, role(name))).collect();
        roles.insert(SUPER, Role { is_superuser: true, ..role("super") });
        let memberships = vec![edge(ADMIN, ROOT), edge(USER, ROOT), edge(USER, ANN), edge(USER, BOB)];
        let markers = Markers { user: Some(USER), admin: Some(ADMIN), mfa: Some(MFA) };
        Self { roles, memberships, markers }
    }

    fn with(mut self, membership: Membership) -> Self {
        self.memberships.push(membership);
        self
    }

    fn without(mut self, membership: Membership) -> Self {
        self.memberships.retain(|other| *other != membership);
        self
    }

    fn changed(mut self, oid: RoleOid, change: impl FnOnce(&mut Role)) -> Self {
        self.roles.entry(oid).and_modify(change);
        self
    }

    fn dropped(mut self, oid: RoleOid) -> Self {
        self.roles.remove(&oid);
        self.memberships.retain(|membership| membership.role != oid && membership.member != oid);
        self
    }

    fn graph(&self) -> RoleGraph {
        RoleGraph::new(self.roles.clone(), self.memberships.clone(), self.markers)
    }

    /// What the rules say of the step from here to `after`.
    fn to(&self, after: &Self, caller: Caller) -> Result<(), Violation> {
        judge(&self.graph(), &after.graph(), caller, |role| role == BOB)
    }
}

/// The administrator, on 16 and later.
const ROOT_CALLS: Caller = Caller { role: ROOT, is_entra_admin: true, createrole_rules_all: false };
/// A CREATEROLE, or a holder of some ADMIN OPTION, on 16 and later.
const EVE_CALLS: Caller = Caller { role: EVE, is_entra_admin: false, createrole_rules_all: false };
/// A CREATEROLE on 15.
const EVE_ON_15: Caller = Caller { createrole_rules_all: true, ..EVE_CALLS };

#[test]
fn marker_roles_stay_as_they_are_and_are_members_of_nothing() {
    let world = World::new();
    for caller in [ROOT_CALLS, EVE_CALLS] {
        let renamed = world.clone().changed(USER, |role| role.name = b"other".into());
        assert_eq!(world.to(&renamed, caller), Err(Violation::Marker));
        let altered = world.clone().changed(MFA, |role| role.bypasses_rls = true);
        assert_eq!(world.to(&altered, caller), Err(Violation::Marker));
        let mut gone = world.clone().dropped(MFA);
        gone.markers.mfa = None;
        assert_eq!(world.to(&gone, caller), Err(Violation::Marker));
        assert_eq!(gone.to(&world, caller), Err(Violation::Marker), "nor made");
        let member = world.clone().with(edge(PLAIN, USER));
        assert_eq!(world.to(&member, caller), Err(Violation::MarkerIsMember { marker: USER, of: PLAIN }));
        assert_eq!(world.to(&world, caller), Ok(()));
        assert_eq!(world.to(&world.clone().with(edge(PLAIN, EVE)), caller), Ok(()), "the twin");
    }
}

#[test]
fn administrators_are_gained_and_lost_by_superusers_only_however_it_is_done() {
    let world = World::new();
    let local = World::new().with(edge(ADMIN, GROUP)).with(edge(GROUP, PLAIN));
    for caller in [ROOT_CALLS, EVE_CALLS, EVE_ON_15] {
        for (before, after, who) in [
            (&world, world.clone().with(edge(ADMIN, EVE)), EVE),
            (&world, world.clone().with(edge(ROOT, ANN)), ANN),
            (&world, world.clone().with(admin_only(ADMIN, EVE)), EVE),
            (&world, world.clone().dropped(ROOT), ROOT),
            (&local, local.clone().with(edge(GROUP, EVE)), EVE),
            (&local, local.clone().with(edge(PLAIN, EVE)), EVE),
            (&local, local.clone().without(edge(GROUP, PLAIN)), PLAIN),
        ] {
            assert_eq!(before.to(&after, caller), Err(Violation::Administrators(who)), "{who}");
        }
        // Nor is one administrator's role another one's.
        let two = world.clone().with(edge(ADMIN, BOB));
        let taken = two.to(&two.clone().with(edge(BOB, ROOT)), caller);
        assert_eq!(taken, Err(Violation::Administrators(ROOT)));
        assert_eq!(two.to(&two.clone().with(admin_only(BOB, ROOT)), caller), Ok(()));
        // From 16 on nobody becomes another by an ADMIN OPTION alone.
        assert_eq!(world.to(&world.clone().with(admin_only(ROOT, ANN)), caller), Ok(()));
    }
}

#[test]
fn membership_in_azure_ad_user_is_the_administrators_to_give_and_to_take() {
    let world = World::new();
    let joined = world.clone().with(edge(USER, PLAIN));
    let left = world.clone().without(edge(USER, ANN));
    let mfa = world.clone().with(edge(MFA, ANN));
    for after in [&joined, &left, &mfa] {
        assert_eq!(world.to(after, ROOT_CALLS), Ok(()));
        let marker = if std::ptr::eq(after, &raw const mfa) { MFA } else { USER };
        assert_eq!(world.to(after, EVE_CALLS), Err(Violation::NotAdministrator { marker }));
    }
    // A role that is dropped leaves all others, as core allows.
    assert_eq!(world.to(&world.clone().dropped(ANN), EVE_CALLS), Ok(()));
    // Nobody lifts multi-factor authentication from an administrator, themselves among them, but a superuser.
    let with_mfa = world.clone().with(edge(MFA, ROOT));
    assert_eq!(world.to(&with_mfa, ROOT_CALLS), Ok(()));
    let privilege = Privilege::Administrator;
    assert_eq!(with_mfa.to(&world, ROOT_CALLS), Err(Violation::Privileged { role: ROOT, privilege }));
    // An administrator is taken out of azure_ad_user by superusers only.
    let out = world.clone().without(edge(USER, ROOT));
    assert_eq!(world.to(&out, ROOT_CALLS), Err(Violation::Privileged { role: ROOT, privilege }));
}

#[test]
fn a_role_with_power_over_the_server_is_put_into_azure_ad_user_by_superusers_only() {
    let world = World::new()
        .changed(PLAIN, |role| role.can_replicate = true)
        .changed(EVE, |role| role.bypasses_rls = true)
        .with(edge(PROGRAMS, GROUP))
        .with(edge(GROUP, BOB));
    for (role, privilege) in [
        (PROGRAMS, Privilege::Predefined),
        (MONITOR, Privilege::Predefined),
        (SUPER, Privilege::Superuser),
        (PLAIN, Privilege::Replication),
        (EVE, Privilege::BypassRls),
        (GROUP, Privilege::Reaches(PROGRAMS)),
    ] {
        let after = world.clone().with(edge(USER, role));
        assert_eq!(world.to(&after, ROOT_CALLS), Err(Violation::Privileged { role, privilege }), "{role}");
        assert_eq!(world.graph().privilege(role), Some(privilege));
    }
    assert_eq!(world.graph().privilege(BOB), Some(Privilege::Reaches(PROGRAMS)));
    let harmless = World::new().with(edge(MONITOR, GROUP));
    assert_eq!(harmless.to(&harmless.clone().with(edge(USER, GROUP)), ROOT_CALLS), Ok(()));
    // Nor does one that is in get such an attribute.
    let altered = World::new().changed(ANN, |role| role.can_replicate = true);
    let privilege = Privilege::Replication;
    assert_eq!(World::new().to(&altered, EVE_CALLS), Err(Violation::Privileged { role: ANN, privilege }));
}

#[test]
fn no_role_outside_azure_ad_user_becomes_a_member_of_one_inside_in_whatever_order() {
    let world = World::new();
    let granted = world.clone().with(edge(GROUP, PLAIN));
    for (before, after, role, outsider) in [
        (&world, world.clone().with(edge(ANN, PLAIN)), ANN, PLAIN),
        (&world, world.clone().with(admin_only(ANN, EVE)), ANN, EVE),
        (&world, world.clone().with(edge(ANN, SUPER)), ANN, SUPER),
        (&granted, granted.clone().with(edge(USER, GROUP)), GROUP, PLAIN),
        (&granted, granted.clone().with(edge(ANN, GROUP)), ANN, PLAIN),
    ] {
        assert_eq!(before.to(&after, ROOT_CALLS), Err(Violation::Outsider { role, outsider }));
    }
    // Leaving azure_ad_user makes an outsider of a member.
    let friends = world.clone().with(edge(ANN, BOB));
    let left = friends.clone().without(edge(USER, BOB));
    assert_eq!(friends.to(&left, ROOT_CALLS), Err(Violation::Outsider { role: ANN, outsider: BOB }));
    assert_eq!(friends.to(&left.without(edge(ANN, BOB)), ROOT_CALLS), Ok(()));
    // Between Entra roles, and from others to them, all is left to core; so is what was there before.
    assert_eq!(world.to(&friends, EVE_CALLS), Ok(()));
    assert_eq!(world.to(&world.clone().with(edge(GROUP, ANN)), EVE_CALLS), Ok(()));
    let broken = world.clone().with(edge(ANN, PLAIN));
    assert_eq!(broken.to(&broken.clone().with(edge(GROUP, EVE)), EVE_CALLS), Ok(()));
    // But the ADMIN OPTION alone, which a superuser has given, does not become the role's rights.
    let administered = world.with(admin_only(ANN, EVE));
    let widened = administered.clone().with(edge(ANN, EVE));
    let violation = Violation::Outsider { role: ANN, outsider: EVE };
    assert_eq!(administered.to(&widened, EVE_CALLS), Err(violation));
    assert_eq!(administered.to(&administered.clone().with(edge(GROUP, EVE)), EVE_CALLS), Ok(()));
}

#[test]
fn a_role_bound_by_its_name_is_renamed_by_administrators_only() {
    let world = World::new();
    let rename = |oid| world.clone().changed(oid, |role| role.name = b"mallory".into());
    assert_eq!(world.to(&rename(BOB), EVE_CALLS), Err(Violation::BindingRenamed(BOB)));
    assert_eq!(world.to(&rename(BOB), ROOT_CALLS), Ok(()));
    assert_eq!(world.to(&rename(ANN), EVE_CALLS), Ok(()), "bound by an id");
    assert_eq!(world.to(&rename(PLAIN), EVE_CALLS), Ok(()), "not an Entra role");
}

#[test]
fn on_15_a_role_that_reaches_power_over_the_server_is_granted_by_holders_of_its_admin_option() {
    let world = World::new().with(edge(PROGRAMS, GROUP)).with(edge(SUPER, PLAIN));
    for (granted, reaches) in [(PROGRAMS, PROGRAMS), (GROUP, PROGRAMS), (PLAIN, SUPER)] {
        let after = world.clone().with(edge(granted, EVE));
        assert_eq!(world.to(&after, EVE_ON_15), Err(Violation::ServerRole { granted, reaches }));
        assert_eq!(world.to(&after, EVE_CALLS), Ok(()), "from 16 on core asks for the ADMIN OPTION itself");
        let office = world.clone().with(edge(USER, granted)).with(admin_only(granted, ROOT));
        let violation = Err(Violation::ServerRole { granted, reaches });
        assert_eq!(office.to(&office.clone().with(edge(granted, ROOT)), ROOT_CALLS), violation);
        let holder = Membership { admin: true, ..edge(granted, EVE) };
        let may = world.clone().with(holder);
        assert_eq!(may.to(&may.clone().with(edge(granted, GROUP)), EVE_ON_15), Ok(()));
        // The option is not given to oneself.
        let member = world.clone().with(edge(granted, EVE));
        let upgraded = member.clone().without(edge(granted, EVE)).with(holder);
        assert_eq!(member.to(&upgraded, EVE_ON_15), Err(Violation::ServerRole { granted, reaches }));
    }
    assert_eq!(world.to(&world.clone().with(edge(MONITOR, EVE)), EVE_ON_15), Ok(()));
}

/// From 16 on a membership has a row for each grantor: one that gives nothing more changes nothing.
#[test]
fn a_membership_that_gives_no_more_than_another_one_is_not_new() {
    let row = |admin, conveys| Membership { admin, conveys, ..edge(PROGRAMS, GROUP) };
    for (old, new) in [
        (row(true, true), row(false, true)),
        (row(false, true), row(false, false)),
        (row(true, true), row(true, false)),
    ] {
        let before = World::new().with(old);
        assert_eq!(before.to(&before.clone().with(new), EVE_ON_15), Ok(()), "{new:?}");
        let without = World::new();
        let violation = Violation::ServerRole { granted: PROGRAMS, reaches: PROGRAMS };
        assert_eq!(without.to(&without.clone().with(new), EVE_ON_15), Err(violation), "the twin");
    }
}

/// `azure_pg_admin` hands on what it has, so its members rule over more than themselves.
#[test]
fn azures_administrator_role_is_one_with_power_over_the_server() {
    let world =
        World::new().changed(GROUP, |role| role.name = b"azure_pg_admin".into()).with(edge(GROUP, PLAIN));
    for granted in [GROUP, PLAIN] {
        let after = world.clone().with(edge(granted, EVE));
        let violation = Violation::ServerRole { granted, reaches: GROUP };
        assert_eq!(world.to(&after, EVE_ON_15), Err(violation));
        assert_eq!(world.to(&after, EVE_CALLS), Ok(()), "from 16 on core asks for the ADMIN OPTION itself");
    }
    let graph = world.graph();
    assert_eq!(graph.privilege(GROUP), Some(Privilege::AzureAdmin));
    assert_eq!(graph.privilege(PLAIN), Some(Privilege::Reaches(GROUP)));
    for role in [GROUP, PLAIN] {
        let privilege = graph.privilege(role).unwrap();
        let joined = world.clone().with(edge(USER, role));
        assert_eq!(world.to(&joined, ROOT_CALLS), Err(Violation::Privileged { role, privilege }));
        assert_eq!(
            judge_alteration(&graph, role, EVE_ON_15),
            Err(privilege),
            "nor is it had by a password or a name"
        );
    }
    // A role with a similar name has no such power.
    let other = World::new().changed(GROUP, |role| role.name = b"azure_pg_admins".into());
    assert_eq!(other.graph().privilege(GROUP), None);
}

#[test]
fn a_role_that_reaches_more_than_its_own_rights_is_not_had_by_its_password() {
    let world = World::new().with(edge(ADMIN, GROUP)).with(edge(PROGRAMS, PLAIN));
    let world = world.changed(GROUP, |role| role.bypasses_rls = true).graph();
    for caller in [ROOT_CALLS, EVE_CALLS, EVE_ON_15] {
        assert_eq!(judge_alteration(&world, GROUP, caller), Err(Privilege::Administrator));
        assert_eq!(judge_alteration(&world, BOB, caller), Ok(()), "the twin");
    }
    assert_eq!(judge_alteration(&world, PLAIN, EVE_ON_15), Err(Privilege::Reaches(PROGRAMS)));
    assert_eq!(
        judge_alteration(&world, PLAIN, EVE_CALLS),
        Ok(()),
        "from 16 on core asks for the ADMIN OPTION"
    );
    let holder = Membership { admin: true, ..edge(PLAIN, EVE) };
    let world = World::new().with(edge(PROGRAMS, PLAIN)).with(holder).graph();
    assert_eq!(judge_alteration(&world, PLAIN, EVE_ON_15), Ok(()));
}

#[test]
fn each_power_is_one_by_itself_and_ordinary_roles_begin_at_16384() {
    const FIRST: RoleOid = 16_384;
    let world = |change: fn(&mut Role)| World::new().with(edge(GROUP, EVE)).changed(GROUP, change).graph();
    assert_eq!(world(|_| ()).privilege(EVE), None);
    let changes: [fn(&mut Role); 4] = [
        |role| role.is_superuser = true,
        |role| role.can_replicate = true,
        |role| role.bypasses_rls = true,
        |role| role.name = "azure_pg_admin".into(),
    ];
    for change in changes {
        assert_eq!(world(change).privilege(EVE), Some(Privilege::Reaches(GROUP)));
    }
    let mut early = World::new();
    early.roles.insert(FIRST, role("first"));
    early.roles.insert(FIRST - 1, role("last"));
    let graph = early.graph();
    assert_eq!((graph.privilege(FIRST), graph.privilege(FIRST - 1)), (None, Some(Privilege::Predefined)));
}
