//! A throw-away cluster: its own data directory, sockets, port, certificate and log.

use crate::account::{self, give_to_servers, is_root, server_command};
use crate::installation::Installation;
use crate::log::{Log, LogMark};
use crate::patience::{PATIENCE, wait_until};
use crate::process;
use crate::run_directory;
use crate::seccomp;
use crate::tls;
use crate::wire::{self, Address, Target};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The address that a cluster of [`Cluster::with_another_address`] has besides loopback.
pub const ANOTHER_ADDRESS: &str = "10.99.0.1";

/// A cluster; stopped and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    directory: PathBuf,
    port: u16,
    conf: Vec<String>,
    hba: Vec<String>,
    another_address: bool,
    pam_directory: Option<PathBuf>,
    without_netlink: bool,
    /// A program that runs the server, and its arguments.
    runner: Vec<String>,
    preload: Option<PathBuf>,
    log: Log,
    /// Where the log of the server's last start begins.
    started_at: Mutex<LogMark>,
    postmaster: Mutex<Option<Child>>,
}

impl Cluster {
    /// A cluster to be configured, and started by [`Cluster::start`].
    pub fn new(installation: &Installation) -> Cluster {
        let directory = run_directory::fresh("cluster");
        let log = Log::new(directory.join("log"));
        Cluster {
            installation: installation.clone(),
            directory,
            port: free_port(),
            conf: Vec::new(),
            hba: Vec::new(),
            another_address: false,
            pam_directory: None,
            without_netlink: false,
            runner: Vec::new(),
            preload: None,
            log,
            started_at: Mutex::new(LogMark::START),
            postmaster: Mutex::new(None),
        }
    }

    /// A setting of `postgresql.conf`; the value is quoted here.
    #[must_use]
    pub fn conf(mut self, name: &str, value: impl AsRef<str>) -> Cluster {
        self.conf.push(conf_line(name, value.as_ref()));
        self
    }

    /// A line of `pg_hba.conf`. Before all of them stands the superuser's way in, by the Unix socket, which
    /// standbys use too.
    #[must_use]
    pub fn hba(mut self, line: impl Into<String>) -> Cluster {
        self.hba.push(line.into());
        self
    }

    /// Runs the server in a network namespace of its own, where it also has [`ANOTHER_ADDRESS`].
    ///
    /// Clients there are `psql` by [`Cluster::psql_nearby`]; nothing outside is reachable. Needs root.
    #[must_use]
    pub fn with_another_address(mut self) -> Cluster {
        self.another_address = true;
        self
    }

    /// Runs the server in a mount namespace of its own, where this directory is `/etc/pam.d`. Needs root.
    #[must_use]
    pub fn with_pam_directory(mut self, directory: PathBuf) -> Cluster {
        self.pam_directory = Some(directory);
        self
    }

    /// Lets the server and all that it starts open no netlink sockets, as docs/install.md has systemd do it.
    #[must_use]
    pub fn without_netlink(mut self) -> Cluster {
        self.without_netlink = true;
        self
    }

