//! Runs of the directory's worker, broken off, repeated and lied to: what was read whole stays, nothing else counts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod scene;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgaad_core::directory::accounts::Account;
use pgaad_core::directory::{AccountState, MembershipWord};
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::settings::directory::Programs;
use pgaad_core::time::UnixTime;
use pgaad_provider::directory_run::{DirectoryReport, DirectoryRequest, run};
use pgaad_provider::directory_state::DirectoryState;
use pgaad_provider::set_store::SetStore;
use tenant::Trouble;

use scene::{APP, Scene, id};

impl Scene {
    fn store(&self) -> SetStore {
        SetStore::new(&self.data())
    }

    fn run_request(&self, groups: &[&str], users: &[&str]) -> DirectoryRequest {
        DirectoryRequest {
            graph: self.request(),
            groups: groups.iter().map(|group| id(group)).collect(),
            users: users.iter().map(|user| id(user)).collect(),
            nested: true,
            programs: Programs::Off,
        }
    }

    fn run(&self, groups: &[&str], users: &[&str]) -> DirectoryReport {
        run(self.run_request(groups, users), &self.store())
    }

    fn members(&self, group: &str) -> Option<BTreeSet<ObjectId>> {
        self.store().members(self.id(), id(group)).map(|members| members.into_iter().collect())
    }
}

