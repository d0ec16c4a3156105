//! What `/proc` tells about processes and their sockets.

use std::fs;
use std::process::Command;

/// Sends a signal, named without `SIG`, to a process of ours.
pub fn signal(pid: u32, name: &str) {
    // The shell's own: a small system has no program of that name.
    let kill = r#"kill -s "$0" "$1""#;
    let sent = Command::new("/bin/sh").args(["-c", kill, name, &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {pid}");
}

/// The direct children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// The title of a process; PostgreSQL's say what they are.
pub fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ")
}

/// The most memory that a process has had at a time, in kilobytes (proc(5), `VmHWM`).
pub fn peak_memory_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process has memory");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// An internet socket of some process, as `/proc/PID/net/tcp`, `tcp6`, `udp` and `udp6` list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternetSocket {
    /// The file's identity, found again in `/proc/PID/fd`.
    pub inode: u64,
    /// The port at this end.
    pub local_port: u16,
    /// The port at the other end, 0 when there is none.
    pub remote_port: u16,
}

/// All internet sockets in the network namespace of `pid`.
fn internet_sockets_around(pid: u32) -> Vec<InternetSocket> {
    ["tcp", "tcp6", "udp", "udp6"]
        .iter()
        .filter_map(|protocol| fs::read_to_string(format!("/proc/{pid}/net/{protocol}")).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(parse_socket).collect::<Vec<_>>())
        .collect()
}

/// `sl  local_address rem_address  st tx:rx tr:when retrnsmt uid timeout inode …`
fn parse_socket(line: &str) -> Option<InternetSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |field: &str| u16::from_str_radix(field.rsplit(':').next()?, 16).ok();
    Some(InternetSocket {
        inode: fields.get(9)?.parse().ok()?,
        local_port: port(fields.get(1)?)?,
        remote_port: port(fields.get(2)?)?,
    })
}

/// The internet sockets that a process holds open now.
pub fn internet_sockets(pid: u32) -> Vec<InternetSocket> {
    let held: Vec<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    internet_sockets_around(pid).into_iter().filter(|socket| held.contains(&socket.inode)).collect()
}
