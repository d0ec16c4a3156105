//! Whether a login costs the same after many refused ones, with a thousand labelled roles, two hundred groups and 64
//! keys.

use tenant::object_id;

use crate::Effort;
use crate::bed::{ALICE, Bed, Transport, Way, groups};
use crate::load;
use crate::login::login;
use crate::page::{AtMost, Page};
use crate::sample::{Ratio, Series};

const ROLES: usize = 1_000;
const GROUPS: usize = 200;
const KEYS: usize = 64;
const FAILED: usize = 2_000;

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    page.heading("Scale: a token over trust, in multiples of trust itself");
    page.row(&["", "logins/s", "× trust", "server CPU ms", "CPU beyond trust, ms"]);
    let before = row(bed, effort, page, "one role, 2 kB token", ALICE, None);

    let stranger = bed.ticket_with(Way::TokenTrust, Transport::Plain, ALICE, b"no token at all");
    for _ in 0..FAILED {
        let refused = login(&stranger).err().map(|error| error.kind());
        assert_eq!(refused, Some(std::io::ErrorKind::PermissionDenied), "a stranger");
    }
    let afterwards = row(bed, effort, page, &format!("after {FAILED} refused logins"), ALICE, None);

    let roles: String = (0..ROLES)
        .map(|number| {
            let name = format!("user{number}@example.com");
            format!(
                "SELECT pgaadauth_create_principal_with_oid('{name}', '{}', 'user', false, false);\n",
                object_id(&name)
            )
        })
        .collect();
    bed.cluster.sql(&roles);
    row(bed, effort, page, "1,000 labelled roles", ALICE, None);

    let keys = bed.cluster.value("SELECT count(*) FROM pgaad.keys").parse().unwrap_or(0);
    for _ in keys..KEYS {
        bed.tenant.rotate();
    }
    bed.cluster.sql("SELECT pgaad.refresh()");
    let keys = bed.cluster.value("SELECT count(*) FROM pgaad.keys");
    let after = row(bed, effort, page, &format!("and {keys} keys"), ALICE, None);

    let member = groups(GROUPS);
    let last = member.last().expect("there are some");
    bed.cluster.sql(&format!(
        "SELECT pgaadauth_create_principal_with_oid('staff', '{last}', 'group', false, false)"
    ));
    let token = bed.token().claim("groups", member.clone()).mint();
    let label = format!("and {GROUPS} groups, {} kB token, as the last group", token.len() / 1000);
    row(bed, effort, page, &label, "staff", Some(token));
    page.target("CPU of a login, after refused ones / before", afterwards.cpu_by(&before), AtMost(1.1));
    page.target("CPU of a login, 1,000 roles and 64 keys / one role", after.cpu_by(&before), AtMost(1.1));
}

/// Both ways in at one state of the server.
struct Pair {
    trust: Series,
    token: Series,
}

impl Pair {
    fn cpu_by(&self, other: &Pair) -> Ratio {
        Ratio::exactly(
            (self.token.cpu_ms() / self.trust.cpu_ms()) / (other.token.cpu_ms() / other.trust.cpu_ms()),
        )
    }
}

fn row(bed: &Bed, effort: Effort, page: &mut Page, name: &str, role: &str, token: Option<String>) -> Pair {
    let mut ticket = bed.ticket(Way::TokenTrust, Transport::Plain);
    role.clone_into(&mut ticket.user);
    if let Some(token) = token {
        ticket.secret = token.into_bytes();
    }
    let trust = bed.ticket(Way::Trust, Transport::Plain);
    let series = load::in_turn(&[(&bed.cluster, trust), (&bed.cluster, ticket)], 1, effort);
    let Ok([trust, token]) = <[Series; 2]>::try_from(series) else { unreachable!("two were measured") };
    page.row(&[
        name,
        &format!("{:.0}", token.rate()),
        &token.rates_by(&trust).to_string(),
        &format!("{:.2}", token.cpu_ms()),
        &format!("{:.2}", token.cpu_ms() - trust.cpu_ms()),
    ]);
    Pair { trust, token }
}
