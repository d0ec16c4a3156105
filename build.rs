//! Reads the layout of PostgreSQL's connection structures from the server's own headers.
//!
//! pgrx keeps `Port` opaque, since its layout depends on how the server was configured; the headers
//! of the very server that will load the library know it.

use std::path::PathBuf;
use std::{env, error, process};

use pgrx_pg_config::{PgConfig, Pgrx};

const HEADER: &str = r#"
#include "postgres.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_conversion.h"
#include "catalog/pg_shseclabel.h"
#include "libpq/auth.h"
#include "libpq/hba.h"
#include "libpq/ifaddr.h"
#include "libpq/libpq.h"
#include "libpq/libpq-be.h"
#include "regex/regex.h"
#include "storage/ipc.h"
"#;

/// From 18 on: what an OAuth validator is.
const OAUTH_HEADER: &str = r#"
#include "libpq/oauth.h"
"#;

/// The supported majors.
const FIRST_MAJOR: u32 = 15;
const LAST_MAJOR: u32 = 18;

/// The majors that changed something which the code has to tell apart, as `cfg(since_16)` and so on. A later major
/// than these is a new number for `LAST_MAJOR`, and nothing else where it changed nothing.
const CHANGES: [u32; 3] = [16, 17, 18];

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PGRX_PG_CONFIG_PATH");

    let major = (FIRST_MAJOR..=LAST_MAJOR)
        .find(|major| env::var_os(format!("CARGO_FEATURE_PG{major}")).is_some())
        .ok_or("name the PostgreSQL major by one of the features pg15, pg16, pg17, pg18")?;
    for change in CHANGES {
        println!("cargo:rustc-check-cfg=cfg(since_{change})");
        if major >= change {
            println!("cargo:rustc-cfg=since_{change}");
        }
    }
    let pg_config = match env::var_os("PGRX_PG_CONFIG_PATH") {
        Some(path) => PgConfig::new_with_defaults(PathBuf::from(path)),
        None => Pgrx::from_config()?.get(&format!("pg{major}"))?,
    };
    let include = pg_config.includedir_server()?;

    let header = if major >= 18 { format!("{HEADER}{OAUTH_HEADER}") } else { HEADER.to_owned() };
    let bindings = bindgen::Builder::default()
        .header_contents("pgaad.h", &header)
        .clang_arg(format!("-I{}", include.display()))
        .clang_arg("-D_GNU_SOURCE")
        .clang_args(openssl_include_args())
        .allowlist_type("OAuthValidatorCallbacks|ValidatorModuleState|ValidatorModuleResult")
        .allowlist_type("Port|HbaLine|AuthToken|TokenizedAuthLine|FormData_pg_auth_members")
        .allowlist_function("sendAuthRequest|pq_startmsgread|pq_getbyte|pq_getmessage|hba_authname")
        // Raw, without pgrx's guard, which rebuilds errors.
        .allowlist_function("errstart|errcode|errmsg|errdetail|errdetail_log|errhint|errfinish|proc_exit")
        .allowlist_function("FindDefaultConversion|hba_getauthmethod|pg_regexec")
        .allowlist_function("tokenize_auth_file|parse_hba_line|open_auth_file|free_auth_file")
        .allowlist_function("pg_foreach_ifaddr")
        .allowlist_var("ClientAuthentication_hook|MyClientConnectionInfo|PG_OAUTH_VALIDATOR_MAGIC")
        .allowlist_var("SharedSecLabel.*Id|Anum_pg_shseclabel_.*|Natts_pg_shseclabel")
        // Opaque where only a pointer is wanted, pgrx's own where there is one.
        .blocklist_type("List|StringInfo|StringInfoData|sockaddr_storage")
        .raw_line("use pgrx::pg_sys::{List, StringInfo, sockaddr_storage};")
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .override_abi(bindgen::Abi::CUnwind, ".*")
        .derive_debug(false)
        .layout_tests(true)
        .generate()?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("libpq.rs");
    bindings.write_to_file(&out)?;
    Ok(())
}

/// Where OpenSSL's headers are, on systems that keep them apart.
fn openssl_include_args() -> Vec<String> {
    process::Command::new("pkg-config")
        .args(["--cflags-only-I", "openssl"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default()
}
