//! A private, relocated PostgreSQL tree, so that no test ever touches the system's.
//!
//! PostgreSQL finds its libraries and shared files relative to its executable. The tree mirrors the system's
//! paths under a directory of ours: programs are copied (a symbolic link would be resolved back to the
//! system), everything else is linked, and pgaad is put in where an installation would put it.

use crate::run_directory;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// The programs that the tests and the benchmark use, and those that pg_upgrade uses.
const PROGRAMS: [&str; 14] = [
    "postgres",
    "initdb",
    "psql",
    "pgbench",
    "pg_upgrade",
    "pg_ctl",
    "pg_basebackup",
    "pg_controldata",
    "pg_config",
    "pg_dump",
    "pg_dumpall",
    "pg_resetwal",
    "pg_restore",
    "vacuumdb",
];

/// A PostgreSQL tree of our own, shared by all holders of a clone.
#[derive(Clone, Debug)]
pub struct Installation {
    tree: Arc<Tree>,
}

#[derive(Debug)]
struct Tree {
    root: PathBuf,
    system: System,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Where the system's PostgreSQL lies, as its `pg_config` says.
#[derive(Clone, Debug)]
struct System {
    bin: PathBuf,
    lib: PathBuf,
    share: PathBuf,
    major: u32,
}

impl System {
    fn pg_config() -> PathBuf {
        std::env::var_os("PG_CONFIG")
            .map_or_else(|| "/usr/lib/postgresql/15/bin/pg_config".into(), PathBuf::from)
    }

    fn answer(pg_config: &Path, option: &str) -> String {
        let output = Command::new(pg_config)
            .arg(option)
            .output()
            .unwrap_or_else(|error| panic!("{} (set PG_CONFIG): {error}", pg_config.display()));
        String::from_utf8(output.stdout).expect("pg_config speaks UTF-8").trim().to_owned()
    }

    fn under_test() -> System {
        System::of(&System::pg_config())
    }

    fn of(pg_config: &Path) -> System {
        let answer = |option| System::answer(pg_config, option);
        let version = answer("--version");
        let major = version
            .split_whitespace()
            .nth(1)
            .map(|number| number.chars().take_while(char::is_ascii_digit).collect::<String>())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("pg_config --version says {version:?}"));
        System {
            bin: answer("--bindir").into(),
            lib: answer("--pkglibdir").into(),
            share: answer("--sharedir").into(),
            major,
        }
    }
}

impl Installation {
    /// PostgreSQL with pgaad as a release has it; one tree per test process.
    pub fn pgaad() -> Installation {
        static SHARED: OnceLock<Installation> = OnceLock::new();
        SHARED.get_or_init(Installation::private).clone()
    }

    /// PostgreSQL with a pgaad whose decision can be made to fail from the inside.
    pub fn faulty() -> Installation {
        static SHARED: OnceLock<Installation> = OnceLock::new();
        SHARED
            .get_or_init(|| Installation::with(Some(("PGAAD_FAULTY_PACKAGE", "target/faulty/release"))))
            .clone()
    }

    /// PostgreSQL as the system has it.
    pub fn without_pgaad() -> Installation {
        static SHARED: OnceLock<Installation> = OnceLock::new();
        SHARED.get_or_init(|| Installation::with(None)).clone()
    }

    /// As [`Installation::pgaad`], in a tree of its own, for a test that takes something away from it.
    pub fn private() -> Installation {
        Installation::with(Some(("PGAAD_PACKAGE", "target/release")))
    }

    /// Another major that pgaad has been built for here, with pgaad: its package lies beside the one under test.
    pub fn neighbour() -> Option<Installation> {
        let system = System::under_test();
        let ours = package_directory(&system, "PGAAD_PACKAGE", "target/release");
        let beside = entries(ours.parent()?).into_iter().filter(|package| *package != ours);
        beside.filter(|package| package.is_dir()).find_map(|package| {
            let library = library_in(&package)?;
            // An absolute path of the system again, where `lib` and `bin` are neighbours.
            let lib = Path::new("/").join(library.strip_prefix(&package).ok()?.parent()?);
            let pg_config = lib.with_file_name("bin").join("pg_config");
            pg_config.is_file().then(|| Installation::of(System::of(&pg_config), Some(&package)))
        })
    }

    fn with(package: Option<(&str, &str)>) -> Installation {
        let system = System::under_test();
        let package = package.map(|(variable, target)| package_directory(&system, variable, target));
        Installation::of(system, package.as_deref())
    }