    /// Has a program run the server, as `valgrind` does.
    #[must_use]
    pub fn run_by(mut self, runner: &[&str]) -> Cluster {
        self.runner = runner.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Puts a library of [`crate::preload`] before the C library of the server and all that it starts.
    #[must_use]
    pub fn with_preload(mut self, library: PathBuf) -> Cluster {
        self.preload = Some(library);
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Panics
    /// When the server does not come up; its log is in the message.
    #[must_use]
    pub fn start(self) -> Cluster {
        self.create();
        self.start_again().unwrap_or_else(|log| panic!("the server did not start:\n{log}"));
        self
    }

    /// A streaming standby of this cluster as `pg_basebackup -R` makes it, started: the same files, but for
    /// its own port and sockets.
    ///
    /// # Panics
    /// When it cannot be made or does not come up.
    #[must_use]
    pub fn standby(&self) -> Cluster {
        let standby = Cluster::new(&self.installation);
        standby.make_directories();
        let made = server_command(self.installation.program("pg_basebackup"))
            .args([
                "-R",
                "--checkpoint=fast",
                "--no-sync",
                "-U",
                "postgres",
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(self.socket_dir())
            .arg("-D")
            .arg(standby.data_dir())
            .output()
            .unwrap_or_else(|error| panic!("pg_basebackup: {error}"));
        assert!(made.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&made.stderr));
        standby.append_conf(&standby.place().join("\n"));
        standby.start_again().unwrap_or_else(|log| panic!("the standby did not start:\n{log}"));
        standby
    }

    /// Waits until a standby has replayed all that is committed here.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_replayed_by(&self, standby: &Cluster) {
        let written = self.value("SELECT pg_current_wal_lsn()");
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        wait_until("the standby has replayed it", || standby.value(&replayed) == "t");
    }

    fn make_directories(&self) {
        fs::create_dir_all(self.socket_dir()).expect("our own directory");
        for directory in [&self.directory, &self.socket_dir()] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("our own directory");
            give_to_servers(directory);
        }
    }

    /// The settings that no two clusters share.
    fn place(&self) -> [String; 2] {
        [
            conf_line("port", &self.port.to_string()),
            conf_line("unix_socket_directories", &self.socket_dir().display().to_string()),
        ]
    }

    fn create(&self) {
        let data = self.data_dir();
        self.make_directories();
        let copied = server_command("cp").arg("-a").arg(template(&self.installation)).arg(&data).status();
        assert!(copied.is_ok_and(|status| status.success()), "cp -a of the data directory");
        let (certificate, key) = tls::certificate();
        self.write_as_server("server.crt", certificate);
        self.write_as_server("server.key", key);
        let addresses =
            if self.another_address { format!("127.0.0.1,{ANOTHER_ADDRESS}") } else { "127.0.0.1".into() };
        let mut conf = vec![
            conf_line("listen_addresses", &addresses),
            conf_line("ssl", if Installation::is_built_with("openssl") { "on" } else { "off" }),
            conf_line("fsync", "off"),
            conf_line("max_connections", "60"),
            conf_line("shared_buffers", "16MB"),
            conf_line("log_line_prefix", "[%p] "),
            conf_line("logging_collector", "off"),
        ];
        conf.extend(self.place());
        conf.extend(self.conf.iter().cloned());
        self.append_conf(&conf.join("\n"));
        self.write_hba(&self.hba);
    }

    /// Replaces the lines of `pg_hba.conf` after the superuser's own; [`Cluster::reload`] makes them count.
    pub fn write_hba(&self, lines: &[String]) {
        let text = format!("local all,replication postgres trust\n{}\n", lines.join("\n"));
        self.write_as_server("pg_hba.conf", &text);
    }

    /// Appends to `postgresql.conf`; [`Cluster::reload`] or [`Cluster::restart`] makes it count.
    pub fn append_conf(&self, text: &str) {
        let path = self.data_dir().join("postgresql.conf");
        let old = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.write_as_server("postgresql.conf", &format!("{old}\n{text}\n"));
    }

    /// Sets a setting in `postgresql.conf` and has the server read it.
    pub fn set(&self, name: &str, value: &str) {
        self.append_conf(&conf_line(name, value));
        self.reload();
    }

    /// Writes a file of the data directory, readable by the server only.
    pub fn write_as_server(&self, name: &str, text: &str) {
        let path = self.data_dir().join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        give_to_servers(&path);
    }

    /// Starts the server after [`Cluster::stop`].
    ///
    /// # Errors
    /// What it logged, when it ends instead of accepting connections.
    pub fn start_again(&self) -> Result<(), String> {
        let mark = self.log.mark();
        *self.started_at() = mark;
        let log =
            fs::OpenOptions::new().create(true).append(true).open(self.log.path()).expect("our own log");
        let mut command = self.postmaster_command();
        command.arg("-D").arg(self.data_dir()).stdin(Stdio::null());
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        command.stdout(log.try_clone().expect("a file")).stderr(log).process_group(0);
        let child =
            if self.without_netlink { seccomp::spawn_without_netlink(&mut command) } else { command.spawn() };
        let child = child.unwrap_or_else(|error| panic!("postgres: {error}"));
        run_directory::remember_process(child.id());
        *self.postmaster() = Some(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Read before connecting: the server that answers must be the one that was started here.
            let ended = self
                .postmaster()
                .as_mut()
                .is_none_or(|child| child.try_wait().is_ok_and(|end| end.is_some()));
            if ended {
                self.forget();
                return Err(self.log.since(mark));
            }
            if self.try_sql("SELECT 1").is_ok() {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "the server does not answer:\n{}", self.log.since(mark));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn postmaster_command(&self) -> Command {
        let postgres = self.installation.program("postgres");
        let (mut namespaces, mut script) = (Vec::new(), String::new());
        if self.another_address {
            namespaces.push("--net");
            script += &format!("ip link set lo up && ip address add {ANOTHER_ADDRESS}/32 dev lo && ");
        }
        if let Some(directory) = &self.pam_directory {
            namespaces.push("--mount");
            // In a chroot unshare cannot make mounts private; where none is shared it need not.
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            if !mounts.is_empty() && !mounts.contains(" shared:") {
                namespaces.push("--propagation=unchanged");
            }
            script += &format!("mount --bind {} /etc/pam.d && ", directory.display());
        }
        if let [runner, arguments @ ..] = &self.runner[..] {
            let mut command = server_command(runner);
            command.args(arguments).arg(postgres);
            return command;
        }
        if namespaces.is_empty() {
            return server_command(postgres);
        }
        assert!(is_root(), "a namespace needs root");
        let account = account::Account::of_servers().expect("root runs servers under another account");
        // `exec` all the way: the child that we keep is the postmaster itself.
        script +=
            &format!("exec setpriv --reuid {} --regid {} --clear-groups -- \"$@\"", account.uid, account.gid);
        let mut command = Command::new("unshare");
        account::clean_environment(&mut command);
        command.args(namespaces).args(["--", "/bin/sh", "-c", &script, "sh"]).arg(postgres).current_dir("/");
        command
    }

    /// Stops the server, fast.
    pub fn stop(&self) {
        self.stop_by("INT");
    }

    /// Stops the server as a crash would: immediately, without a checkpoint.
    pub fn crash(&self) {
        self.stop_by("QUIT");
    }

    fn stop_by(&self, signal: &str) {
        let Some(pid) = self.postmaster().as_ref().map(Child::id) else { return };
        process::signal(pid, signal);
        let deadline = Instant::now() + PATIENCE;
        while self.postmaster().as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_none()))
        {
            if Instant::now() >= deadline {
                process::signal(pid, "KILL");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.forget();
    }

    fn forget(&self) {
        if let Some(child) = self.postmaster().take() {
            run_directory::forget_process(child.id());
        }
    }

    /// Kills a server process as a fault would, and waits until the postmaster has started all others anew.
    pub fn kill_a_backend(&self) {
        let pid = self.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
        self.kill(pid.parse().expect("a process id"));
    }

    /// The same, of this process.
    pub fn kill(&self, pid: u32) {
        let mark = self.log_mark();
        process::signal(pid, "KILL");
        self.wait_for_log(mark, "database system is ready to accept connections");
    }

    /// Stops and starts the server.
    ///
    /// # Panics
    /// When it does not come up again.
    pub fn restart(&self) {
        self.stop();
        self.start_again().unwrap_or_else(|log| panic!("the server did not start again:\n{log}"));
    }

    /// Has the postmaster read its files again; connections made after this see what they say.
    pub fn reload(&self) {
        let mark = self.log.mark();
        process::signal(self.postmaster_pid(), "HUP");
        self.wait_for_log(mark, "received SIGHUP");
        // The line is written before the files are read, and in between nobody is let in;
        // errors in the files follow it, so that a caller who looks for them must wait for their line.
    }

    fn started_at(&self) -> MutexGuard<'_, LogMark> {
        self.started_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process id of the postmaster.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn postmaster_pid(&self) -> u32 {
        self.postmaster().as_ref().expect("the server runs").id()
    }

    /// Whether the postmaster is still alive.
    pub fn is_running(&self) -> bool {
        self.postmaster().as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_none()))
    }

    /// The process ids of the postmaster's children whose title holds `what`.
    pub fn processes(&self, what: &str) -> Vec<u32> {
        let children = process::children(self.postmaster_pid());
        children.into_iter().filter(|pid| process::title(*pid).contains(what)).collect()
    }

    /// The process ids of the sessions in progress, as the server lists them, without the one that asks.
    pub fn backend_pids(&self) -> Vec<u32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.sql(sql).into_iter().filter_map(|row| row.first()?.as_ref()?.parse().ok()).collect()
    }

