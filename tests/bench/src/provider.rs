//! What an identity provider that is dead, stalls, or is asked for by attackers costs a valid login; and how long a
//! new key takes to its first login.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tenant::Behavior;

use crate::Effort;
use crate::bed::{ALICE, Bed, Ticket, Transport, Way};
use crate::load;
use crate::login::login;
use crate::page::{AtMost, Page};
use crate::sample::{Series, quantile};

const ATTACKERS: usize = 8;
const ROTATIONS: usize = 15;

/// What goes on beside the valid logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Dead,
    Stalled,
    Garbage,
    RandomKeys,
    RandomKeysWhileDead,
}

impl Trouble {
    const ALL: [Trouble; 6] =
        [Self::None, Self::Dead, Self::Stalled, Self::Garbage, Self::RandomKeys, Self::RandomKeysWhileDead];

    fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Dead => "the provider is dead",
            Self::Stalled => "the provider stalls",
            Self::Garbage => "8 attackers send no token at all",
            Self::RandomKeys => "8 attackers send tokens with random key ids",
            Self::RandomKeysWhileDead => "the same, and the provider is dead",
        }
    }
}

pub fn measure(bed: &Bed, effort: Effort, page: &mut Page) {
    // The worker asks as often as it can, and the attackers' ids make it ask besides.
    bed.cluster.set("pgaad.refresh_interval", "10s");
    bed.cluster.set("pgaad.refresh_cooldown", "1s");
    let mut series: Vec<Series> = Trouble::ALL.iter().map(|_| Series::default()).collect();
    for _ in 0..effort.rounds {
        for (trouble, series) in Trouble::ALL.into_iter().zip(&mut series) {
            series.rounds.push(in_trouble(bed, trouble, effort));
        }
    }
    let [none, dead, stalled, garbage, random, random_dead] = &series[..] else { unreachable!() };
    page.heading("Valid logins over pam, while…");
    page.row(&["what goes on", "p50 ms", "p99 ms", "p50 × nothing", "p99 × nothing"]);
    for (trouble, series) in Trouble::ALL.into_iter().zip(&series) {
        page.row(&[
            trouble.name(),
            &format!("{:.2}", series.latency_ms(0.5)),
            &format!("{:.2}", series.latency_ms(0.99)),
            &series.latencies_by(none, 0.5).to_string(),
            &series.latencies_by(none, 0.99).to_string(),
        ]);
    }
    page.target("p99, provider dead / well", dead.latencies_by(none, 0.99), AtMost(1.1));
    page.target("p99, provider stalled / well", stalled.latencies_by(none, 0.99), AtMost(1.1));
    page.target(
        "p99, 8 attackers: random key ids / no token at all",
        random.latencies_by(garbage, 0.99),
        AtMost(1.5),
    );
    page.target(
        "p99, the same, provider dead / no token at all",
        random_dead.latencies_by(garbage, 0.99),
        AtMost(1.5),
    );
    rotations(bed, page);
}

fn in_trouble(bed: &Bed, trouble: Trouble, effort: Effort) -> crate::sample::Round {
    match trouble {
        Trouble::Dead | Trouble::RandomKeysWhileDead => bed.tenant.stop(),
        Trouble::Stalled => bed.tenant.set_behavior(Behavior::Stalled),
        Trouble::None | Trouble::Garbage | Trouble::RandomKeys => {}
    }
    let ticket = bed.ticket(Way::TokenPam, Transport::Plain);
    let measure = || load::round(&bed.cluster, &ticket, 1, effort.logins);
    let round = match trouble {
        Trouble::Garbage => beside_attackers(&[ticket_of(bed, b"no token at all")], measure),
        Trouble::RandomKeys | Trouble::RandomKeysWhileDead => beside_attackers(&unknown_keys(bed), measure),
        Trouble::None | Trouble::Dead | Trouble::Stalled => measure(),
    };
    bed.tenant.set_behavior(Behavior::Well);
    bed.tenant.start_again();
    round
}

fn ticket_of(bed: &Bed, secret: &[u8]) -> Ticket {
    bed.ticket_with(Way::TokenPam, Transport::Plain, ALICE, secret)
}

/// Tokens that name keys which nobody has.
fn unknown_keys(bed: &Bed) -> Vec<Ticket> {
    let token = |number: usize| bed.token().header("kid", format!("nobody-{number}")).mint();
    (0..100).map(|number| ticket_of(bed, token(number).as_bytes())).collect()
}

/// Measures while attackers log in with these, one after the other and without a pause.
fn beside_attackers<T>(tickets: &[Ticket], measure: impl FnOnce() -> T) -> T {
    let (over, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let attack = || {
        while !over.load(Ordering::Relaxed) {
            let turn = next.fetch_add(1, Ordering::Relaxed) % tickets.len();
            assert!(login(&tickets[turn]).is_err(), "an attacker is let in");
        }
    };
    thread::scope(|scope| {
        for _ in 0..ATTACKERS {
            scope.spawn(attack);
        }
        thread::sleep(Duration::from_millis(200));
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        measured
    })
}

/// From the moment when the tenant signs with a new key to the first login by it.
fn rotations(bed: &Bed, page: &mut Page) {
    let mut previous: Option<String> = None;
    let mut rotate = || {
        let next = bed.tenant.rotate();
        if let Some(kid) = previous.replace(next) {
            bed.tenant.retire(&kid);
        }
    };
    let times: Vec<f64> = (0..ROTATIONS)
        .map(|_| {
            thread::sleep(Duration::from_millis(1_200));
            rotate();
            let ticket = bed.ticket(Way::TokenPam, Transport::Plain);
            let began = Instant::now();
            while login(&ticket).is_err() {}
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    page.heading("A new key of the tenant's");
    page.line(&format!(
        "From the first login with it to its admission, the fetch included, {ROTATIONS} times: median {:.0} ms, \
         at most {:.0} ms.",
        quantile(times.clone(), 0.5),
        quantile(times, 1.0)
    ));
}
