//! The settings: their names, defaults and meaning.

use std::ffi::CStr;

/// One setting of `postgresql.conf`.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    name: &'static CStr,
    default: &'static CStr,
    description: &'static CStr,
    is_hidden: bool,
    needs_restart: bool,
}

impl Setting {
    const fn new(name: &'static CStr, default: &'static CStr, description: &'static CStr) -> Self {
        Self { name, default, description, is_hidden: false, needs_restart: false }
    }

    const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    const fn at_start(mut self) -> Self {
        self.needs_restart = true;
        self
    }

    /// The full name.
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// The full name, as PostgreSQL takes it.
    pub const fn c_name(&self) -> &'static CStr {
        self.name
    }

    /// The value that is in force where nobody has written one.
    pub const fn default_value(&self) -> &'static CStr {
        self.default
    }

    /// One sentence, for `pg_settings.short_desc`.
    pub const fn description(&self) -> &'static CStr {
        self.description
    }

    /// Whether only a restart of the server changes it.
    pub const fn needs_restart(&self) -> bool {
        self.needs_restart
    }

    /// Whether the value is shown to superusers and `pg_read_all_settings` only, and repeated nowhere.
    pub const fn is_hidden(&self) -> bool {
        self.is_hidden
    }
}

macro_rules! settings {
    ($( $item:ident $name:literal $default:literal $description:literal $($flag:ident)?; )+) => {
        $( pub(super) static $item: Setting = Setting::new($name, $default, $description)$(.$flag())?; )+

        /// How many there are.
        pub const COUNT: usize = [$( $name, )+].len();

        /// All settings under `pgaad.`, in the order of the README.
        pub static TABLE: [&Setting; COUNT] = [ $( &$item, )+ ];
    };
}

settings! {
    TENANT_ID c"pgaad.tenant_id" c""
        c"GUID of the Entra tenant whose tokens are accepted, or of up to 8. Empty refuses every token.";
    CLOUD c"pgaad.cloud" c"public"
        c"Microsoft cloud of the tenant: public, usgov or china.";
    AUDIENCE c"pgaad.audience" c""
        c"Accepted audiences, separated by commas. Empty means the cloud's Azure database resource.";
    SCOPE c"pgaad.scope" c""
        c"Accepted scopes of users' tokens, separated by commas; one of them must be in scp. Empty accepts any.";
    AUTHORITY c"pgaad.authority" c""
        c"Base URL of the identity provider, https only. Empty means the cloud's.";
    CA_FILE c"pgaad.ca_file" c""
        c"PEM file of certificate authorities to trust for the provider besides the system's.";
    HTTPS_PROXY c"pgaad.https_proxy" c""
        c"Proxy for reaching the provider, http://host:port. Environment variables are ignored." hidden;
    JWKS_FILE c"pgaad.jwks_file" c""
        c"File with the tenant's JWK set, for machines that cannot reach the provider; read again on reload.";
    REFRESH_INTERVAL c"pgaad.refresh_interval" c"1h"
        c"Time between regular fetches of the keys.";
    REFRESH_COOLDOWN c"pgaad.refresh_cooldown" c"30s"
        c"Least time between fetches that logins with unknown keys can cause.";
    MAX_STALE c"pgaad.max_stale" c"24h"
        c"How long the last good keys serve while the provider is away, or jwks_file is not replaced.";
    KEY_WAIT c"pgaad.key_wait" c"3s"
        c"How long a login with an unknown key waits for the fetch it caused.";
    CLOCK_SKEW c"pgaad.clock_skew" c"300s"
        c"By how much the clocks of Entra and this server may differ.";
    MAX_TOKEN_BYTES c"pgaad.max_token_bytes" c"32kB"
        c"Longest token accepted.";
    REQUIRE_TLS c"pgaad.require_tls" c"on"
        c"Ask for a token only over TLS, GSS encryption, a Unix socket or loopback.";
    NAME_MATCH c"pgaad.name_match" c"on"
        c"Admit a role without object id to the user or program whose name it has.";
    GROUP_NAME_MATCH c"pgaad.group_name_match" c"off"
        c"Admit a role without object id to the members of the group whose name it has. Group names are not unique.";
    ALLOW_TRUST c"pgaad.allow_trust" c"off"
        c"Ask members of azure_ad_user for a token on trust lines; off refuses them there.";
    ALLOW_SUPERUSER c"pgaad.allow_superuser" c"off"
        c"Admit superusers with a token.";
    ADMINS_MAKE_ADMINS c"pgaad.admins_make_admins" c"off"
        c"Let Entra administrators make others, by pgaadauth_create_principal_with_oid.";
    ALLOW_OTHER_METHODS c"pgaad.allow_other_methods" c"off"
        c"Methods without a token by which members of azure_ad_user may log in: off, on (all but trust), or a list.";
    GUARD_TRUST c"pgaad.guard_trust" c"remote"
        c"Which trust logins of other roles to refuse: remote, all or off.";
    SERVER_NAME c"pgaad.server_name" c""
        c"Server name that user names may end with, as user@tenant@server; the role is the one without it.";
    LOG_LOGINS c"pgaad.log_logins" c"all"
        c"Which decisions to log: all, refused or none.";
    SESSION_END c"pgaad.session_end" c"never"
        c"When to end a session: never, token: when its token expires, or directory: when that says no, too.";
    DIRECTORY c"pgaad.directory" c"off"
        c"Whether a background worker reads groups and accounts from Microsoft Graph." at_start;
    GRAPH_URL c"pgaad.graph_url" c""
        c"Base URL of Microsoft Graph, https only. Empty means the cloud's.";
    DIRECTORY_CREDENTIAL c"pgaad.directory_credential" c""
        c"How pgaad signs in to Microsoft Graph: secret_file:, certificate: or federated: and a path, imds or arc."
        hidden;
    DIRECTORY_CLIENT_ID c"pgaad.directory_client_id" c""
        c"Application (client) id of the registration that the credential belongs to.";
    DIRECTORY_INTERVAL c"pgaad.directory_interval" c"5min"
        c"Time between regular runs that read the directory.";
    DIRECTORY_MAX_STALE c"pgaad.directory_max_stale" c"24h"
        c"How long the last complete answer of the directory lets members of a group in.";
    DIRECTORY_NESTED c"pgaad.directory_nested" c"on"
        c"Whether members of groups inside a group are its members.";
    DIRECTORY_PROGRAMS c"pgaad.directory_programs" c"cast"
        c"How programs among the members of a group are read: cast, beta or off.";
    DIRECTORY_ACCOUNTS c"pgaad.directory_accounts" c"off"
        c"Whether disabled and deleted users, and those with revoked sessions, are refused.";
}