    /// The target by the Unix socket.
    pub fn unix(&self, database: &str) -> Target {
        let socket = self.socket_dir().join(format!(".s.PGSQL.{}", self.port));
        Target { address: Address::Unix(socket), database: database.to_owned() }
    }

    /// The target by TCP on loopback, without encryption.
    pub fn plain(&self, database: &str) -> Target {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Target { address: Address::Plain(address), database: database.to_owned() }
    }

    /// The target by TLS on loopback.
    pub fn tls(&self, database: &str) -> Target {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Target { address: Address::Tls(address), database: database.to_owned() }
    }

    /// The target by TCP on loopback: by TLS, where the server is built with it.
    pub fn tcp(&self, database: &str) -> Target {
        if Installation::is_built_with("openssl") { self.tls(database) } else { self.plain(database) }
    }

    /// Waits until the worker has fetched keys since the server started.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_until_ready(&self) {
        let started_at = *self.started_at();
        self.wait_for_log(started_at, "pgaad: keys refreshed");
    }

    /// The log of the server.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The end of the log as it is now.
    pub fn log_mark(&self) -> LogMark {
        self.log.mark()
    }

    /// Everything logged since `mark`.
    pub fn log_since(&self, mark: LogMark) -> String {
        self.log.since(mark)
    }

    /// Waits for a line with `needle`, and returns it.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_for_log(&self, mark: LogMark, needle: &str) -> String {
        let line = self.log.wait_for_line(mark, &[needle], PATIENCE);
        line.unwrap_or_else(|log| panic!("not in the log: {needle}\n{log}"))
    }

    /// The port of all its addresses.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The PostgreSQL tree that it runs from.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Logs in, with `password` if asked.
    pub fn login(&self, target: &Target, user: &str, password: &[u8]) -> wire::Login {
        wire::login(target, user, password)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.crash();
        let log = self.log.since(LogMark::START);
        let _ = fs::remove_dir_all(&self.directory);
        // Only a server of `make sanitize` writes either.
        let mut reports = [": AddressSanitizer: ", ": runtime error: "].iter().filter_map(|of| log.find(of));
        if let Some(at) = reports.next()
            && !std::thread::panicking()
        {
            let start = log.get(..at).and_then(|before| before.rfind('\n')).unwrap_or(0);
            panic!("the server's memory or arithmetic went wrong:{}", log.get(start..).unwrap_or_default());
        }
    }
}

