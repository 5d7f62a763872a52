//! Where the scopes of a token are found, for servers that don't follow RFC 9068.

use crate::error::ConfigError;
use crate::token::taken::is_taken;

/// Where a token's scopes are found.
///
/// RFC 9068 §2.2.3 knows one place, the claim `scope`, a string of scopes separated by spaces.
/// Authorization servers know more. Each claim named here may be such a string or an array of
/// strings, or, with [`names_of`](Self::names_of) and [`values_of`](Self::values_of), an object; if
/// there are several, the token's scopes are those of all of them. An element that isn't a scope by
/// RFC 6749 §3.3, such as a role with a space, grants nothing. A claim of another shape makes the token
/// malformed.
///
/// ```
/// use tower_bearer::token::ScopeSource;
///
/// // {"scope": "orders:read", "https://my.example/teams": {"ops": {}, "sales": {}}}
/// let source = ScopeSource::rfc9068().and(ScopeSource::names_of(["https://my.example/teams"])?);
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopeSource {
    places: Vec<ScopeClaim>,
    instead: Option<Instead>,
}

/// A claim that holds scopes in tokens without another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Instead {
    pub(crate) claim: &'static str,
    pub(crate) of: &'static str,
}

/// One place of scopes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ScopeClaim {
    /// A path into the claims object, of at least one name.
    pub(crate) path: Box<[Box<str>]>,
    pub(crate) shape: Shape,
}

/// What the claim holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// A string of scopes, or an array with one scope per element.
    Scopes,
    /// An object, whose names are the scopes.
    Names,
    /// An object, whose values are what `Scopes` are.
    Values,
}

/// Claims that can't hold scopes either.
const NEVER_SCOPES: [&str; 3] = ["sub", "client_id", "nonce"];

/// The greatest depth of a claim with scopes: no token has deeper objects.
const MAX_DEPTH: usize = 16;

impl ScopeSource {
    fn paths<const N: usize>(paths: [&[&str]; N]) -> Self {
        Self::of(paths.into_iter().map(|path| ScopeClaim::new(path, Shape::Scopes)).collect())
    }

    fn names(path: &[&str]) -> Self {
        Self::of(vec![ScopeClaim::new(path, Shape::Names)])
    }

    const fn of(places: Vec<ScopeClaim>) -> Self {
        Self { places, instead: None }
    }

    /// `scope` and `scp`: the default.
    pub fn standard() -> Self {
        Self::paths([&["scope"], &["scp"]])
    }

    /// `scope` alone, as in RFC 9068.
    pub fn rfc9068() -> Self {
        Self::paths([&["scope"]])
    }

    /// Okta: `scp`, an array.
    pub fn okta() -> Self {
        Self::paths([&["scp"]])
    }

    /// Microsoft Entra: `scp`, a string, for delegated permissions; in tokens without it, which applications
    /// get for themselves, `roles`, an array, for application permissions.
    ///
    /// A user's token has the user's app roles in `roles`, which grant nothing here, whatever their names are:
    /// read them as the claim that they are, with
    /// [`keep_claims(["roles"])`](crate::ValidatorBuilder::keep_claims). To have them count as scopes
    /// nevertheless, add [`claim("roles")`](Self::claim) by [`and`](Self::and).
    pub fn entra() -> Self {
        let instead = Some(Instead { claim: "roles", of: "scp" });
        Self { instead, ..Self::paths([&["scp"]]) }
    }

    /// Auth0 with role-based access control: `permissions`, an array.
    pub fn auth0_permissions() -> Self {
        Self::paths([&["permissions"]])
    }

    /// Keycloak's realm roles, `realm_access.roles`, beside `scope`.
    pub fn keycloak_realm_roles() -> Self {
        Self::paths([&["scope"], &["realm_access", "roles"]])
    }

    /// Keycloak's roles of one client, `resource_access.<client>.roles`, beside `scope`. Roles that
    /// are held on another client don't count.
    pub fn keycloak_client_roles(client: &str) -> Self {
        Self::paths([&["scope"], &["resource_access", client, "roles"]])
    }

    /// Zitadel's roles in the project that the token was requested for: the names of the object
    /// `urn:zitadel:iam:org:project:roles`.
    ///
    /// The object's values say in which organizations a role is held; the role counts in any of
    /// them. A service that several organizations share must check the values itself.
    pub fn zitadel_roles() -> Self {
        Self::names(&[ZITADEL_ROLES])
    }

    /// Zitadel's roles in one project: the names of `urn:zitadel:iam:org:project:<project>:roles`.
    /// As for [`zitadel_roles`](Self::zitadel_roles), organizations aren't considered.
    pub fn zitadel_project_roles(project: &str) -> Self {
        Self::names(&[&format!("{ZITADEL_PROJECT}{project}:roles")])
    }