fn crowd(name: &str, numbers: std::ops::Range<u32>) -> BTreeSet<ObjectId> {
    numbers.map(|number| id(&tenant::crowd_member(name, number))).collect()
}

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Whatever happens to the pages, a set is the one of before or the one of now, and never anything between.
#[test]
fn pages_lost_cut_repeated_and_foreign_at_random_never_shrink_or_grow_a_set() {
    let scene = Scene::start("random");
    let group = scene.tenant.directory().add_crowd("crowd", 250);
    let other = scene.tenant.directory().add_crowd("other", 250);
    scene.tenant.set_page_size(Some(50));
    assert!(scene.run(&[&group], &[]).error().is_none());
    let mut known = crowd("crowd", 0..250);
    let foreign_page = {
        let of_other = format!("/v1.0/groups/{other}/transitiveMembers?$select=id&$top=999&$skiptoken=50");
        format!("https://graph.example{of_other}")
    };
    let runs = std::env::var("PGAAD_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(200_u32);
    let mut dice = Dice(7);
    let (mut whole, mut broken) = (0, 0);
    for number in 0..runs {
        // Somebody joins, somebody leaves.
        let (joins, leaves) =
            (tenant::crowd_member("new", number), tenant::crowd_member("crowd", number % 250));
        {
            let mut directory = scene.tenant.directory();
            directory.add_known(&joins);
            directory.join(&group, &joins);
            directory.leave(&group, &leaves);
        }
        let now: BTreeSet<_> =
            scene.tenant.directory().member_ids(&group).iter().map(|member| id(member)).collect();
        let seed = dice.roll(u64::MAX >> 33);
        let link = foreign_page.clone();
        let mut dice_of_run = Dice(seed);
        scene.tenant.set_trouble(move |_, path| {
            if !path.contains("transitiveMembers") || dice_of_run.roll(3) > 0 {
                return None;
            }
            Some(match dice_of_run.roll(10) {
                0 => Trouble::Status(500, None),
                1 => Trouble::Status(503, Some("0".into())),
                2 => Trouble::Truncated,
                3 => Trouble::Reset,
                4 => Trouble::Html,
                5 => Trouble::NextPage(link.clone()),
                6 => Trouble::Twice,
                7 => Trouble::Status(404, None),
                8 => Trouble::Status(403, None),
                _ => Trouble::Body(200, "{\"value\":[{\"id\":\"x\"}]}".into()),
            })
        });
        let report = scene.run(&[&group], &[]);
        let found = scene.members(&group).expect("it was read once");
        if report.error().is_none() {
            whole += 1;
            assert!(found == now, "run {number}: a whole run has read what there is");
            known = now;
        } else {
            broken += 1;
            assert!(
                found == known,
                "run {number}: a run that failed has changed something: {:?}",
                report.error()
            );
        }
    }
    assert!(whole > runs / 20 && broken > runs / 20, "{whole} whole, {broken} broken");
}

/// Graph has more than one copy of the directory, and no answer says how old the copy is. What one says that is behind
/// holds until the next run; nobody is lost who was a member all the time.
#[test]
fn page_of_an_old_replica_after_a_new_one_loses_nobody_and_the_next_run_is_right_again() {
    let scene = Scene::start("replica");
    let group = scene.tenant.directory().add_crowd("crowd", 250);
    scene.tenant.set_page_size(Some(50));
    scene.tenant.directory().keep_replica();
    let (left, joined) = (tenant::crowd_member("crowd", 220), tenant::crowd_member("new", 0));
    {
        let mut directory = scene.tenant.directory();
        directory.leave(&group, &left);
        directory.add_known(&joined);
        directory.join(&group, &joined);
    }
    let stayed: BTreeSet<_> =
        crowd("crowd", 0..250).into_iter().filter(|member| *member != id(&left)).collect();
    let now: BTreeSet<_> = stayed.iter().copied().chain([id(&joined)]).collect();
    assert!(scene.run(&[&group], &[]).error().is_none());
    assert!(scene.members(&group) == Some(now.clone()), "all pages are new");
    scene.tenant.set_trouble(|_, path| path.contains("skiptoken=").then_some(Trouble::OldReplica));
    assert!(scene.run(&[&group], &[]).error().is_none());
    let mixed = scene.members(&group).expect("it was read");
    assert!(mixed.is_superset(&stayed) && mixed.contains(&id(&left)), "the later pages are old");
    scene.tenant.end_trouble();
    assert!(scene.run(&[&group], &[]).error().is_none());
    assert!(scene.members(&group) == Some(now), "all pages are new again");
}

#[test]
fn each_group_stands_for_itself_and_what_concerns_all_is_asked_once() {
    let scene = Scene::start("several");
    let groups: Vec<String> =
        (0..3).map(|number| scene.tenant.directory().add_crowd(&format!("g{number}"), 10)).collect();
    let all: Vec<&str> = groups.iter().map(String::as_str).collect();
    scene.tenant.directory().delete(&groups[1]);
    let report = scene.run(&all, &[]);
    let codes: Vec<_> =
        report.groups.iter().map(|(_, done)| done.as_ref().err().map(|error| error.code())).collect();
    assert_eq!(codes, [None, Some("group_gone".to_owned()), None]);
    assert_eq!(scene.members(&groups[2]), Some(crowd("g2", 0..10)));
    assert_eq!(scene.members(&groups[1]), None);
    let state = DirectoryState::default().after(&[report], UnixTime::new(7), UnixTime::new(9));
    state.write(&scene.data()).expect("ours");
    assert_eq!(DirectoryState::read(&scene.data()), state);
    let known = state.of(scene.id()).expect("one tenant");
    assert_eq!((known.began_at, known.ended_at, known.last_success), (7, 9, None));
    assert_eq!(known.error.as_ref().map(|error| (error.code.as_str(), error.since)), Some(("group_gone", 7)));
    assert_eq!(known.group(id(&groups[0])).and_then(|group| group.name.as_deref()), Some("g0"));
    // Nobody lets pgaad in any more: one question, and not one for each group.
    scene.tenant.directory().applications.get_mut(APP).expect("registered").secrets.clear();
    scene.tenant.set_trouble(|_, _| None);
    let report = scene.run(&all, &["11111111-2222-3333-4444-555555555555"]);
    assert!(
        report
            .groups
            .iter()
            .all(|(_, done)| done.as_ref().is_err_and(|error| error.code() == "token_refused"))
    );
    assert!(report.accounts.is_some_and(|accounts| accounts.is_err()));
    assert_eq!(scene.tenant.questions(), 1);
    let later = state.after(&[scene.run(&all, &[])], UnixTime::new(20), UnixTime::new(21));
    let known = later.of(scene.id()).expect("one tenant");
    let group = known.group(id(&groups[0])).expect("it is still asked for");
    assert_eq!(group.name.as_deref(), Some("g0"), "its name is kept");
    assert_eq!(group.error.as_ref().map(|error| error.since), Some(20));
    assert_eq!(scene.members(&groups[0]), Some(crowd("g0", 0..10)), "and so are its members");
}

#[test]
fn set_is_dated_by_graphs_clock_whatever_this_machines_says() {
    let scene = Scene::start("clock");
    let group = scene.tenant.directory().add_crowd("crowd", 1);
    for ahead in [-7_200, 0, 7_200] {
        scene.tenant.set_trouble(move |_, path| path.contains("/groups/").then_some(Trouble::Clock(ahead)));
        assert!(scene.run(&[&group], &[]).error().is_none());
        let began_at = scene.store().outline(scene.id(), id(&group)).expect("it was read").began_at;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let off = began_at.seconds() - i64::try_from(now).expect("this century") - ahead;
        assert!((-60..=60).contains(&off), "{ahead}: {off}");
    }
}

#[test]
fn user_who_is_not_found_once_is_missing_and_twice_is_gone() {
    let scene = Scene::start("accounts");
    let users: Vec<String> =
        (0..3).map(|number| scene.tenant.directory().add_user(&format!("u{number}@example.com"))).collect();
    let ids: Vec<&str> = users.iter().map(String::as_str).collect();
    let state = |number: usize| scene.store().account(scene.id(), id(&users[number]));
    assert_eq!(state(0), AccountState::Unknown);
    assert!(scene.run(&[], &ids).error().is_none());
    let enabled = AccountState::Enabled { valid_from: UnixTime::new(1_767_225_600) };
    assert_eq!([state(0), state(1), state(2)], [enabled; 3]);
    {
        let mut directory = scene.tenant.directory();
        directory.delete(&users[0]);
        directory.user(&users[1]).enabled = false;
    }
    // Nobody is bound to them, nobody is connected: who was seen lately is asked for all the same.
    assert!(scene.run(&[], &["11111111-2222-3333-4444-555555555555"]).error().is_none());
    let valid_from = UnixTime::new(1_767_225_600);
    assert_eq!(
        [state(0), state(1), state(2)],
        [AccountState::Missing { valid_from }, AccountState::Disabled, enabled]
    );
    scene.tenant.directory().delete(&users[1]);
    for _ in 0..2 {
        assert!(scene.run(&[], &ids).error().is_none());
        assert_eq!([state(0), state(1), state(2)], [AccountState::Gone, AccountState::Disabled, enabled]);
    }
    // Who was kept out is asked for as long as that is so, and found again when they are back.
    let back = scene.tenant.directory().add_user("u0@example.com");
    assert_eq!(back, users[0]);
    assert!(scene.run(&[], &ids[2..]).error().is_none());
    assert_eq!(state(0), enabled);
    // A run that failed changes nothing.
    scene.tenant.set_trouble(|_, path| path.contains("batch").then_some(Trouble::Status(403, None)));
    assert!(scene.run(&[], &ids).error().is_some());
    assert_eq!([state(0), state(1), state(2)], [enabled, AccountState::Disabled, enabled]);
}

#[test]
fn users_who_were_seen_long_ago_are_not_asked_for_unless_they_are_kept_out() {
    let scene = Scene::start("seen");
    let users: Vec<String> =
        (0..2).map(|number| scene.tenant.directory().add_user(&format!("u{number}@example.com"))).collect();
    scene.tenant.directory().user(&users[1]).enabled = false;
    let long_ago = UnixTime::new(1_000_000);
    let known = [AccountState::Enabled { valid_from: long_ago }, AccountState::Disabled];
    let known =
        users.iter().zip(known).map(|(user, state)| Account { id: id(user), state, seen_at: long_ago });
    scene.store().write_accounts(scene.id(), long_ago, known.collect()).expect("ours");
    assert!(scene.run(&[], &["11111111-2222-3333-4444-555555555555"]).error().is_none());
    assert_eq!(scene.store().account(scene.id(), id(&users[0])), AccountState::Unknown);
    assert_eq!(scene.store().account(scene.id(), id(&users[1])), AccountState::Disabled);
}

#[test]
fn full_disk_leaves_what_was_known() {
    let scene = Scene::start("full");
    let (small, large) = {
        let mut directory = scene.tenant.directory();
        (directory.add_crowd("small", 10), directory.add_crowd("large", 60_000))
    };
    let data = scene.data();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(&data).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a small file system cannot be mounted here");
        return;
    }
    // The file system is taken away again whatever comes out.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        assert!(scene.run(&[&small], &[]).error().is_none());
        let report = scene.run(&[&large, &small], &[]);
        assert_eq!(report.error().map(|error| error.code()).as_deref(), Some("file_not_written"));
        assert!(report.groups[1].1.is_ok(), "the small one has room");
        assert_eq!(scene.members(&small), Some(crowd("small", 0..10)));
        assert_eq!(scene.members(&large), None);
        let left: Vec<_> = fs::read_dir(data.join("pgaad/groups"))
            .expect("it was made")
            .map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".new"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }));
    assert!(Command::new("umount").arg(&data).status().expect("umount").success());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn files_have_the_modes_of_the_data_directory_and_others_groups_are_forgotten_in_time() {
    let scene = Scene::start("modes");
    let group = scene.tenant.directory().add_crowd("crowd", 3);
    let set = scene.data().join(format!("pgaad/groups/{group}.set"));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    for (data, directory, file) in [(0o700, 0o700, 0o600), (0o750, 0o750, 0o640)] {
        fs::set_permissions(scene.data(), Permissions::from_mode(data)).expect("ours");
        assert!(scene.run(&[&group], &[]).error().is_none());
        assert_eq!(mode(&scene.data().join("pgaad")), directory);
        assert_eq!(mode(set.parent().expect("one")), directory);
        assert_eq!(mode(&set), file);
    }
    let now = UnixTime::new(
        i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap(),
    );
    let day = Duration::from_secs(86_400);
    scene.store().forget_others(&[], now, day);
    scene.store().forget_others(&[id(&group)], now.plus(2 * day), day);
    assert!(scene.members(&group).is_some());
    scene.store().forget_others(&[], now.plus(2 * day), day);
    assert_eq!(scene.members(&group), None);
    assert_eq!(scene.store().membership(scene.id(), id(&group), id(&group)), MembershipWord::NeverRead);
}

