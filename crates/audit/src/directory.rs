//! What is wrong with the directory, where it is read.

use crate::defect::Defect;
use crate::evidence::{Directory, Evidence, Group};
use crate::keys::more_slots;

/// How long before its end a credential is worth a word, in seconds: thirty days.
const EXPIRES_SOON: i64 = 30 * 86_400;

fn directory(evidence: &Evidence) -> Option<&Directory> {
    evidence.moment.as_ref()?.directory.as_ref()
}

/// Judges the directory; nothing is wrong with one that is off.
fn judge(evidence: &Evidence, judge: impl FnOnce(&Directory) -> Vec<Defect>) -> Option<Vec<Defect>> {
    evidence.moment.as_ref()?;
    Some(directory(evidence).map(judge).unwrap_or_default())
}

/// It is not read.
pub(crate) fn is_read(evidence: &Evidence) -> Option<Vec<Defect>> {
    judge(evidence, |directory| {
        let defect = match directory {
            Directory { problem: Some(problem), .. } => Defect::new(
                problem.clone(),
                "Set it in postgresql.conf, as docs/directory.md says, then: SELECT pg_reload_conf();",
            ),
            Directory { slots_without_worker: Some(slots), .. } => Defect::new(
                "the directory's worker has not run since the server's start, which had no free process for it",
                more_slots(*slots),
            ),
            Directory { last_error: Some((code, words)), .. } => {
                Defect::new(format!("the last run failed: {words}"), cure(code))
            }
            Directory { is_first_run: true, .. } => {
                Defect::new("no run has ended yet", "SELECT pgaad.refresh_directory();")
            }
            _ => return Vec::new(),
        };
        vec![defect]
    })
}

/// What to do about a run that failed.
fn cure(code: &str) -> &'static str {
    match code {
        "permission_missing" => {
            "Give the application its permissions and an administrator's consent, as docs/directory.md says; then: \
             SELECT pgaad.refresh_directory();"
        }
        "token_refused" | "credential_unusable" => {
            "Put a credential of the application into the file of pgaad.directory_credential; then: \
             SELECT pgaad.refresh_directory();"
        }
        "group_gone" => "SELECT group_id, roles FROM pgaad.groups WHERE last_error = 'group_gone';",
        _ => "SELECT pgaad.refresh_directory(); SELECT * FROM pgaad.directory;",
    }
}

/// Members of a group do not get in, or soon will not.
pub(crate) fn groups(evidence: &Evidence) -> Option<Vec<Defect>> {
    judge(evidence, |directory| {
        let defect = |group: &Group| {
            let named = group.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            let detail = match (&group.error, group.age) {
                (Some(error), Some(age)) => format!("was read {age} s ago, and not since: {error}"),
                (Some(error), None) => format!("cannot be read: {error}"),
                (None, Some(age)) if !group.is_ready => format!("was read {age} s ago, which is too long"),
                (None, None) => "has not been read".to_owned(),
                (None, Some(_)) => return None,
            };
            let hint = "SELECT pgaad.refresh_directory(); SELECT * FROM pgaad.groups;";
            Some(Defect::new(format!("group {}{named} {detail}", group.id), hint))
        };
        // What keeps all of them from being read is told once.
        let is_told = directory.problem.is_some() || directory.is_first_run;
        if is_told { Vec::new() } else { directory.groups.iter().filter_map(defect).collect() }
    })
}

/// Others can read the credential, and with it the directory.
pub(crate) fn secret(evidence: &Evidence) -> Option<Vec<Defect>> {
    judge(evidence, |directory| {
        let defect = |(file, why): &(String, String)| {
            let hint = format!("chown postgres '{file}'; chmod 0600 '{file}'  # outside the data directory");
            Defect::new(format!("{file} {why}"), hint)
        };
        directory.open_secret.iter().map(defect).collect()
    })
}