    fn of(system: System, package: Option<&Path>) -> Installation {
        let root = run_directory::fresh("tree");
        let installation = Installation { tree: Arc::new(Tree { root, system }) };
        installation.build(package);
        installation
    }

    fn build(&self, package: Option<&Path>) {
        let system = &self.tree.system;
        make_directory(&self.bin());
        for program in PROGRAMS {
            let (from, to) = (system.bin.join(program), self.bin().join(program));
            fs::copy(&from, &to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
        }
        link_contents(&system.lib, &self.lib(), &["pgaad.so"]);
        link_contents(&system.share, &self.share(), &["extension"]);
        link_contents(&system.share.join("extension"), &self.share().join("extension"), &[]);
        if let Some(package) = package {
            copy(&inside(package, &system.lib).join("pgaad.so"), &self.library());
            for entry in entries(&inside(package, &system.share).join("extension")) {
                copy(
                    &entry,
                    &self.share().join("extension").join(entry.file_name().expect("an entry has a name")),
                );
            }
        }
    }

    /// The tree's root, below which everything has the path that it has on the system.
    pub fn root(&self) -> &Path {
        &self.tree.root
    }

    /// The `pg_config` of the system's PostgreSQL under test.
    pub fn pg_config() -> PathBuf {
        System::pg_config()
    }

    /// The package that is under test, which has the same paths below it.
    pub fn package() -> PathBuf {
        package_directory(&System::under_test(), "PGAAD_PACKAGE", "target/release")
    }

    /// The directory of the programs.
    pub fn bin(&self) -> PathBuf {
        inside(&self.tree.root, &self.tree.system.bin)
    }

    /// The directory of the loadable libraries.
    pub fn lib(&self) -> PathBuf {
        inside(&self.tree.root, &self.tree.system.lib)
    }

    /// The directory of the shared files.
    pub fn share(&self) -> PathBuf {
        inside(&self.tree.root, &self.tree.system.share)
    }

    /// The library that is both the extension and the PAM module.
    pub fn library(&self) -> PathBuf {
        self.lib().join("pgaad.so")
    }

    /// A program of this tree.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin().join(name)
    }

    /// Whether the PostgreSQL under test was built with this: `openssl`, `pam`.
    pub fn is_built_with(feature: &str) -> bool {
        static CONFIGURED: OnceLock<String> = OnceLock::new();
        let configured = CONFIGURED.get_or_init(|| System::answer(&System::pg_config(), "--configure"));
        configured.contains(&format!("--with-{feature}"))
    }

    /// Whether the PostgreSQL under test has this library.
    pub fn has_library(name: &str) -> bool {
        System::under_test().lib.join(name).with_extension("so").exists()
    }

    /// PostgreSQL's major version.
    pub fn major(&self) -> u32 {
        self.tree.system.major
    }
}

/// Where the package of the extension lies: what `cargo pgrx package` leaves, shaped like the root directory.
fn package_directory(system: &System, variable: &str, target: &str) -> PathBuf {
    let package = std::env::var_os(variable).map_or_else(
        || {
            let workspace =
                Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above tests/");
            workspace.join(target).join(format!("pgaad-pg{}", system.major))
        },
        PathBuf::from,
    );
    let library = inside(&package, &system.lib).join("pgaad.so");
    assert!(
        library.is_file(),
        "the extension is not built: no {} (run `make test`, or set {variable})",
        library.display()
    );
    package
}

/// The library in a package, whichever PostgreSQL it is for.
fn library_in(directory: &Path) -> Option<PathBuf> {
    let (below, here): (Vec<_>, Vec<_>) = entries(directory).into_iter().partition(|entry| entry.is_dir());
    here.into_iter()
        .find(|file| file.ends_with("pgaad.so"))
        .or_else(|| below.iter().find_map(|directory| library_in(directory)))
}

/// An absolute path of the system, under another root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory can be read to its end").path())
        .collect()
}

fn make_directory(directory: &Path) {
    fs::create_dir_all(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
}

fn link_contents(from: &Path, to: &Path, except: &[&str]) {
    make_directory(to);
    for entry in entries(from) {
        let name = entry.file_name().expect("an entry has a name").to_owned();
        // A pgaad that the machine happens to have installed is not the one under test.
        if except.iter().any(|other| name == *other) || name.to_string_lossy().starts_with("pgaad") {
            continue;
        }
        symlink(&entry, to.join(&name)).unwrap_or_else(|error| panic!("link {}: {error}", entry.display()));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("our own file");
}
