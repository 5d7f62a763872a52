//! What a layer requires, as security schemes and requirements of OpenAPI 3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::Method;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::middleware::layer::BearerAuthLayer;
use crate::middleware::routes::access::{Kind, Rule, Rules};
use crate::middleware::routes::methods::Methods;
use crate::middleware::routes::nesting::Paths;
use crate::middleware::routes::table::RouteTable;
use crate::scope::Requirement;

/// The methods that an OpenAPI path item has.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::PATCH,
    Method::TRACE,
];

/// The name of the security scheme; those of further issuers have a number after it.
const SCHEME: &str = "access_token";

/// What a layer requires, in the terms of OpenAPI 3.1: returned by
/// [`BearerAuthLayer::openapi`](crate::BearerAuthLayer::openapi).
///
/// As JSON (`Serialize`, or `Display`), it is a document with `components.securitySchemes`, `security` for
/// requests without an entry of the route table, and `paths` with the `security` of each entry, to be merged
/// into the application's own; [`security`](Self::security) returns that of a single operation. Routes that
/// are denied or [hidden](crate::Access::hide_existence) aren't in it.
///
/// The scheme is called `access_token` and has the type `openIdConnect`, with the issuer's OpenID
/// configuration; of several issuers, each has a scheme, `access_token_2` and so on, and one of them suffices.
/// Issuers without such an address, and all of them after [`as_bearer`](Self::as_bearer), are described by
/// the type `http` with the scheme `bearer`, whose scopes OpenAPI 3.1 calls roles.
///
/// Conditions, proofs of possession and implied scopes can't be expressed in OpenAPI.
#[derive(Clone)]
pub struct OpenApi {
    table: Option<RouteTable>,
    otherwise: Rule,
    issuers: Vec<String>,
    bearer: bool,
}

impl<C> BearerAuthLayer<C> {
    /// Returns what this layer requires, for an OpenAPI document.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::Method;
    /// use serde_json::{Value, json};
    /// use tower_bearer::{Access, BearerAuthLayer, RouteTable, Validator};
    ///
    /// # let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// # let keys = tower_bearer::jwks::Jwks::static_set("https://issuer.example", set)?;
    /// let validator = Validator::builder("https://issuer.example", "https://api.example")
    /// #   .keys(keys)
    ///     .build()?;
    /// let routes = RouteTable::builder()
    ///     .route(Method::GET, "/orders/{id}", Access::scope("orders:read"))
    ///     .any("/health", Access::public())
    ///     .build()?;
    /// let openapi = BearerAuthLayer::new(validator).routes(routes).openapi();
    ///
    /// // The application's document, from utoipa, aide, or a file.
    /// let mut document: Value = json!({"openapi": "3.1.0", "paths": {"/orders/{id}": {"get": {}}}});
    /// document["components"]["securitySchemes"] = serde_json::to_value(openapi.security_schemes())?;
    /// for (path, operations) in document["paths"].as_object_mut().ok_or("no paths")? {
    ///     for (method, operation) in operations.as_object_mut().ok_or("no path item")? {
    ///         // Beside the methods there may be `parameters` and the like.
    ///         let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
    ///         if let Some(security) = openapi.security(&method, path) {
    ///             operation["security"] = serde_json::to_value(security)?;
    ///         }
    ///     }
    /// }
    /// assert_eq!(
    ///     document["paths"]["/orders/{id}"]["get"]["security"],
    ///     json!([{"access_token": ["orders:read"]}])
    /// );
    /// assert_eq!(
    ///     document["components"]["securitySchemes"]["access_token"]["openIdConnectUrl"],
    ///     "https://issuer.example/.well-known/openid-configuration"
    /// );
    /// # Ok(())
    /// # }
    /// ```
    pub fn openapi(&self) -> OpenApi {
        let (validator, settings) = self.parts();
        let issuers = validator.authorization_servers().now();
        OpenApi {
            table: settings.map.table().cloned(),
            otherwise: settings.otherwise.clone(),
            issuers: issuers.names.clone(),
            // A scheme for some of the issuers would say that the others' tokens aren't accepted, and one for each
            // tenant would fill the document with them.
            bearer: !issuers.patterns.is_empty() || issuers.has_tenants,
        }
    }
}

impl OpenApi {
    /// Describes all issuers by one scheme of the type `http`: for issuers without an OpenID
    /// configuration.
    #[must_use]
    pub fn as_bearer(self) -> Self {
        Self { bearer: true, ..self }
    }