/// The credential ends soon.
pub(crate) fn expiry(evidence: &Evidence) -> Option<Vec<Defect>> {
    judge(evidence, |directory| {
        let soon = directory.credential_expires_in.filter(|left| *left < EXPIRES_SOON);
        let defect = |left: i64| {
            let when = if left < 0 {
                "has expired".to_owned()
            } else {
                format!("expires in {} days", left / 86_400)
            };
            Defect::new(
                format!("the certificate of pgaad.directory_credential {when}"),
                "Add a new certificate to the application, and replace the file: it is read again at each run.",
            )
        };
        soon.map(defect).into_iter().collect()
    })
}

/// Somebody else than its owners may decide who is in a group.
pub(crate) fn open_groups(evidence: &Evidence) -> Option<Vec<Defect>> {
    judge(evidence, |directory| {
        let open = directory.groups.iter().filter(|group| group.is_security == Some(false));
        let defect = |group: &Group| {
            Defect::new(
                format!(
                    "group {} ({}) is no security group: where it is public, everybody may join it",
                    group.id,
                    group.name.as_deref().unwrap_or_default()
                ),
                "Bind the role to a security group.",
            )
        };
        open.map(defect).collect()
    })
}

/// Graph lets pgaad read less than it needs, or do more.
pub(crate) fn permissions(evidence: &Evidence) -> Option<Vec<Defect>> {
    const GROUPS: [&str; 1] = ["GroupMember.Read.All"];
    const ACCOUNTS: [&str; 1] = ["User.Read.All"];
    judge(evidence, |directory| {
        let Some(granted) = &directory.permissions else { return Vec::new() };
        let has = |name: &&&str| granted.iter().any(|granted| granted == **name);
        let accounts = if directory.accounts { &ACCOUNTS[..] } else { &[] };
        let missing: Vec<_> = GROUPS.iter().chain(accounts).filter(|name| !has(name)).copied().collect();
        let surplus: Vec<_> = granted
            .iter()
            .filter(|name| name.contains("ReadWrite") || name.starts_with("Directory."))
            .collect();
        let grants = |names: &[&str]| {
            Defect::new(
                format!("the application has not the permission {}", names.join(", ")),
                "Add it to the application, with an administrator's consent, as docs/directory.md says.",
            )
        };
        let takes = |name: &&String| {
            Defect::new(
                format!("the application has the permission {name}, which pgaad does not need"),
                "Take it away from the application: who has pgaad's credential has it, too.",
            )
        };
        let missing = if missing.is_empty() { None } else { Some(grants(&missing)) };
        missing.into_iter().chain(surplus.iter().map(takes)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Moment;

    /// A directory that is as it should be.
    fn sound() -> Directory {
        Directory {
            credential_expires_in: Some(EXPIRES_SOON),
            permissions: Some(vec!["GroupMember.Read.All".into(), "User.Read.All".into()]),
            accounts: true,
            groups: vec![Group {
                id: "c0ffee00".into(),
                name: Some("dba".into()),
                is_ready: true,
                age: Some(60),
                error: None,
                is_security: Some(true),
            }],
            ..Directory::default()
        }
    }

    /// The details that are found, and the hints, after a change.
    fn found(change: impl FnOnce(&mut Directory)) -> Vec<(String, String)> {
        let mut directory = sound();
        change(&mut directory);
        let moment = Some(Moment { directory: Some(directory), ..Moment::default() });
        let evidence = Evidence { moment, ..Evidence::default() };
        let looks = [is_read, groups, secret, expiry, open_groups, permissions];
        let defects = looks.into_iter().flat_map(|look| look(&evidence).expect("there is a moment"));
        defects.map(|defect| (defect.detail, defect.hint)).collect()
    }

    fn expect(change: impl FnOnce(&mut Directory), detail: &str, hint: &str) {
        let found = found(change);
        let is_it = matches!(&found[..], [(found, cure)] if found == detail && cure.contains(hint));
        assert!(is_it, "{detail}: {found:?}");
    }

    #[test]
    fn nothing_is_wrong_with_a_directory_that_is_read_or_off() {
        assert_eq!(found(|_| {}), []);
        let off = Evidence { moment: Some(Moment::default()), ..Evidence::default() };
        for look in [is_read, groups, secret, expiry, open_groups, permissions] {
            assert_eq!(look(&off), Some(Vec::new()));
            assert_eq!(look(&Evidence::default()), None, "nothing is known");
        }
    }

    #[test]
    fn what_keeps_it_from_being_read_is_told_once() {
        expect(
            |directory| directory.problem = Some("x is not set".into()),
            "x is not set",
            "postgresql.conf",
        );
        let words =
            "the directory's worker has not run since the server's start, which had no free process for it";
        expect(|directory| directory.slots_without_worker = Some(8), words, "max_worker_processes = 16");
        expect(
            |directory| (directory.is_first_run, directory.groups[0].age) = (true, None),
            "no run has ended yet",
            "refresh_directory()",
        );
        expect(
            |directory| (directory.problem, directory.groups[0].age) = (Some("off".into()), None),
            "off",
            "pg_reload_conf()",
        );
        for (code, hint) in [
            ("permission_missing", "consent"),
            ("token_refused", "pgaad.directory_credential"),
            ("credential_unusable", "pgaad.directory_credential"),
            ("group_gone", "pgaad.groups"),
            ("timed_out", "SELECT * FROM pgaad.directory"),
        ] {
            let error = Some((code.to_owned(), format!("{code} (words)")));
            let detail = format!("the last run failed: {code} (words)");
            expect(|directory| directory.last_error = error, &detail, hint);
        }
    }

    #[test]
    fn groups_that_are_not_read_or_too_old_are_named() {
        let group = |change: fn(&mut Group), detail: &str| {
            let detail = format!("group c0ffee00 (dba) {detail}");
            expect(|directory| change(&mut directory.groups[0]), &detail, "SELECT * FROM pgaad.groups;");
        };
        group(
            |group| group.error = Some("group_gone".into()),
            "was read 60 s ago, and not since: group_gone",
        );
        group(
            |group| (group.error, group.age) = (Some("permission_missing".into()), None),
            "cannot be read: permission_missing",
        );
        group(|group| group.is_ready = false, "was read 60 s ago, which is too long");
        group(|group| group.age = None, "has not been read");
        let unnamed = found(|directory| (directory.groups[0].age, directory.groups[0].name) = (None, None));
        assert_eq!(unnamed[0].0, "group c0ffee00 has not been read");
        expect(
            |directory| directory.groups[0].is_security = Some(false),
            "group c0ffee00 (dba) is no security group: where it is public, everybody may join it",
            "security group",
        );
        assert_eq!(found(|directory| directory.groups[0].is_security = None), []);
    }

    #[test]
    fn credential_that_others_read_or_that_ends_soon_is_named() {
        expect(
            |directory| directory.open_secret = Some(("/etc/s".into(), "has mode 0644".into())),
            "/etc/s has mode 0644",
            "chmod 0600 '/etc/s'",
        );
        let expires = |left: i64, words: &str| {
            let detail = format!("the certificate of pgaad.directory_credential {words}");
            expect(|directory| directory.credential_expires_in = Some(left), &detail, "new certificate");
        };
        expires(EXPIRES_SOON - 1, "expires in 29 days");
        expires(0, "expires in 0 days");
        expires(-1, "has expired");
        assert_eq!(found(|directory| directory.credential_expires_in = None), []);
    }

    #[test]
    fn permissions_that_are_missing_or_too_many_are_named() {
        let granted = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            move |directory: &mut Directory| directory.permissions = Some(names)
        };
        expect(
            granted(&["User.Read.All"]),
            "the application has not the permission GroupMember.Read.All",
            "consent",
        );
        let missing = "the application has not the permission GroupMember.Read.All, User.Read.All";
        expect(granted(&[]), missing, "consent");
        for name in ["Directory.Read.All", "Group.ReadWrite.All"] {
            let surplus = format!("the application has the permission {name}, which pgaad does not need");
            expect(granted(&["GroupMember.Read.All", "User.Read.All", name]), &surplus, "Take it away");
        }
        let without_accounts = |directory: &mut Directory| {
            (directory.accounts, directory.permissions) = (false, Some(vec!["GroupMember.Read.All".into()]));
        };
        assert_eq!(found(without_accounts), []);
        assert_eq!(found(|directory| directory.permissions = None), []);
    }
}