fn conf_line(name: &str, value: &str) -> String {
    format!("{name} = '{}'", value.replace('\'', "''"))
}

/// A port that nobody has, below those that the kernel gives to outgoing connections (ip(7), `ip_local_port_range`:
/// from 32768 on): one of these could be a client's before the server takes it.
fn free_port() -> u16 {
    // Those above are the tenants'.
    const PORTS: std::ops::Range<u32> = 20_000..26_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut candidates = PORTS.map(|_| {
        // Each process begins somewhere else, and none gives a port twice.
        let turn = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        PORTS.start + turn % (PORTS.end - PORTS.start)
    });
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let free = candidates.find_map(|port| u16::try_from(port).ok().filter(is_free));
    free.expect("loopback has a free port")
}

/// A data directory just as initdb of that major leaves it, made once and copied ever after.
fn template(installation: &Installation) -> PathBuf {
    static TEMPLATES: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    let template = templates.entry(installation.major()).or_insert_with(|| {
        let home = run_directory::fresh("template");
        fs::create_dir(&home).expect("our own directory");
        give_to_servers(&home);
        let data = home.join("data");
        let made = server_command(installation.program("initdb"))
            .args(["--no-sync", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap_or_else(|error| panic!("initdb: {error}"));
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        data
    });
    template.clone()
}
