//! What the two labels of a role add up to.

use crate::guid::TenantId;
use crate::label::{Binding, InternalLabel, Label};

/// Whom a role belongs to by its labels, and what else they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelling {
    /// Whom it belongs to.
    pub binding: Binding,
    /// The tenant that a label names.
    pub tenant: Option<TenantId>,
    /// Whether it is labelled as the Entra administrator's.
    pub admin: bool,
    /// Whether a login must have used multi-factor authentication.
    pub mfa: bool,
    /// Whether there is any label.
    pub is_labelled: bool,
}

impl Labelling {
    /// A role without a label: it belongs to its name.
    const NONE: Self =
        Self { binding: Binding::Name, tenant: None, admin: false, mfa: false, is_labelled: false };

    /// A role whose labels cannot be read, or contradict each other: it belongs to nobody.
    const NOBODY: Self =
        Self { binding: Binding::Nobody, tenant: None, admin: true, mfa: true, is_labelled: true };

    /// Adds up the texts of the labels of provider `pgaadauth` and of Azure's internal `pgaadauth-int`.
    ///
    /// `aadauth` beside an internal id means that id, which is how Azure stores every role that was made by its
    /// name. Two ids that differ mean nobody, as does a label that cannot be read.
    pub fn of(public: Option<&str>, internal: Option<&str>) -> Self {
        let public = match public.map(str::parse::<Label>) {
            Some(Err(_)) => return Self::NOBODY,
            Some(Ok(label)) => Some(label),
            None => None,
        };
        let internal = match internal.map(str::parse::<InternalLabel>) {
            Some(Err(_)) => return Self::NOBODY,
            Some(Ok(label)) => Some(label),
            None => None,
        };
        match (public, internal) {
            (None, None) => Self::NONE,
            (Some(label), None) => Self::from(label),
            (None, Some(InternalLabel { label, tenant })) => {
                Self { tenant: Some(tenant), ..Self::from(label) }
            }
            (Some(label), Some(internal))
                if (label.binding == Binding::Name || label.binding == internal.label.binding)
                    && label.tenant.is_none_or(|tenant| tenant == internal.tenant) =>
            {
                Self {
                    binding: internal.label.binding,
                    tenant: Some(internal.tenant),
                    admin: label.admin || internal.label.admin,
                    ..Self::from(label)
                }
            }
            (Some(_), Some(_)) => Self::NOBODY,
        }
    }

    /// Whether a login that `other` refuses may pass by these labels.
    pub fn is_wider_than(&self, other: &Self) -> bool {
        self.binding != other.binding
            || (other.mfa && !self.mfa)
            || (other.admin && !self.admin)
            || (other.tenant.is_some() && self.tenant != other.tenant)
    }
}

impl From<Label> for Labelling {
    fn from(label: Label) -> Self {
        let Label { binding, admin, mfa, tenant } = label;
        Self { binding, tenant, admin, mfa, is_labelled: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "123cd850-d9df-40bd-94d5-c9f07b7fa203";
    const BOB: &str = "223cd850-d9df-40bd-94d5-c9f07b7fa203";

    fn public(rest: &str) -> String {
        format!("aadauth{rest}")
    }

    fn internal(oid: &str) -> String {
        format!("type=user,oid={oid},tenant_id={ANN}")
    }

    fn user(oid: &str) -> Binding {
        Binding::User(oid.parse().unwrap())
    }

    #[test]
    fn by_name_beside_an_internal_id_means_the_id_and_keeps_what_else_is_asked_for() {
        let both = Labelling::of(Some(&public(",mfa")), Some(&internal(ANN)));
        assert_eq!((both.binding, both.mfa, both.admin), (user(ANN), true, false));
        assert_eq!(both.tenant, Some(ANN.parse().unwrap()));
        for (label, extra) in [(",admin", ""), ("", ",admin"), (",admin", ",admin")] {
            let admin = Labelling::of(Some(&public(label)), Some(&format!("{}{extra}", internal(ANN))));
            assert_eq!((admin.binding, admin.admin), (user(ANN), true), "{label} beside {extra}");
        }
        // As Azure's dumps have it where only the internal label was restored.
        let internal_alone = Labelling::of(None, Some(&internal(ANN)));
        assert_eq!((internal_alone.binding, internal_alone.tenant), (user(ANN), both.tenant));
        let alone = Labelling::of(Some(&public(",mfa")), None);
        assert_eq!((alone.binding, alone.tenant), (Binding::Name, None));
    }

    #[test]
    fn two_ids_that_differ_and_a_label_that_cannot_be_read_mean_nobody() {
        let ann = public(&format!(",oid={ANN},type=user"));
        assert_eq!(Labelling::of(Some(&ann), Some(&internal(ANN))).binding, user(ANN));
        for (public, internal) in [
            (Some(ann.as_str()), Some(internal(BOB))),
            (Some(&*format!("{ann},tenant={BOB}")), Some(internal(ANN))),
            (Some("aadauth,oid=x"), None),
            (Some("aadauth,oid=x"), Some(internal(ANN))),
            (None, Some("type=user".to_owned())),
            (Some(ann.as_str()), Some("type=user".to_owned())),
        ] {
            let labelling = Labelling::of(public, internal.as_deref());
            assert_eq!(labelling, Labelling::NOBODY, "{public:?} {internal:?}");
        }
    }

    #[test]
    fn a_label_is_wider_where_it_asks_for_less() {
        let by = |public: &str| Labelling::of(Some(public), None);
        let bound = format!("aadauth,oid={ANN},type=user");
        let (id, mfa) = (by(&bound), by(&format!("{bound},mfa")));
        assert!(id.is_wider_than(&mfa) && !mfa.is_wider_than(&id) && !id.is_wider_than(&id));
        assert!(by("aadauth").is_wider_than(&id) && by("aadauth").is_wider_than(&by("aadauth,admin")));
        let with_tenant = Labelling::of(Some(&bound), Some(&internal(ANN)));
        assert!(id.is_wider_than(&with_tenant) && !with_tenant.is_wider_than(&id));
        assert!(id.is_wider_than(&Labelling::NOBODY));
        assert!(!Labelling::of(None, None).is_labelled);
    }
}