/// The writer is killed wherever it is; whoever reads meanwhile, or afterwards, finds a whole set, the one of before or
/// the one after it.
#[test]
fn writer_that_is_killed_anywhere_leaves_one_whole_set() {
    let scene = Scene::start("killed");
    let group = scene.tenant.directory().add_group("some", &[]);
    let kills = std::env::var("PGAAD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(60_u64);
    let mut dice = Dice(11);
    let mut seen = BTreeSet::new();
    scene.store().write_members(scene.id(), id(&group), UnixTime::new(1), members_of_run(1)).expect("ours");
    for _ in 0..kills {
        let mut writer = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "write_sets_until_killed", "--ignored", "--nocapture"])
            .env("PGAAD_DATA", scene.data())
            .env("PGAAD_GROUP", &group)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test again");
        let until = Duration::from_micros(20_000 + dice.roll(60_000));
        let began = std::time::Instant::now();
        while began.elapsed() < until {
            seen.insert(expect_whole(&scene, &group));
        }
        writer.kill().expect("it is ours");
        writer.wait().expect("it is ours");
        seen.insert(expect_whole(&scene, &group));
    }
    assert!(seen.len() > 10, "the writers have written: {}", seen.len());
}

/// Of each run a number of members of its own.
fn members_of_run(run: i64) -> Vec<ObjectId> {
    let number = u32::try_from(run % 1_000).expect("small");
    crowd("run", 0..1_000 + number).into_iter().collect()
}