    /// Returns the security schemes by name, for `components.securitySchemes`.
    pub fn security_schemes(&self) -> BTreeMap<String, BTreeMap<&'static str, String>> {
        let scheme = |(name, url)| {
            let scheme = match url {
                Some(url) => {
                    vec![("type", "openIdConnect".to_owned()), ("openIdConnectUrl", url)]
                }
                None => {
                    let jwt = ("bearerFormat", "JWT".to_owned());
                    vec![("type", "http".to_owned()), ("scheme", "bearer".to_owned()), jwt]
                }
            };
            (name, scheme.into_iter().collect())
        };
        self.schemes().into_iter().map(scheme).collect()
    }

    /// Returns the `security` of an operation: the alternatives, each with the scopes by scheme. No alternatives
    /// mean that no token is read, and an empty one that a token is optional.
    ///
    /// The path can be a template, such as `/orders/{id}`. Returns `None` for what is denied, hidden,
    /// or refused for its path. Of more than 64 alternatives, the first 64 are returned.
    pub fn security(
        &self,
        method: &Method,
        path: &str,
    ) -> Option<Vec<BTreeMap<String, Vec<String>>>> {
        let paths =
            Paths { full: path, current: path, matched: None, nested: None, parameters: None };
        match &self.table {
            None => self.of_rules(&Rules::from(&self.otherwise)),
            Some(table) => {
                let rules = table.select(Methods::One(method), paths, &self.otherwise).ok()?;
                self.of_rules(&rules)
            }
        }
    }

    /// Returns the names of the schemes, with the address of the OpenID configuration if there is one.
    fn schemes(&self) -> Vec<(String, Option<String>)> {
        let is_url = |issuer: &String| issuer.starts_with("https://");
        if self.bearer || self.issuers.is_empty() || !self.issuers.iter().all(is_url) {
            return vec![(SCHEME.to_owned(), None)];
        }
        let numbered = (1..).zip(&self.issuers).map(|(number, issuer)| {
            let name = if number == 1 { SCHEME.to_owned() } else { format!("{SCHEME}_{number}") };
            let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
            (name, Some(format!("{issuer}/.well-known/openid-configuration")))
        });
        numbered.collect()
    }

    fn of_rules(&self, rules: &Rules<'_>) -> Option<Vec<BTreeMap<String, Vec<String>>>> {
        if rules.iter().any(|rule| rule.hides() || matches!(rule.kind, Kind::Denied)) {
            return None;
        }
        if rules.are_public() {
            return Some(Vec::new());
        }
        let mut security = Vec::new();
        if rules.iter().all(Rule::needs_no_token) {
            security.push(BTreeMap::new());
        }
        for scopes in rules.alternatives() {
            for (name, _) in self.schemes() {
                let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
                security.push(BTreeMap::from([(name, scopes)]));
            }
        }
        Some(security)
    }

    fn document(&self) -> Value {
        let mut paths = Map::new();
        for entry in self.table.iter().flat_map(RouteTable::entries) {
            // OpenAPI has no parameter of several segments: only its name is kept.
            let template = entry.pattern().replace("{*", "{");
            for method in METHODS {
                if entry.method().is_some_and(|listed| *listed != method) {
                    continue;
                }
                if let Some(security) = self.security(&method, entry.pattern()) {
                    let name = method.as_str().to_ascii_lowercase();
                    let path = paths.entry(template.clone()).or_insert_with(|| json!({}));
                    if let Some(path) = path.as_object_mut() {
                        path.insert(name, json!({ "security": security }));
                    }
                }
            }
        }
        let mut document = json!({
            "components": { "securitySchemes": self.security_schemes() },
            "paths": paths,
        });
        if let Some(security) = self.of_rules(&Rules::from(&self.otherwise))
            && let Some(document) = document.as_object_mut()
        {
            document.insert("security".to_owned(), json!(security));
        }
        document
    }
}

impl Rules<'_> {
    /// Returns the sets of scopes, each of which suffices.
    pub(crate) fn alternatives(&self) -> Vec<BTreeSet<&str>> {
        let requirements = self.iter().filter_map(Rule::requirement);
        let alternatives = requirements.map(|requirement| requirement.alternatives());
        alternatives.fold(vec![BTreeSet::new()], |ways, more| Requirement::combined(&ways, &more))
    }
}

impl Serialize for OpenApi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document().serialize(serializer)
    }
}

impl fmt::Display for OpenApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.document())
    }
}

impl fmt::Debug for OpenApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
