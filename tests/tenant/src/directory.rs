//! What the tenant's directory holds: users, programs, groups of them and of each other, and who may ask.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::credentials::ClientCertificate;

/// What an object of the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A user, guests too.
    User,
    /// A service principal.
    Program,
    /// A group.
    Group,
    /// A device.
    Device,
    /// An organizational contact.
    Contact,
}

impl Kind {
    /// The `@odata.type`.
    pub(crate) fn odata_type(self) -> &'static str {
        match self {
            Self::User => "#microsoft.graph.user",
            Self::Program => "#microsoft.graph.servicePrincipal",
            Self::Group => "#microsoft.graph.group",
            Self::Device => "#microsoft.graph.device",
            Self::Contact => "#microsoft.graph.orgContact",
        }
    }
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// `userPrincipalName`.
    pub upn: String,
    /// `mail`.
    pub mail: Option<String>,
    /// `accountEnabled`.
    pub enabled: bool,
    /// `signInSessionsValidFromDateTime`.
    pub valid_from: String,
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    /// `displayName`.
    pub name: String,
    /// `securityEnabled`.
    pub is_security: bool,
    /// Direct members, by their ids.
    members: Vec<String>,
}

/// An application that may ask for tokens.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// Its secrets that count.
    pub secrets: Vec<String>,
    /// Its certificates.
    pub certificates: Vec<ClientCertificate>,
    /// Tokens of another identity provider that count as its own.
    pub federated: Vec<String>,
    /// The permissions that an administrator has consented to.
    pub permissions: BTreeSet<String>,
}

/// Ids, and what each of them is.
type Members = Arc<Vec<(String, Kind)>>;

/// The directory.
#[derive(Clone, Default)]
pub struct Directory {
    kinds: HashMap<String, Kind>,
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, Group>,
    programs: BTreeMap<String, (String, String)>,
    /// By client id.
    pub applications: BTreeMap<String, Application>,
    /// The client id whose managed identity the machine has, and whether there is one at all.
    pub machine: Option<String>,
    /// Issued tokens of Graph, and whose they are.
    pub(crate) tokens: HashMap<String, String>,
    pub(crate) used_assertions: HashSet<String>,
    /// Transitive members as they were last put together, until something changes.
    flat: HashMap<(String, bool), Members>,
    /// Another copy, which has not heard of what has changed since.
    replica: Option<Box<Directory>>,
}

impl Directory {
    /// What is there now is what a replica holds from now on: the one that answers with [`crate::Trouble::OldReplica`].
    pub fn keep_replica(&mut self) {
        self.replica = None;
        self.replica = Some(Box::new(self.clone()));
    }

    /// Asks the replica. Tokens are none of the directory's: it knows all of them.
    pub(crate) fn with_replica<T>(&mut self, ask: impl FnOnce(&mut Directory) -> T) -> T {
        let mut replica = self.replica.take().expect("it was kept");
        replica.tokens = std::mem::take(&mut self.tokens);
        let answer = ask(&mut replica);
        self.tokens = std::mem::take(&mut replica.tokens);
        self.replica = Some(replica);
        answer
    }

    /// Adds a user of this name, whose id is [`object_id(upn)`](crate::object_id); gives the id.
    pub fn add_user(&mut self, upn: &str) -> String {
        let id = crate::object_id(upn);
        let user = User {
            upn: upn.to_owned(),
            mail: Some(upn.to_owned()),
            enabled: true,
            valid_from: "2026-01-01T00:00:00Z".to_owned(),
        };
        self.users.insert(id.clone(), user);
        self.add(id, Kind::User)
    }

    /// Adds a guest, whose id is [`object_id(mail)`](crate::object_id), by the name that this tenant gave them; gives
    /// the id.
    pub fn add_guest(&mut self, mail: &str, upn: &str) -> String {
        let id = self.add_user(mail);
        let user = self.user(&id);
        (user.upn, user.mail) = (upn.to_owned(), Some(mail.to_owned()));
        id
    }

    /// The id of the group of this name. Panics unless there is one.
    pub fn group_named(&self, name: &str) -> String {
        let found = self.groups.iter().find(|(_, group)| group.name == name);
        found.expect("the group is there").0.clone()
    }

    /// Adds a service principal, whose id is [`object_id(client_id)`](crate::object_id); gives the id.
    pub fn add_program(&mut self, client_id: &str, name: &str) -> String {
        let id = crate::object_id(client_id);
        self.programs.insert(id.clone(), (client_id.to_owned(), name.to_owned()));
        self.add(id, Kind::Program)
    }

    /// Adds something else of this name; gives its id.
    pub fn add_other(&mut self, kind: Kind, name: &str) -> String {
        self.add(crate::object_id(name), kind)
    }

