//! What no statement of a role that is no superuser may add: the invariants of the design, and who reaches whom.

use crate::state::{Id, MARKERS, State};
use std::collections::BTreeSet;

/// The predefined roles by which a role becomes the server's operating-system account, or writes the catalogs.
pub const SERVER_ROLES: [&str; 4] =
    ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "pg_write_all_data"];

/// The administrator that superusers name in their steps.
const NAMED_BY_SUPERUSERS: &str = "root";

/// On whose behalf a step ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A role that may change no labels.
    Anybody,
    /// The Entra administrator: may label roles and put them into `azure_ad_user`.
    Administrator,
    /// A superuser, who follows the documentation and means no harm.
    Superuser,
}

/// The rules that a step has broken, in words.
pub fn broken(before: &State, after: &State, author: Author) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = standing(after).difference(&standing(before)).cloned().collect();
    found.extend(markers(before, after));
    found.extend(administrators(before, after, author));
    found.extend(predefined(before, after));
    found.extend(extension(before, after));
    if author != Author::Superuser {
        found.extend(bindings(before, after, author));
    }
    found
}

/// Rules 1, 3 and 4, as far as they can be told from a state alone.
pub fn standing(state: &State) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for marker in MARKERS {
        let Some(role) = state.roles.get(marker) else { continue };
        let attributes = role.attributes.replace('i', "");
        if !attributes.is_empty() || !role.rest.starts_with(' ') {
            found.insert(format!("rule 1: {marker} has a password or an attribute: {attributes:?}"));
        }
        for edge in state.edges.iter().filter(|edge| edge.member == marker) {
            found.insert(format!("rule 1: {marker} is a member of {}", edge.role));
        }
    }
    for (id, role) in state.roles.iter().filter(|(id, _)| state.is_entra(id)) {
        if id.starts_with("pg_") {
            found.insert(format!("rule 3: the predefined role {id} is in azure_ad_user"));
        }
        for (attribute, name) in
            [('s', "a superuser"), ('p', "a REPLICATION role"), ('b', "a BYPASSRLS role")]
        {
            if role.is(attribute) {
                found.insert(format!("rule 3: {id}, {name}, is in azure_ad_user"));
            }
        }
        for edge in state.edges.iter().filter(|edge| edge.role == *id && !state.is_entra(&edge.member)) {
            let rule = if edge.gives_rights() { 4 } else { 3 };
            found.insert(format!(
                "rule {rule}: {} is no Entra role and a member of {id}, which is one",
                edge.member
            ));
        }
    }
    found
}

/// Rule 1: the marker roles are as they were.
fn markers(before: &State, after: &State) -> Vec<String> {
    let changed = MARKERS.iter().filter(|marker| before.roles.contains_key(**marker));
    changed
        .filter(|marker| before.roles.get(**marker) != after.roles.get(**marker))
        .map(|marker| format!("rule 1: {marker} was changed: {:?}", after.roles.get(*marker)))
        .collect()
}

/// Rule 2: who reaches `azure_ad_admin`. A superuser's step gives the office to the role that the superuser names.
fn administrators(before: &State, after: &State, author: Author) -> Vec<String> {
    let (had, have) = (before.who_reaches("azure_ad_admin"), after.who_reaches("azure_ad_admin"));
    let is_named = |role: &str| author == Author::Superuser && after.roles[role].name == NAMED_BY_SUPERUSERS;
    let new = have.difference(&had).filter(|role| !is_named(role));
    let mut found: Vec<String> =
        new.map(|role| format!("rule 2: {role} now reaches azure_ad_admin")).collect();
    let dropped = before.roles.keys().any(|id| !after.roles.contains_key(id));
    if author != Author::Superuser && !dropped {
        found.extend(
            had.difference(&have).map(|role| format!("rule 2: {role} no longer reaches azure_ad_admin")),
        );
    }
    found
}

/// Whose a role is: its labels, and its name where no label binds it by an id.
fn binding(state: &State, role: &Id) -> Vec<String> {
    let labels = state.labels.iter().filter(|((id, _), _)| id == role);
    let mut binding: Vec<String> =
        labels.map(|((_, provider), label)| format!("{provider}: {label}")).collect();
    if !binding.iter().any(|label| label.contains("oid=")) {
        binding.push(format!("by the name {}", state.roles[role].name));
    }
    binding
}

