//! What a role is bound to, as its security label says it.
//!
//! ```text
//! label  = "aadauth" *( "," part )                        -- provider "pgaadauth"
//! part   = "oid=" guid / "type=" kind / "admin" / "mfa"   -- each at most once; oid and type together
//!        / "role=" value                                  -- in their place, and without "admin"
//!        / "tenant=" guid                        -- beside an oid or a role; Azure's "tenant_id=" is read, too
//! kind   = "user" / "group" / "service"
//! value  = an app role's; between double quotes where it has "," or "="
//!
//! int    = "type=" kind ",oid=" guid ",tenant_id=" guid [ ",admin" ]   -- provider "pgaadauth-int"
//! ```
//!
//! Both as Azure Database for PostgreSQL writes them: no white space, lower-case words
//! (<https://learn.microsoft.com/azure/postgresql/security/security-manage-entra-users>), except `role=` and
//! `tenant=`, which are pgaad's own.

use std::fmt;
use std::str::FromStr;

use crate::app_role::AppRole;
use crate::guid::{ClientId, NotAGuid, ObjectId, TenantId};
pub use crate::label_error::LabelError;

/// The Entra identity that a role belongs to.
///
/// Bound by object id wherever there is one; a bound role never falls back to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// No label, or one without an object id: the role's name is compared, where that is allowed.
    Name,
    /// One user.
    User(ObjectId),
    /// One service principal or managed identity, by its object id or its application's client id.
    Service {
        /// Compared to the token's `oid`.
        object_id: ObjectId,
        /// The same GUID, compared to the token's `appid`/`azp`.
        client_id: ClientId,
    },
    /// Every member of one group.
    Group(ObjectId),
    /// Everybody, user or program, to whom the application's owner has assigned this app role.
    AppRole(AppRole),
    /// Nobody: the catalog holds a label that cannot be read.
    Nobody,
}

impl Binding {
    /// A program, by its object id or its application's client id: a label does not say which.
    ///
    /// # Errors
    /// [`NotAGuid`].
    pub fn program(id: &str) -> Result<Self, NotAGuid> {
        Ok(Self::Service { object_id: id.parse()?, client_id: id.parse()? })
    }

    /// The word for what it is: the `type` of a label that has one.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::User(_) => "user",
            Self::Service { .. } => "service",
            Self::Group(_) => "group",
            Self::AppRole(_) => "role",
            Self::Nobody => "nobody",
        }
    }

    /// The id that it is by.
    pub fn object_id(self) -> Option<ObjectId> {
        match self {
            Self::User(id) | Self::Group(id) | Self::Service { object_id: id, .. } => Some(id),
            Self::Name | Self::AppRole(_) | Self::Nobody => None,
        }
    }
}

/// A label of provider `pgaadauth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whom the role belongs to.
    pub binding: Binding,
    /// Whether the role is the Entra administrator's.
    pub admin: bool,
    /// Whether a login must have used multi-factor authentication.
    pub mfa: bool,
    /// The tenant whose tokens open the role, where it names one.
    pub tenant: Option<TenantId>,
}

/// A label of provider `pgaadauth-int`, as roles dumped on Azure carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalLabel {
    /// The same as in a [`Label`] of the other provider; `mfa` is never set.
    pub label: Label,
    /// The tenant that the object id is of.
    pub tenant: TenantId,
}

#[derive(Clone, Copy)]
enum Type {
    User,
    Group,
    Service,
}

/// The parts of a label, each at most once.
#[derive(Default)]
struct Parts<'a> {
    oid: Option<&'a str>,
    kind: Option<Type>,
    role: Option<AppRole>,
    tenant: Option<&'a str>,
    admin: Option<()>,
    mfa: Option<()>,
}

impl<'a> Parts<'a> {
    fn read(parts: impl Iterator<Item = &'a str>) -> Result<Self, LabelError> {
        let mut read = Self::default();
        for part in parts {
            match part.split_once('=') {
                Some(("oid", value)) => put(&mut read.oid, "oid", value)?,
                Some(("type", value)) => put(&mut read.kind, "type", kind(value)?)?,
                Some(("role", value)) => put(&mut read.role, "role", app_role(value)?)?,
                Some(("tenant" | "tenant_id", value)) => put(&mut read.tenant, "tenant", value)?,
                None if part == "admin" => put(&mut read.admin, "admin", ())?,
                None if part == "mfa" => put(&mut read.mfa, "mfa", ())?,
                _ => return Err(LabelError::UnknownPart(part.to_owned())),
            }
        }
        Ok(read)
    }

