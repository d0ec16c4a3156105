//! One run of the directory's worker: reads what the roles of the server ask for, and writes it down.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use pgaad_core::directory::AccountState;
use pgaad_core::directory::accounts::Account;
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::settings::directory::Programs;
use pgaad_core::time::UnixTime;

use crate::clock;
use crate::graph::{Graph, GraphError, GraphRequest, MAX_ACCOUNTS, Traffic};
use crate::set_store::SetStore;

/// What a run is to read of one tenant.
#[derive(Clone, Debug)]
pub struct DirectoryRequest {
    /// Whom to ask, and as whom.
    pub graph: GraphRequest,
    /// The groups that roles are bound to.
    pub groups: Vec<ObjectId>,
    /// The users whose accounts count; empty where accounts are not asked for.
    pub users: Vec<ObjectId>,
    /// `pgaad.directory_nested`.
    pub nested: bool,
    /// `pgaad.directory_programs`.
    pub programs: Programs,
}

/// Why something was not read, or not written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// Graph did not say.
    Graph(GraphError),
    /// The file system did not take it: in its words.
    File(String),
}

impl RunError {
    /// A stable name for logs and views.
    pub fn code(&self) -> String {
        match self {
            Self::Graph(error) => error.code(),
            Self::File(_) => "file_not_written".to_owned(),
        }
    }

    /// The facts in words, where there are some.
    pub fn words(&self) -> Option<String> {
        match self {
            Self::Graph(error) => error.words(),
            Self::File(words) => Some(words.clone()),
        }
    }
}

impl From<GraphError> for RunError {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::File(error.to_string())
    }
}

/// A group that was read and written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDone {
    /// `displayName`.
    pub name: String,
    /// `securityEnabled`.
    pub is_security: bool,
    /// When it was read.
    pub began_at: UnixTime,
}

/// How a run went with one tenant.
#[derive(Clone, Debug)]
pub struct DirectoryReport {
    /// Whose directory.
    pub tenant: TenantId,
    /// Each group.
    pub groups: Vec<(ObjectId, Result<GroupDone, RunError>)>,
    /// The accounts: how many were read; `None` where none were asked for.
    pub accounts: Option<Result<usize, RunError>>,
    /// The permissions that Graph's token names.
    pub permissions: Option<Vec<String>>,
    /// How much was asked.
    pub traffic: Traffic,
    /// When the credential expires, where it is a certificate.
    pub credential_expires: Option<UnixTime>,
}

impl DirectoryReport {
    /// What went wrong first, if anything did.
    pub fn error(&self) -> Option<&RunError> {
        let groups = self.groups.iter().filter_map(|(_, group)| group.as_ref().err());
        groups.chain(self.accounts.iter().filter_map(|accounts| accounts.as_ref().err())).next()
    }
}

/// Reads the directory of a tenant, and writes down what was read whole: each group for itself.
pub fn run(request: DirectoryRequest, store: &SetStore) -> DirectoryReport {
    let DirectoryRequest { graph, groups, users, nested, programs } = request;
    let tenant = graph.tenant.id();
    let credential_expires = graph.credential_expires();
    let graph = Graph::new(graph);
    let mut of_all: Option<GraphError> = None;
    let mut reports = Vec::with_capacity(groups.len());
    for group in groups {
        let read = match &of_all {
            Some(error) => Err(error.clone()),
            None => graph.read_group(group, nested, programs),
        };
        if let Err(error) = &read
            && error.is_of_all()
        {
            of_all = Some(error.clone());
        }
        let done = read.map_err(RunError::from).and_then(|read| {
            store.write_members(tenant, group, read.began_at, read.members)?;
            Ok(GroupDone { name: read.name, is_security: read.is_security, began_at: read.began_at })
        });
        reports.push((group, done));
    }
    let accounts = (!users.is_empty()).then(|| match of_all {
        Some(error) => Err(error.into()),
        None => read_accounts(&graph, tenant, users, store),
    });
    DirectoryReport {
        tenant,
        groups: reports,
        accounts,
        permissions: graph.permissions(),
        traffic: graph.traffic(),
        credential_expires,
    }
}

/// How long a user is asked for after they were last seen: longer than any token lives, so that none that was issued
/// before is good again.
const REMEMBERED: Duration = Duration::from_secs(36 * 3_600);

/// Asks for the users, for those who were kept out the last time, and for those who were seen lately.
fn read_accounts(
    graph: &Graph,
    tenant: TenantId,
    users: Vec<ObjectId>,
    store: &SetStore,
) -> Result<usize, RunError> {
    let began_at = clock::now();
    let known = store.accounts(tenant).map(|(_, known)| known).unwrap_or_default();
    let known: BTreeMap<_, _> = known.into_iter().map(|account| (account.id, account)).collect();
    let mut seen: BTreeMap<_, _> = users.into_iter().map(|id| (id, began_at)).collect();
    for account in known.values() {
        let is_kept_out = matches!(
            account.state,
            AccountState::Disabled | AccountState::Gone | AccountState::Missing { .. }
        );
        if is_kept_out || account.seen_at.plus(REMEMBERED) > began_at {
            seen.entry(account.id).or_insert(account.seen_at);
        }
    }
    // The most recent ones, if there are too many.
    let mut asked: Vec<_> = seen.into_iter().collect();
    asked.sort_by_key(|(_, seen_at)| Reverse(*seen_at));
    asked.truncate(MAX_ACCOUNTS);
    let ids: Vec<_> = asked.iter().map(|(id, _)| *id).collect();
    let read = graph.read_accounts(&ids)?;
    let count = read.len();
    let judged = read.into_iter().zip(asked).map(|((id, state), (_, seen_at))| {
        let before = known.get(&id).map(|account| account.state);
        Account { id, state: twice(state, before), seen_at }
    });
    store.write_accounts(tenant, began_at, judged.collect())?;
    Ok(count)
}

/// A user is gone when two runs have not found them: one answer may be that of a replica that does not know a new
/// user yet.
fn twice(now: AccountState, before: Option<AccountState>) -> AccountState {
    match (now, before) {
        (AccountState::Gone, Some(AccountState::Missing { .. } | AccountState::Gone)) => AccountState::Gone,
        // Disabled users can be deleted, and stay out meanwhile.
        (AccountState::Gone, Some(AccountState::Disabled)) => AccountState::Disabled,
        (AccountState::Gone, Some(AccountState::Enabled { valid_from })) => {
            AccountState::Missing { valid_from }
        }
        (AccountState::Gone, _) => AccountState::Missing { valid_from: UnixTime::new(0) },
        (now, _) => now,
    }
}

/// How long a run may take: as long as there is until the next one, and longer for large groups.
pub const TIME: Duration = Duration::from_secs(3_600);