    /// A claim of this name at the top level.
    ///
    /// # Errors
    ///
    /// If the claim has another meaning, such as `sub`, or no name; or if the name looks like a path into
    /// an object, such as `realm_access.roles`, or is known to be that of an object: the error names what
    /// to use instead.
    pub fn claim(name: &str) -> Result<Self, ConfigError> {
        if let Some(remedy) = object_remedy(name) {
            return Err(ConfigError::new(format!(
                "no claim {name:?} is a string or an array of scopes: use {remedy}"
            )));
        }
        Self::at([name], Shape::Scopes)
    }

    /// A claim within objects, each name leading one object deeper: 1 to 16 names.
    ///
    /// A dot in a name is a part of it: `path(["realm_access", "roles"])` is a claim in an object,
    /// `path(["example.roles"])` one at the top level.
    ///
    /// # Errors
    ///
    /// If there is no name, too many, or an empty one, or if the first is a claim with another
    /// meaning, such as `sub`.
    pub fn path<'a>(path: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        Self::at(path, Shape::Scopes)
    }

    /// The names of an object's members, each of which is a scope: `{"orders:read": …}`. One whose
    /// value is `false` or `null` grants nothing; otherwise the values aren't considered.
    ///
    /// The path is as for [`path`](Self::path), one name for a claim at the top level.
    ///
    /// # Errors
    ///
    /// As for [`path`](Self::path).
    pub fn names_of<'a>(path: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        Self::at(path, Shape::Names)
    }

    /// The values of an object's members, each a string or an array of strings:
    /// `{"shop": ["orders:read"], "billing": "invoices:read"}`. The names aren't considered.
    ///
    /// The path is as for [`path`](Self::path), one name for a claim at the top level.
    ///
    /// # Errors
    ///
    /// As for [`path`](Self::path).
    pub fn values_of<'a>(path: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        Self::at(path, Shape::Values)
    }

    fn at<'a>(path: impl IntoIterator<Item = &'a str>, shape: Shape) -> Result<Self, ConfigError> {
        let path: Vec<&str> = path.into_iter().collect();
        if path.is_empty() || path.iter().any(|name| name.is_empty()) {
            return Err(ConfigError::new("the claim that holds the scopes has no name: give one"));
        }
        if let Some(name) = path.iter().find(|name| name.trim() != **name) {
            return Err(ConfigError::new(format!(
                "the claim {name:?} begins or ends with a space: no claim with scopes does, take it \
                 away"
            )));
        }
        if path.len() > MAX_DEPTH {
            return Err(ConfigError::new(format!(
                "a claim {} objects deep can't hold scopes: no token is read deeper than {MAX_DEPTH}",
                path.len()
            )));
        }
        if let Some(name) = path.first().filter(|name| is_taken(name, &NEVER_SCOPES)) {
            return Err(ConfigError::new(format!(
                "the claim {name:?} can't hold scopes, it has another meaning: name another"
            )));
        }
        Ok(Self::of(vec![ScopeClaim::new(&path, shape)]))
    }

    /// Adds the places of another source.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.places.extend(other.places);
        let instead = self.instead.or(other.instead);
        self.instead = instead.filter(|instead| !self.has_always(instead.claim));
        self
    }

    /// Returns `true` if the top-level claim of this name may hold scopes itself.
    pub(crate) fn has_claim(&self, name: &str) -> bool {
        self.has_always(name) || self.instead.is_some_and(|instead| instead.claim == name)
    }

    /// The same, whatever other claims there are.
    pub(crate) fn has_always(&self, name: &str) -> bool {
        self.places.iter().any(|place| place.flat() == Some(name))
    }

    /// Returns the claim that holds scopes in tokens without another one, if there is one.
    pub(crate) const fn instead(&self) -> Option<Instead> {
        self.instead
    }

    /// Returns the places within objects.
    pub(crate) fn nested(&self) -> impl Iterator<Item = &ScopeClaim> {
        self.places.iter().filter(|place| place.flat().is_none())
    }
}

impl ScopeClaim {
    fn new(path: &[&str], shape: Shape) -> Self {
        Self { path: path.iter().map(|name| Box::from(*name)).collect(), shape }
    }

    /// Returns the claim's name if it is at the top level and isn't an object.
    fn flat(&self) -> Option<&str> {
        match (&*self.path, self.shape) {
            ([only], Shape::Scopes) => Some(only),
            _ => None,
        }
    }
}

const ZITADEL_ROLES: &str = "urn:zitadel:iam:org:project:roles";
const ZITADEL_PROJECT: &str = "urn:zitadel:iam:org:project:";

