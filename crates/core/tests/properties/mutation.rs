//! Everything that can happen to the bytes of a token on the way.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use tenant::Signer;

use crate::login::token;

/// Valid tokens of several kinds, and one that differs in the user only.
pub(crate) static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let app = token().app("5a1d6e0b-93c4-4f1e-8b57-2c0f7ab1d3e9");
    let tokens = [
        token(),
        token().v2(),
        token().user("bob@example.com"),
        token().signed_by(Signer::Second),
        token().groups(&["c0ffee00-1234-4abc-9def-0123456789ab"]),
        token().overage(),
        token().id_token(),
        app,
    ];
    tokens.iter().map(|token| token.mint()).collect()
});

pub(crate) fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// One change of a token's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    FlipBit(Index),
    SetByte(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    Exchange(Index, Index),
    Cut(Index),
    Append(Vec<u8>),
    /// A piece of another valid token in the place of as many bytes.
    Splice(Index, Index, Index, Index),
    /// One of the three parts of another valid token.
    ForeignPart(usize, Index),
    Reorder([usize; 3]),
    /// One part decoded, one bit flipped, encoded again.
    FlipDecodedBit(usize, Index),
    /// One part written in another way.
    Reencode(usize, Encoding),
    /// Two members of header or payload exchanged, or the document spelt otherwise.
    Respell(usize, Spelling),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Encoding {
    Padded,
    Standard,
    StandardPadded,
    Twice,
    Hex,
    NextLast,
    Wrapped,
}

#[derive(Clone, Debug)]
pub(crate) enum Spelling {
    Rotated(Index),
    Pretty,
    SpaceBehind,
    /// The first letter of a member's name as an escape.
    EscapedName(Index),
    WithoutMember(Index),
    MemberTwice(Index),
    MoreMember(String),
}

pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let bytes = || vec(any::<u8>(), 1..6);
    let part = 0..3_usize;
    let encoding = prop::sample::select(vec![
        Encoding::Padded,
        Encoding::Standard,
        Encoding::StandardPadded,
        Encoding::Twice,
        Encoding::Hex,
        Encoding::NextLast,
        Encoding::Wrapped,
    ]);
    let spelling = prop_oneof![
        at().prop_map(Spelling::Rotated),
        Just(Spelling::Pretty),
        Just(Spelling::SpaceBehind),
        at().prop_map(Spelling::EscapedName),
        at().prop_map(Spelling::WithoutMember),
        at().prop_map(Spelling::MemberTwice),
        "[a-z]{1,8}".prop_map(Spelling::MoreMember),
    ];
    prop_oneof![
        4 => at().prop_map(Mutation::FlipBit),
        2 => (at(), any::<u8>()).prop_map(|(place, byte)| Mutation::SetByte(place, byte)),
        1 => (at(), bytes()).prop_map(|(place, bytes)| Mutation::Insert(place, bytes)),
        1 => (at(), prop::sample::select(vec!['.', '=', '\n', ' ', '\0', '-', 'A']))
            .prop_map(|(place, c)| Mutation::Insert(place, c.to_string().into_bytes())),
        1 => (at(), at()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        2 => (at(), at()).prop_map(|(one, other)| Mutation::Exchange(one, other)),
        1 => at().prop_map(Mutation::Cut),
        1 => bytes().prop_map(Mutation::Append),
        3 => (at(), at(), at(), at()).prop_map(|(other, from, to, place)| Mutation::Splice(other, from, to, place)),
        2 => (part.clone(), at()).prop_map(|(part, other)| Mutation::ForeignPart(part, other)),
        1 => [part.clone(), part.clone(), part.clone()].prop_map(Mutation::Reorder),
        4 => (part.clone(), at()).prop_map(|(part, bit)| Mutation::FlipDecodedBit(part, bit)),
        2 => (part, encoding).prop_map(|(part, encoding)| Mutation::Reencode(part, encoding)),
        3 => (0..2_usize, spelling).prop_map(|(part, spelling)| Mutation::Respell(part, spelling)),
    ]
}

pub(crate) fn mutate(token: &[u8], mutation: &Mutation) -> Vec<u8> {
    let mut bytes = token.to_vec();
    if bytes.is_empty() {
        return b"x".to_vec();
    }
    let length = bytes.len();
    let range = |one: &Index, other: &Index| {
        let (one, other) = (one.index(length), other.index(length));
        one.min(other)..one.max(other) + 1
    };
    match mutation {
        Mutation::FlipBit(bit) => {
            let bit = bit.index(length * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Mutation::SetByte(place, byte) => bytes[place.index(length)] = *byte,
        Mutation::Insert(place, more) => {
            let place = place.index(length + 1);
            bytes.splice(place..place, more.iter().copied());
        }
        Mutation::Remove(from, to) => drop(bytes.drain(range(from, to))),
        Mutation::Repeat(from, to) => {
            let piece = bytes[range(from, to)].to_vec();
            let place = range(from, to).end;
            bytes.splice(place..place, piece);
        }
        Mutation::Exchange(one, other) => bytes.swap(one.index(length), other.index(length)),
        Mutation::Cut(place) => bytes.truncate(place.index(length)),
        Mutation::Append(more) => bytes.extend(more),
        Mutation::Splice(other, from, to, place) => {
            let other = TOKENS[other.index(TOKENS.len())].as_bytes();
            let (from, to) = (from.index(other.len()), to.index(other.len()));
            let piece = &other[from.min(to)..=from.max(to)];
            let start = place.index(length);
            bytes.splice(start..length.min(start + piece.len()), piece.iter().copied());
        }
        by_part => return mutate_part(token, by_part),
    }
    bytes
}

/// The mutations that need the three parts; what no longer has them stays as it is.
fn mutate_part(token: &[u8], mutation: &Mutation) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(token) else { return token.to_vec() };
    let Ok(mut changed) = <[&str; 3]>::try_from(text.split('.').collect::<Vec<_>>()) else {
        return token.to_vec();
    };
    let new;
    match mutation {
        Mutation::ForeignPart(part, other) => {
            changed[*part] = parts(&TOKENS[other.index(TOKENS.len())])[*part]
        }
        Mutation::Reorder(order) => changed = order.map(|part| changed[part]),
        Mutation::FlipDecodedBit(part, bit) => {
            let Ok(mut bytes) = URL_SAFE_NO_PAD.decode(changed[*part]) else { return token.to_vec() };
            if bytes.is_empty() {
                return token.to_vec();
            }
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            new = URL_SAFE_NO_PAD.encode(bytes);
            changed[*part] = &new;
        }
        Mutation::Reencode(part, encoding) => {
            new = reencode(changed[*part], *encoding);
            changed[*part] = &new;
        }
        Mutation::Respell(part, spelling) => {
            let Ok(bytes) = URL_SAFE_NO_PAD.decode(changed[*part]) else { return token.to_vec() };
            let Ok(Value::Object(members)) = serde_json::from_slice(&bytes) else { return token.to_vec() };
            new = URL_SAFE_NO_PAD.encode(respell(&members.into_iter().collect::<Vec<_>>(), spelling));
            changed[*part] = &new;
        }
        _ => {}
    }
    changed.join(".").into_bytes()
}

fn reencode(part: &str, encoding: Encoding) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    match encoding {
        Encoding::Padded => URL_SAFE.encode(bytes),
        Encoding::Standard => STANDARD_NO_PAD.encode(bytes),
        Encoding::StandardPadded => STANDARD.encode(bytes),
        Encoding::Twice => URL_SAFE_NO_PAD.encode(part),
        Encoding::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::NextLast => {
            let mut text = part.as_bytes().to_vec();
            if let Some(last) = text.last_mut() {
                *last = last.wrapping_add(1);
            }
            String::from_utf8_lossy(&text).into_owned()
        }
        Encoding::Wrapped => {
            let characters: Vec<char> = part.chars().collect();
            characters.chunks(64).map(String::from_iter).collect::<Vec<_>>().join("\n")
        }
    }
}

fn respell(members: &[(String, Value)], spelling: &Spelling) -> String {
    let mut spelt: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    if spelt.is_empty() {
        return "{}".to_owned();
    }
    let count = spelt.len();
    match spelling {
        Spelling::Rotated(by) => spelt.rotate_left(by.index(count)),
        Spelling::Pretty => return format!("{{\n  {}\n}}", spelt.join(",\n  ")),
        Spelling::SpaceBehind => return format!("{{{}}} ", spelt.join(",")),
        Spelling::EscapedName(which) => {
            let which = which.index(count);
            let (name, value) = &members[which];
            let first = name.chars().next().map(u32::from).unwrap_or_default();
            let rest: String = name.chars().skip(1).collect();
            spelt[which] = format!("\"\\u{first:04x}{rest}\":{value}");
        }
        Spelling::WithoutMember(which) => drop(spelt.remove(which.index(count))),
        Spelling::MemberTwice(which) => spelt.push(spelt[which.index(count)].clone()),
        Spelling::MoreMember(name) => spelt.push(format!("\"{name}\":true")),
    }
    format!("{{{}}}", spelt.join(","))
}
