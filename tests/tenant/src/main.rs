//! Runs the stand-in tenant, and mints its tokens on the command line.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, io, thread};

use serde_json::Value;
use tenant::{Options, Signer, State, TENANT_ID, Tenant};

const USAGE: &str = "\
usage: tenant serve  [--dir DIR] [--port N]
       tenant mint   [--dir DIR] [--user NAME | --app CLIENT_ID | --guest MAIL] [--v2] [--group ID]…
                     [--expired] [--audience AUD] [--tenant GUID] [--claim name=json]… [--header name=json]…
                     [--signer current|second|consumer|other-cloud|unpublished|none|broken]
       tenant rotate [--dir DIR]
       tenant retire [--dir DIR] --kid KID

DIR is target/tenant unless given. What is no JSON after name= is taken as a string.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((verb, rest)) => run(verb, rest),
        None => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &str, rest: &[String]) -> Result<(), String> {
    let arguments = Arguments::new(rest)?;
    match verb {
        "serve" => serve(arguments),
        "mint" => mint(arguments),
        "rotate" => rotate(arguments),
        "retire" => retire(arguments),
        "--help" | "-h" | "help" => say(USAGE),
        _ => Err(format!("{verb:?} is no verb\n{USAGE}")),
    }
}

/// The arguments after the verb, `--dir DIR` taken out.
struct Arguments<'a> {
    dir: PathBuf,
    rest: std::vec::IntoIter<&'a str>,
}

impl<'a> Arguments<'a> {
    fn new(arguments: &'a [String]) -> Result<Self, String> {
        let mut dir = PathBuf::from("target/tenant");
        let mut rest = Vec::new();
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--dir" => dir = words.next().ok_or("--dir needs a value")?.into(),
                _ => rest.push(word),
            }
        }
        Ok(Self { dir, rest: rest.into_iter() })
    }

    fn next(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    /// What follows `option`.
    fn value(&mut self, option: &str) -> Result<&'a str, String> {
        self.next().ok_or_else(|| format!("{option} needs a value"))
    }

    /// `name=json` after `option`; what is no JSON is a string.
    fn member(&mut self, option: &str) -> Result<(&'a str, Value), String> {
        let text = self.value(option)?;
        let (name, json) = text.split_once('=').ok_or_else(|| format!("{option} takes name=json"))?;
        Ok((name, serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))))
    }

    fn end(mut self) -> Result<(), String> {
        self.next().map_or(Ok(()), |option| Err(unknown(option)))
    }

    /// The tenant of the directory, which somebody has started before.
    fn state(&self) -> Result<State, String> {
        State::open(&self.dir).map_err(|error| {
            let dir = self.dir.display();
            format!("no tenant is kept in {dir}: {error}; `tenant serve` makes one")
        })
    }
}

fn unknown(option: &str) -> String {
    format!("{option:?} is no option here\n{USAGE}")
}

fn say(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}

fn serve(mut arguments: Arguments<'_>) -> Result<(), String> {
    let mut options = Options::default();
    while let Some(option) = arguments.next() {
        match option {
            "--port" => match arguments.value(option)?.parse() {
                Ok(port @ 1..) => options.port = Some(port),
                _ => return Err("--port takes a number from 1 to 65535".to_owned()),
            },
            _ => return Err(unknown(option)),
        }
    }
    let tenant = Tenant::start_with(&arguments.dir, options);
    let dir = arguments.dir.canonicalize().map_err(|error| error.to_string())?;
    say(&format!(
        "authority  {authority}
tenant id  {TENANT_ID}
CA file    {ca_file}

# postgresql.conf
pgaad.tenant_id = '{TENANT_ID}'
pgaad.authority = '{authority}'
pgaad.ca_file = '{ca_file}'

# a token
tenant mint --dir {dir} --user alice@example.com

ready
",
        authority = tenant.authority(),
        ca_file = dir.join("ca.pem").display(),
        dir = dir.display(),
    ))?;
    loop {
        thread::park();
    }
}

fn mint(mut arguments: Arguments<'_>) -> Result<(), String> {
    let mut token = arguments.state()?.keys().token();
    let mut groups = Vec::new();
    while let Some(option) = arguments.next() {
        token = match option {
            "--user" => token.user(arguments.value(option)?),
            "--app" => token.app(arguments.value(option)?),
            "--guest" => token.guest(arguments.value(option)?),
            "--v2" => token.v2(),
            "--group" => {
                groups.push(arguments.value(option)?);
                token.groups(&groups)
            }
            "--expired" => token.expires_in(-3600),
            "--audience" => token.claim("aud", arguments.value(option)?),
            "--tenant" => token.tenant(arguments.value(option)?),
            "--claim" => {
                let (name, value) = arguments.member(option)?;
                token.claim(name, value)
            }
            "--header" => {
                let (name, value) = arguments.member(option)?;
                token.header(name, value)
            }
            "--signer" => token.signed_by(signer(arguments.value(option)?)?),
            _ => return Err(unknown(option)),
        };
    }
    say(&format!("{}\n", token.mint()))
}

fn signer(name: &str) -> Result<Signer, String> {
    match name {
        "current" => Ok(Signer::Current),
        "second" => Ok(Signer::Second),
        "consumer" => Ok(Signer::Consumer),
        "other-cloud" => Ok(Signer::OtherCloud),
        "unpublished" => Ok(Signer::Unpublished),
        "none" => Ok(Signer::None),
        "broken" => Ok(Signer::Broken),
        _ => Err(format!("{name:?} is no signer\n{USAGE}")),
    }
}

fn rotate(arguments: Arguments<'_>) -> Result<(), String> {
    let state = arguments.state()?;
    arguments.end()?;
    say(&format!("{}\n", state.rotate()))
}

fn retire(mut arguments: Arguments<'_>) -> Result<(), String> {
    let state = arguments.state()?;
    let kid = match arguments.next() {
        Some("--kid") => arguments.value("--kid")?,
        Some(option) => return Err(unknown(option)),
        None => return Err("--kid names the key to withdraw".to_owned()),
    };
    arguments.end()?;
    let jwks = state.keys().jwks();
    let mut published = jwks["keys"].as_array().into_iter().flatten();
    if !published.any(|key| key["kid"] == kid) {
        return Err(format!("{kid} is not published"));
    }
    state.retire(kid);
    Ok(())
}
