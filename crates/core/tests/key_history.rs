//! Keys that come and go, as genuine key sets have them.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgaad_core::key_history::{GRACE, KeyEntry, RECHECK, after_answer};
use pgaad_core::keys::{KeySet, MAX_KEYS, SigningKey};
use pgaad_core::tenant::{Cloud, Tenant};
use pgaad_core::time::UnixTime;
use serde_json::json;

const INTERVAL: i64 = 3_600;
const DAY: i64 = 86_400;

/// A key of this number. Nobody has its private part.
fn key(number: u8) -> SigningKey {
    named(&format!("kid{number}"), &format!("x5t{number}"), number)
}

fn named(kid: &str, x5t: &str, number: u8) -> SigningKey {
    let mut modulus = [number; 256];
    (modulus[0], modulus[255]) = (0xc5, 0x6b);
    let modulus = URL_SAFE_NO_PAD.encode(modulus);
    let jwks = json!({ "keys": [{ "kty": "RSA", "kid": kid, "x5t": x5t, "n": modulus, "e": "AQAB" }] });
    let id = "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10".parse().expect("a GUID");
    let tenant = Tenant::new(id, Cloud::Public, None);
    KeySet::import(jwks.to_string().as_bytes(), &tenant, None).expect("a key set").keys()[0]
}

fn keys(count: u8) -> Vec<SigningKey> {
    (1..=count).map(key).collect()
}

fn at(seconds: i64) -> UnixTime {
    UnixTime::new(seconds)
}

fn grace() -> i64 {
    i64::try_from(GRACE.as_secs()).expect("minutes")
}

/// When a key is away: from, to.
type Gap = (i64, i64);

/// Gaps of one key: one about every day, shorter than the grace.
fn gaps(random: &mut impl FnMut(i64) -> i64) -> Vec<Gap> {
    (0..30)
        .map(|day| {
            let from = day * DAY + random(DAY - 2 * grace());
            (from, from + 1 + random(grace() - 1))
        })
        .collect()
}

/// A generator of numbers below a bound (Knuth's MMIX).
fn random(seed: u64) -> impl FnMut(i64) -> i64 {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).expect("31 bits") % bound
    }
}

#[test]
fn each_key_keeps_the_time_at_which_it_was_first_seen() {
    let keys = keys(3);
    let first = after_answer(&[], &keys[..1], at(10), true);
    let second = after_answer(&first, &keys[..2], at(20), true);
    let third = after_answer(&second, &keys, at(30), true);
    let seen: Vec<_> = third.iter().map(|entry| (entry.first_seen, entry.last_seen)).collect();
    assert_eq!(seen, [(at(10), at(30)), (at(20), at(30)), (at(30), at(30))]);
}

#[test]
fn key_that_is_away_for_less_than_five_minutes_is_good_all_the_time() {
    let (mut random, keys) = (random(7), keys(14));
    let away: Vec<Vec<Gap>> = keys.iter().map(|_| gaps(&mut random)).collect();
    let is_away = |place: usize, now: i64| away[place].iter().any(|(from, to)| (*from..*to).contains(&now));
    let (mut known, mut next, mut missed) = (Vec::<KeyEntry>::new(), 1, 0);
    for now in 0..30 * DAY {
        if now == next {
            let answer: Vec<_> = keys
                .iter()
                .enumerate()
                .filter(|(place, _)| !is_away(*place, now))
                .map(|(_, key)| *key)
                .collect();
            known = after_answer(&known, &answer, at(now), true);
            let is_missing = known.iter().any(|entry| entry.missing_since.is_some());
            missed += u32::from(is_missing);
            let recheck = i64::try_from(RECHECK.as_secs()).expect("a minute");
            next = now + if is_missing { recheck } else { INTERVAL };
        }
        if now > 1 {
            let alive = known.iter().filter(|entry| entry.is_alive(at(now))).count();
            assert_eq!(alive, keys.len(), "at {now}");
        }
    }
    assert!(missed > 10, "the gaps were seen: {missed}");
}

#[test]
fn key_that_is_withdrawn_dies_when_its_grace_is_over_whether_answers_come_or_not() {
    let both = after_answer(&[], &keys(2), at(100), true);
    let mut known = after_answer(&both, &keys(1), at(200), true);
    let is_alive =
        |known: &[KeyEntry], now| known.iter().any(|entry| entry.key == key(2) && entry.is_alive(at(now)));
    assert!(is_alive(&known, 200) && is_alive(&known, 200 + grace() - 1));
    assert!(!is_alive(&known, 200 + grace()));
    // Further answers without it do not make it live longer, and then forget it.
    for now in [260, 320, 499] {
        known = after_answer(&known, &keys(1), at(now), true);
        assert!(is_alive(&known, 499) && !is_alive(&known, 500), "{now}");
    }
    known = after_answer(&known, &keys(1), at(500), true);
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].first_seen, known[0].last_seen), (at(100), at(500)));
    // A clock that was set back does not make it live longer.
    let known = after_answer(&both, &keys(1), at(200), true);
    assert!(!is_alive(&known, 199));
}

#[test]
fn key_that_is_back_is_what_it_was() {
    let both = after_answer(&[], &keys(2), at(100), true);
    let missing = after_answer(&both, &keys(1), at(200), true);
    let back = after_answer(&missing, &keys(2), at(260), true);
    let entry = back.iter().find(|entry| entry.key == key(2)).expect("it is back");
    assert_eq!((entry.first_seen, entry.last_seen, entry.missing_since), (at(100), at(260), None));
}

#[test]
fn operator_and_replaced_keys_know_no_grace() {
    let both = after_answer(&[], &keys(2), at(100), true);
    assert_eq!(after_answer(&both, &keys(1), at(200), false).len(), 1);
    // Two keys of one name would be none: the token does not say which.
    for new in [named("kid2", "another", 9), named("another", "x5t2", 9)] {
        let known = after_answer(&both, &[key(1), new], at(200), true);
        assert!(known.iter().all(|entry| entry.key != key(2)), "{known:?}");
        assert_eq!(known.len(), 2);
    }
    // Keys without a thumbprint have none in common.
    let bare = |number| named(&format!("kid{number}"), "", number);
    let known = after_answer(&[], &[bare(1), bare(2)], at(100), true);
    assert_eq!(after_answer(&known, &[bare(1)], at(200), true).len(), 2);
}

#[test]
fn missing_keys_take_no_place_from_others() {
    let most = u8::try_from(MAX_KEYS).expect("few");
    let full = after_answer(&[], &keys(most), at(100), true);
    let others: Vec<_> = (1..=most).map(|number| key(number + most)).collect();
    let known = after_answer(&full, &others, at(200), true);
    assert_eq!(known.iter().map(|entry| entry.key).collect::<Vec<_>>(), others);
}
