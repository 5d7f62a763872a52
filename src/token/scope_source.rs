use crate::error::ConfigError;

/// Where a token's scopes are found.
///
/// RFC 9068 §2.2.3 knows one place, the claim `scope`, a string of scopes with spaces between.
/// Authorization servers know more. Each claim named here may be such a string or an array of
/// strings; if there are several, the token's scopes are those of all of them. An element that
/// isn't a scope by RFC 6749 §3.3, such as a role with a space, grants nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScopeSource {
    /// Paths into the claims object, each of at least one name.
    paths: Vec<Box<[Box<str>]>>,
}

impl ScopeSource {
    fn paths<const N: usize>(paths: [&[&str]; N]) -> Self {
        let path = |path: &[&str]| path.iter().map(|name| Box::from(*name)).collect();
        Self { paths: paths.into_iter().map(path).collect() }
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

    /// Microsoft Entra: `scp`, a string, for delegated permissions; `roles`, an array, for
    /// application permissions.
    pub fn entra() -> Self {
        Self::paths([&["scp"], &["roles"]])
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

    /// A claim of this name at the top level.
    ///
    /// A dot in the name is a part of it, and leads into no object.
    ///
    /// # Errors
    ///
    /// If the claim is one that means something else already, such as `sub`, or has no name.
    pub fn claim(name: &str) -> Result<Self, ConfigError> {
        const TAKEN: [&str; 12] = [
            "iss",
            "sub",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "client_id",
            "cnf",
            "nonce",
            "at_hash",
            "c_hash",
        ];
        if name.is_empty() {
            return Err(ConfigError::new("the claim that holds the scopes has no name: give one"));
        }
        if TAKEN.contains(&name) {
            return Err(ConfigError::new(format!(
                "the claim {name:?} can't hold scopes, it means something else: name another"
            )));
        }
        Ok(Self::paths([&[name]]))
    }

    /// Adds the places of another source.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        self
    }

    /// Tells whether the top-level claim of this name holds scopes.
    pub(crate) fn has_claim(&self, name: &str) -> bool {
        self.paths.iter().any(|path| matches!(&**path, [only] if &**only == name))
    }

    /// Returns the paths that lead into nested objects.
    pub(crate) fn nested(&self) -> impl Iterator<Item = &[Box<str>]> {
        self.paths.iter().map(AsRef::as_ref).filter(|path: &&[Box<str>]| path.len() > 1)
    }
}

impl Default for ScopeSource {
    fn default() -> Self {
        Self::standard()
    }
}