    /// Adds a security group of this name with these members, of whatever kind; gives its id.
    pub fn add_group(&mut self, name: &str, members: &[&str]) -> String {
        self.add_group_with_id(&crate::object_id(&format!("group {name}")), name, members)
    }

    /// As [`Self::add_group`], with an id of one's own.
    pub fn add_group_with_id(&mut self, id: &str, name: &str, members: &[&str]) -> String {
        let id = id.to_owned();
        let members = members.iter().map(|&id| id.to_owned()).collect();
        self.groups.insert(id.clone(), Group { name: name.to_owned(), is_security: true, members });
        self.add(id, Kind::Group)
    }

    /// Adds a group with so many users that have nothing but an id; gives its id.
    pub fn add_crowd(&mut self, name: &str, count: u32) -> String {
        let members: Vec<String> = (0..count).map(|number| crowd_member(name, number)).collect();
        for id in &members {
            self.kinds.insert(id.clone(), Kind::User);
        }
        let id = self.add_group(name, &[]);
        self.group(&id).members = members;
        id
    }

    /// Adds a user of this id that has nothing else.
    pub fn add_known(&mut self, id: &str) {
        self.add(id.to_owned(), Kind::User);
    }

    /// All tokens of Graph that were issued.
    pub fn issued_tokens(&self) -> Vec<String> {
        self.tokens.keys().cloned().collect()
    }

    /// The direct members of a group, by their ids.
    pub fn member_ids(&self, group: &str) -> Vec<String> {
        self.groups.get(group).map(|group| group.members.clone()).unwrap_or_default()
    }

    fn add(&mut self, id: String, kind: Kind) -> String {
        self.flat.clear();
        self.kinds.insert(id.clone(), kind);
        id
    }

    /// A group, to be changed. Panics unless it is there.
    pub fn group(&mut self, id: &str) -> &mut Group {
        self.flat.clear();
        self.groups.get_mut(id).expect("the group is there")
    }

    /// A user, to be changed. Panics unless they are there.
    pub fn user(&mut self, id: &str) -> &mut User {
        self.users.get_mut(id).expect("the user is there")
    }

    /// Puts a member into a group.
    pub fn join(&mut self, group: &str, member: &str) {
        self.group(group).members.push(member.to_owned());
    }

    /// Takes a member out of a group.
    pub fn leave(&mut self, group: &str, member: &str) {
        self.group(group).members.retain(|id| id != member);
    }

    /// Deletes something: it is nowhere any more.
    pub fn delete(&mut self, id: &str) {
        self.flat.clear();
        self.kinds.remove(id);
        self.users.remove(id);
        self.groups.remove(id);
        self.programs.remove(id);
        for group in self.groups.values_mut() {
            group.members.retain(|member| member != id);
        }
    }

    /// All users, by their ids.
    pub(crate) fn users(&self) -> &BTreeMap<String, User> {
        &self.users
    }

    /// All groups, by their ids.
    pub(crate) fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    /// All service principals, by their ids: client id and name.
    pub(crate) fn programs(&self) -> &BTreeMap<String, (String, String)> {
        &self.programs
    }

    /// The members of a group, those of groups inside it too where `nested`; each once.
    pub(crate) fn members(&mut self, group: &str, nested: bool) -> Members {
        let key = (group.to_owned(), nested);
        if let Some(flat) = self.flat.get(&key) {
            return Arc::clone(flat);
        }
        let mut seen = HashSet::new();
        let mut flat = Vec::new();
        let mut waiting = vec![group.to_owned()];
        while let Some(group) = waiting.pop() {
            for id in self.groups.get(&group).map(|group| &group.members[..]).unwrap_or_default() {
                let Some(kind) = self.kinds.get(id).copied() else { continue };
                if seen.insert(id.clone()) {
                    flat.push((id.clone(), kind));
                    if nested && kind == Kind::Group {
                        waiting.push(id.clone());
                    }
                }
            }
        }
        let flat = Arc::new(flat);
        self.flat.insert(key, Arc::clone(&flat));
        flat
    }

    /// Whether the application of a token has one of these permissions; `None` for a token that is none.
    pub(crate) fn may(&self, token: &str, permissions: &[&str]) -> Option<bool> {
        let client_id = self.tokens.get(token)?;
        let granted = self.applications.get(client_id).map(|application| &application.permissions)?;
        Some(permissions.iter().any(|permission| granted.contains(*permission)))
    }
}

/// The id of one member of a crowd.
pub fn crowd_member(name: &str, number: u32) -> String {
    crate::object_id(&format!("{name} {number}"))
}