/// Returns what to use instead of a claim's name that can't be right.
fn object_remedy(name: &str) -> Option<String> {
    let nested = |names: &[&str]| format!("ScopeSource::path({names:?})");
    match name {
        ZITADEL_ROLES => return Some("ScopeSource::zitadel_roles()".into()),
        "realm_access" => return Some("ScopeSource::keycloak_realm_roles()".into()),
        "resource_access" => return Some("ScopeSource::keycloak_client_roles(…)".into()),
        _ => {}
    }
    let project = name.strip_prefix(ZITADEL_PROJECT).and_then(|name| name.strip_suffix(":roles"));
    if let Some(project) = project {
        return Some(format!("ScopeSource::zitadel_project_roles({project:?})"));
    }
    // Keycloak's, however the path is written: `realm_access/roles`, `resource_access[a].roles`.
    let beyond = |object: &str| {
        let rest = name.strip_prefix(object)?;
        (rest.starts_with(['/', '[']) && rest.contains("roles")).then_some(())
    };
    if beyond("realm_access").is_some() {
        return Some("ScopeSource::keycloak_realm_roles()".into());
    }
    if beyond("resource_access").is_some() {
        return Some("ScopeSource::keycloak_client_roles(…)".into());
    }
    // In URIs and in names such as `example.com/roles`, dots are part of the name.
    if name.contains(':') || name.find('/').is_some_and(|at| at > 0) {
        return None;
    }
    // `a.b`, `$.a.b` of JSONPath, `/a/b` of a JSON Pointer.
    let inner = name.strip_prefix("$.").unwrap_or(name);
    let names: Vec<&str> = match inner.strip_prefix('/') {
        Some(pointer) => pointer.split('/').collect(),
        None => inner.split('.').collect(),
    };
    match names.as_slice() {
        [_] if inner == name => None,
        ["realm_access", "roles"] => Some(format!(
            "ScopeSource::keycloak_realm_roles(), or {} without \"scope\"",
            nested(&names)
        )),
        ["resource_access", client @ .., "roles"] if !client.is_empty() => {
            let client = client.join(".");
            Some(format!(
                "ScopeSource::keycloak_client_roles({client:?}), or {} without \"scope\"",
                nested(&["resource_access", &client, "roles"])
            ))
        }
        _ => Some(format!(
            "{} for a claim within objects, or {} if that is the whole name of a claim",
            nested(&names),
            nested(&[name])
        )),
    }
}

impl Default for ScopeSource {
    fn default() -> Self {
        Self::standard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fb9_a_claim_that_is_a_path_or_an_object_is_an_error_that_names_the_remedy() {
        for (claim, remedy) in [
            ("realm_access.roles", "keycloak_realm_roles()"),
            ("$.realm_access.roles", "keycloak_realm_roles()"),
            ("/realm_access/roles", "keycloak_realm_roles()"),
            ("realm_access", "keycloak_realm_roles()"),
            ("realm_access/roles", "keycloak_realm_roles()"),
            ("realm_access[\"roles\"]", "keycloak_realm_roles()"),
            ("resource_access[shop].roles", "keycloak_client_roles(…)"),
            ("resource_access.shop.roles", "keycloak_client_roles(\"shop\")"),
            ("resource_access.shop.example.roles", "keycloak_client_roles(\"shop.example\")"),
            ("resource_access", "keycloak_client_roles(…)"),
            ("urn:zitadel:iam:org:project:roles", "zitadel_roles()"),
            ("urn:zitadel:iam:org:project:2867:roles", "zitadel_project_roles(\"2867\")"),
            ("a.b", "path([\"a\", \"b\"])"),
            ("a.b", "path([\"a.b\"])"),
        ] {
            let error = ScopeSource::claim(claim).unwrap_err().to_string();
            assert!(error.contains(remedy), "{error}");
        }
        for claim in [
            "roles",
            "https://my.example/roles",
            "urn:example:roles.all",
            "my.example/roles",
            "my-roles",
            "realm_access_roles",
        ] {
            assert!(ScopeSource::claim(claim).is_ok(), "{claim}");
        }
        assert!(ScopeSource::path(["example.roles"]).is_ok());
    }

    #[test]
    fn fb8_a_path_must_lead_somewhere() {
        for path in [&[][..], &[""], &["a", ""], &[" a"], &["a", "b "], &["sub"], &["aud", "x"]] {
            assert!(ScopeSource::path(path.iter().copied()).is_err(), "{path:?}");
            assert!(ScopeSource::names_of(path.iter().copied()).is_err(), "{path:?}");
            assert!(ScopeSource::values_of(path.iter().copied()).is_err(), "{path:?}");
        }
        assert!(ScopeSource::path(["a"; 17]).is_err());
        assert!(ScopeSource::path(["a"; 16]).is_ok());
    }
}