    fn binding(&self) -> Result<Binding, LabelError> {
        if let Some(role) = self.role {
            let excluded =
                [("oid", self.oid.is_some()), ("type", self.kind.is_some()), ("admin", self.admin.is_some())];
            let other = excluded.into_iter().find(|(_, is_there)| *is_there);
            return other
                .map_or(Ok(Binding::AppRole(role)), |(other, _)| Err(LabelError::Excluded("role", other)));
        }
        match (self.oid, self.kind) {
            (None, None) => Ok(Binding::Name),
            (None, Some(_)) => Err(LabelError::Missing("oid")),
            (Some(_), None) => Err(LabelError::Missing("type")),
            (Some(oid), Some(Type::User)) => Ok(Binding::User(id("oid", oid)?)),
            (Some(oid), Some(Type::Group)) => Ok(Binding::Group(id("oid", oid)?)),
            (Some(oid), Some(Type::Service)) => {
                Binding::program(oid).map_err(|NotAGuid| not_a_guid("oid", oid))
            }
        }
    }
}

fn put<T>(place: &mut Option<T>, part: &'static str, value: T) -> Result<(), LabelError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(LabelError::Repeated(part)),
    }
}

fn kind(value: &str) -> Result<Type, LabelError> {
    match value {
        "user" => Ok(Type::User),
        "group" => Ok(Type::Group),
        "service" => Ok(Type::Service),
        _ => Err(LabelError::UnknownType(value.to_owned())),
    }
}

/// The value of an app role, quoted where it has a comma or an equals sign.
fn app_role(text: &str) -> Result<AppRole, LabelError> {
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = quoted.or_else(|| (!text.contains([',', '='])).then_some(text));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| LabelError::NotAnAppRole(text.to_owned()))
}

/// The parts of a label: commas between double quotes separate none.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
}

fn id<T: FromStr>(part: &'static str, value: &str) -> Result<T, LabelError> {
    value.parse().map_err(|_| not_a_guid(part, value))
}

fn not_a_guid(part: &'static str, value: &str) -> LabelError {
    LabelError::NotAGuid { part, value: value.to_owned() }
}

impl Label {
    /// The label that binds a role and asks for nothing else.
    pub fn binding(binding: Binding) -> Self {
        Self { binding, admin: false, mfa: false, tenant: None }
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let mut parts = split(text);
        if parts.next() != Some("aadauth") {
            return Err(LabelError::NotAadauth);
        }
        let parts = Parts::read(parts)?;
        let tenant = parts.tenant.map(|tenant| id("tenant", tenant)).transpose()?;
        let binding = parts.binding()?;
        // Names count of the first tenant only.
        if tenant.is_some() && binding == Binding::Name {
            return Err(LabelError::Missing("oid"));
        }
        Ok(Self { binding, admin: parts.admin.is_some(), mfa: parts.mfa.is_some(), tenant })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("aadauth")?;
        if let Some(oid) = self.binding.object_id() {
            write!(f, ",oid={oid},type={}", self.binding.word())?;
        }
        if let Binding::AppRole(role) = self.binding {
            let quote = if role.as_str().contains([',', '=']) { "\"" } else { "" };
            write!(f, ",role={quote}{role}{quote}")?;
        }
        if let Some(tenant) = self.tenant {
            write!(f, ",tenant={tenant}")?;
        }
        if self.admin {
            f.write_str(",admin")?;
        }
        if self.mfa {
            f.write_str(",mfa")?;
        }
        Ok(())
    }
}

impl fmt::Display for InternalLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label { binding, admin, .. } = self.label;
        write!(f, "type={}", binding.word())?;
        if let Some(oid) = binding.object_id() {
            write!(f, ",oid={oid}")?;
        }
        write!(f, ",tenant_id={}", self.tenant)?;
        if admin { f.write_str(",admin") } else { Ok(()) }
    }
}