/// The set is whole; when its run began.
fn expect_whole(scene: &Scene, group: &str) -> i64 {
    let outline = scene.store().outline(scene.id(), id(group)).expect("there is always one");
    let run = outline.began_at.seconds();
    let word = scene.store().membership(scene.id(), id(group), id(&tenant::crowd_member("run", 7)));
    assert!(matches!(word, MembershipWord::Member { .. }), "{word:?}");
    let stranger = scene.store().membership(scene.id(), id(group), id(&tenant::crowd_member("nobody", 7)));
    assert!(matches!(stranger, MembershipWord::NotMember { .. }), "{stranger:?}");
    assert_eq!(outline.count, u64::try_from(1_000 + run % 1_000).expect("positive"));
    run
}

/// The writer of the test above, in a process of its own.
#[test]
#[ignore = "writes until it is killed; the test above runs it"]
fn write_sets_until_killed() {
    let (Ok(data), Ok(group)) = (std::env::var("PGAAD_DATA"), std::env::var("PGAAD_GROUP")) else { return };
    let store = SetStore::new(Path::new(&data));
    let tenant: TenantId = tenant::TENANT_ID.parse().expect("a GUID");
    let known = store.outline(tenant, id(&group)).map_or(1, |outline| outline.began_at.seconds());
    for run in known + 1.. {
        store.write_members(tenant, id(&group), UnixTime::new(run), members_of_run(run)).expect("ours");
        thread::yield_now();
    }
}