/// Rule 5, and who is in `azure_ad_user` and `azure_ad_mfa` at all.
fn bindings(before: &State, after: &State, author: Author) -> Vec<String> {
    let mut found = Vec::new();
    let has_office = |role: &Id| before.reached_by(role).contains("azure_ad_admin");
    for id in before.roles.keys().filter(|id| after.roles.contains_key(*id)) {
        let (was, is) = (binding(before, id), binding(after, id));
        let entra = (before.is_entra(id), after.is_entra(id));
        let may = author == Author::Administrator && !has_office(id);
        if was != is && !may && (entra.0 || entra.1) {
            found.push(format!("rule 5: {id} was {was:?} and is {is:?}"));
        }
        let is_by_name = |binding: &[String]| binding.iter().any(|part| part.starts_with("by the name"));
        let has_lost_its_label = !is_by_name(&was) && is.len() == 1 && is_by_name(&is);
        if entra == (true, true) && has_lost_its_label {
            found.push(format!("rule 5: {id} was bound by an id, lost its label, and opens to its name"));
        }
        let may_enable = author == Author::Administrator;
        let has_mfa =
            |state: &State| state.edges.iter().any(|edge| edge.member == *id && edge.role == "azure_ad_mfa");
        if entra.0 != entra.1 && !may_enable {
            found.push(format!("azure_ad_user: {id} was put in or taken out"));
        }
        if has_mfa(before) != has_mfa(after) && !may_enable {
            found.push(format!("azure_ad_mfa: {id} was put in or taken out"));
        }
    }
    for id in after.roles.keys().filter(|id| !before.roles.contains_key(*id)) {
        if after.is_entra(id) && author == Author::Anybody {
            found.push(format!("azure_ad_user: {id} was made in it"));
        }
    }
    found
}

/// Rule 6. On 16 and later core itself wants the ADMIN OPTION, which nobody in the world has.
fn predefined(before: &State, after: &State) -> Vec<String> {
    let new = after.edges.difference(&before.edges);
    new.filter(|edge| edge.role.starts_with("pg_"))
        .filter(|edge| {
            SERVER_ROLES.contains(&edge.role.as_str()) || (edge.admin && edge.grantor == "postgres")
        })
        .map(|edge| format!("rule 6: {} was given to {}", edge.role, edge.member))
        .collect()
}

/// The extension trusts no names: what is in its schema is its own.
fn extension(before: &State, after: &State) -> Vec<String> {
    if before.objects.is_empty() || after.objects.is_empty() {
        return Vec::new();
    }
    let changed = before.objects.symmetric_difference(&after.objects);
    changed.map(|object| format!("the extension's objects were changed: {object}")).collect()
}

/// Who has the rights of whom, of those that matter: superusers, the server's own roles, the Entra
/// administrators and other people's roles. A role made in the sequence is its maker's and nobody else's.
pub fn reach(state: &State) -> BTreeSet<(Id, Id)> {
    let mut pairs = BTreeSet::new();
    for (source, role) in &state.roles {
        if role.is('s') {
            pairs.insert((source.clone(), "superuser".to_owned()));
            continue;
        }
        for target in state.reached_by(source) {
            let is_office = target == "azure_ad_admin" && role.name != NAMED_BY_SUPERUSERS;
            let is_anothers = state.is_entra(target) && !target.starts_with('+');
            if is_office || is_anothers || SERVER_ROLES.contains(&target) || state.is_superuser(target) {
                pairs.insert((source.clone(), target.to_owned()));
            }
        }
    }
    pairs
}

/// Whether a pair of [`reach`] holds on the other server too, where its target may matter to nobody.
pub fn has_rights_too(here: &State, there: &State, (source, target): &(Id, Id)) -> bool {
    let Some(source) = here.counterpart(source, there) else { return false };
    if target == "superuser" {
        return there.is_superuser(&source);
    }
    let target = here.counterpart(target, there);
    target.is_some_and(|target| there.reached_by(&source).contains(target.as_str()))
}