impl FromStr for InternalLabel {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let parts = Parts::read(text.split(','))?;
        if parts.mfa.is_some() {
            return Err(LabelError::UnknownPart("mfa".to_owned()));
        }
        let binding = match parts.binding()? {
            Binding::Name | Binding::AppRole(_) => return Err(LabelError::Missing("oid")),
            binding => binding,
        };
        let tenant = id("tenant_id", parts.tenant.ok_or(LabelError::Missing("tenant_id"))?)?;
        let label = Label { binding, admin: parts.admin.is_some(), mfa: false, tenant: None };
        Ok(Self { label, tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "123cd850-d9df-40bd-94d5-c9f07b7fa203";

    #[test]
    fn what_azure_writes_is_read_and_printed_back() {
        for text in [
            "aadauth".to_owned(),
            "aadauth,admin".to_owned(),
            "aadauth,mfa".to_owned(),
            format!("aadauth,oid={OID},type=user"),
            format!("aadauth,oid={OID},type=group,admin"),
            format!("aadauth,oid={OID},type=service,admin,mfa"),
            "aadauth,role=Reader".to_owned(),
            "aadauth,role=db.read:all,mfa".to_owned(),
            "aadauth,role=\"a=b,admin\"".to_owned(),
            "aadauth,role=\"a,b\",mfa".to_owned(),
            format!("aadauth,oid={OID},type=user,tenant={OID},mfa"),
            format!("aadauth,role=Reader,tenant={OID}"),
        ] {
            assert_eq!(text.parse::<Label>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_internal_label_names_its_tenant() {
        for text in [
            format!("type=user,oid={OID},tenant_id={OID}"),
            format!("type=service,oid={OID},tenant_id={OID},admin"),
        ] {
            assert_eq!(text.parse::<InternalLabel>().unwrap().to_string(), text);
        }
        let label: InternalLabel = format!("type=user,oid={OID},tenant_id={OID},admin").parse().unwrap();
        assert_eq!(label.label.to_string(), format!("aadauth,oid={OID},type=user,admin"));
        assert_eq!(label.tenant.to_string(), OID);
        let error = format!("type=user,oid={OID}").parse::<InternalLabel>().unwrap_err();
        assert_eq!(error, LabelError::Missing("tenant_id"));
        let error = format!("tenant_id={OID}").parse::<InternalLabel>().unwrap_err();
        assert_eq!(error, LabelError::Missing("oid"));
    }

    #[test]
    fn a_malformed_label_says_which_part_is_wrong() {
        for (text, says) in [
            ("", "begin with \"aadauth\""),
            ("AADAUTH", "begin with \"aadauth\""),
            ("aadauth,", "\"\" is none of"),
            ("aadauth, admin", "\" admin\" is none of"),
            ("aadauth,Admin", "\"Admin\" is none of"),
            ("aadauth,admin,admin", "\"admin\" is there twice"),
            ("aadauth,type=user", "\"oid\" is missing"),
            ("aadauth,oid=123cd850-d9df-40bd-94d5-c9f07b7fa203", "\"type\" is missing"),
            ("aadauth,oid=alice,type=user", "oid: \"alice\" is not of the form"),
            ("aadauth,oid=123cd850-d9df-40bd-94d5-c9f07b7fa203,type=robot", "\"robot\" is none of user"),
            ("aadauth,role=", "role:  is not the value"),
            ("aadauth,role=a=b", "lacks double quotes"),
            ("aadauth,role=two words", "is not the value of an app role"),
            ("aadauth,role=\"a", "is not the value of an app role"),
            ("aadauth,role=a\"b\"", "is not the value of an app role"),
            ("aadauth,role=\"a,admin", "is not the value of an app role"),
            ("aadauth,role=a,role=b", "\"role\" is there twice"),
            ("aadauth,role=a,admin", "\"role\" and \"admin\" do not go together"),
            ("aadauth,role=a,type=user", "\"role\" and \"type\" do not go together"),
            ("aadauth,oid=123cd850-d9df-40bd-94d5-c9f07b7fa203,type=user,role=a", "\"role\" and \"oid\""),
            ("aadauth,tenant=123cd850-d9df-40bd-94d5-c9f07b7fa203", "\"oid\" is missing"),
            ("aadauth,role=a,tenant=contoso.com", "tenant: \"contoso.com\" is not of the form"),
            (
                "aadauth,role=a,tenant=123cd850-d9df-40bd-94d5-c9f07b7fa203,tenant_id=123cd850-d9df-40bd-94d5-c9f07b7fa203",
                "\"tenant\" is there twice",
            ),
        ] {
            let error = text.parse::<Label>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
