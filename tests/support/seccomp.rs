//! What systemd's `RestrictAddressFamilies=` does to a service, without systemd.

use std::io;
use std::process::{Child, Command};
use std::thread;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The `RestrictAddressFamilies=` of docs/install.md.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Starts a program that, like all that it starts, is told `EAFNOSUPPORT` where it asks for a socket of another family.
///
/// # Errors
/// The program does not start, or this kernel knows no such filter.
pub(crate) fn spawn_without_netlink(command: &mut Command) -> io::Result<Child> {
    let filter = filter().map_err(io::Error::other)?;
    // A filter is the thread's own, for good, and its children inherit it.
    let child = thread::scope(|threads| {
        threads
            .spawn(|| {
                seccompiler::apply_filter(&filter).map_err(io::Error::other).and_then(|()| command.spawn())
            })
            .join()
    });
    child.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it died")))
}

/// `socket(family, …)`: systemd compares the family as well, and answers the same (systemd.exec(5)).
fn filter() -> seccompiler::Result<BpfProgram> {
    let other_than = |family: i32| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family.unsigned_abs().into())
    };
    let rule = SeccompRule::new(FAMILIES.into_iter().map(other_than).collect::<Result<_, _>>()?)?;
    let filter = SeccompFilter::new(
        [(libc::SYS_socket, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EAFNOSUPPORT.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn netlink_is_refused_as_systemd_refuses_it() {
        let command = || {
            let mut command = Command::new("ip");
            command.arg("link").stdout(Stdio::null()).stderr(Stdio::piped());
            command
        };
        assert!(command().status().expect("ip runs").success());
        let child = spawn_without_netlink(&mut command()).expect("ip starts");
        let output = child.wait_with_output().expect("ip ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("Address family not supported"), "{said}");
    }
}
