//! What the catalogs say of a role.

use crate::guid::TenantId;
use crate::label::Binding;
use crate::time::UnixTime;

/// What the catalog says of a role, read at this very login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// `pg_authid.oid`.
    pub oid: u32,
    /// `pg_authid.rolname`; empty when it is not UTF-8, as no name in a token is.
    pub name: String,
    /// The role's security label.
    pub binding: Binding,
    /// Whether it has a security label, whatever that says.
    pub is_labelled: bool,
    /// The tenant that the label names, where it names one (`pgaadauth-int`).
    pub label_tenant: Option<TenantId>,
    /// Whether it is a *direct* member of `azure_ad_user`.
    pub is_member: bool,
    /// Whether it is a direct member of `azure_ad_admin`, or its label says so.
    pub is_admin: bool,
    /// Whether its label or `azure_ad_mfa` demands multi-factor authentication.
    pub needs_mfa: bool,
    /// `rolcanlogin`.
    pub can_login: bool,
    /// `rolsuper`.
    pub is_superuser: bool,
    /// `rolvaliduntil`, whole seconds; `None` for no limit.
    pub valid_until: Option<UnixTime>,
}

impl RoleFacts {
    /// Whether it is a superuser's or an administrator's: then only superusers shut out whom it belongs to.
    pub fn is_protected(&self) -> bool {
        self.is_superuser || self.is_admin
    }
}
