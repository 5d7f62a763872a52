use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use http::Method;
use matchit::Router;

use crate::error::ConfigError;
use crate::middleware::access::{Access, Rule, Rules};
use crate::middleware::path;

/// Who may do what: `(method, path pattern) → access`.
///
/// Patterns are those of axum: `/users/{id}`, and `/files/{*rest}` for all below `/files/`, but not
/// `/files` or `/files/` themselves. Of several that fit, the most specific one decides that has an
/// entry for the request's method. `GET` is also for `HEAD`, unless that is listed.
///
/// A path is the full path of the request, before any router has taken a prefix away. Within axum,
/// if something rewrote the path before it was routed, so that axum's `MatchedPath` isn't of the
/// form of the original path, `MatchedPath` is looked up in its place.
///
/// With a table, a path that can be read in two ways is refused with 400, since the router behind
/// may read it in the other way: empty segments (`//`), dot segments, an encoded slash, backslash or
/// NUL, a backslash, an encoded character that needs no encoding, a broken escape. Routers also
/// differ about other escapes, and about a slash at the end: if a path has another entry when it is
/// decoded, or without that slash, then the access of both entries is needed.
///
/// ```
/// use http::Method;
/// use tower_bearer::middleware::{Access, RouteTable, Unmatched};
///
/// let routes = RouteTable::builder()
///     .route(Method::GET, "/orders/{id}", Access::scope("orders:read"))
///     .route(Method::POST, "/orders", Access::scope("orders:write"))
///     .any("/admin/{*rest}", Access::scope("admin").hide_existence())
///     .any("/health", Access::public())
///     .unmatched(Unmatched::Denied)
///     .build()?;
///
/// let twice = RouteTable::builder()
///     .route(Method::GET, "/orders/{id}", Access::token())
///     .route(Method::GET, "/orders/{order}", Access::public());
/// assert!(twice.build().is_err());
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RouteTable {
    table: Arc<Table>,
}

/// What happens to requests that no entry of a [`RouteTable`] is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unmatched {
    /// They need a valid token, of whatever scopes.
    #[default]
    TokenRequired,
    /// They are denied.
    Denied,
    /// They are let through.
    Public,
}

/// Builds a [`RouteTable`].
#[derive(Clone, Debug, Default)]
pub struct RouteTableBuilder {
    listed: Vec<Listed>,
    unmatched: Unmatched,
}

#[derive(Clone, Debug)]
struct Listed {
    /// `None` for all methods that aren't listed with the same pattern.
    method: Option<Method>,
    pattern: String,
    access: Access,
}

struct Table {
    entries: Box<[Entry]>,
    by_method: Box<[(Method, Matchers)]>,
    other_methods: Matchers,
    unmatched: Rule,
}

struct Entry {
    pattern: String,
    rule: Rule,
}

/// The entries for one method: their patterns as they are written, and with escapes decoded.
struct Matchers {
    raw: Router<usize>,
    decoded: Router<usize>,
}

impl RouteTable {
    /// Starts a table.
    pub fn builder() -> RouteTableBuilder {
        RouteTableBuilder::default()
    }

    /// Returns the rules for a request; `None` if its path can be read in two ways.
    pub(crate) fn select(
        &self,
        method: &Method,
        path: &str,
        matched_path: Option<&str>,
    ) -> Option<Rules<'_>> {
        if path::is_ambiguous(path) {
            return None;
        }
        let table = &*self.table;
        let matchers = table.matchers(method);
        match matched_path {
            Some(matched) if !path::fits(matched, path) => {
                Some(table.rewritten(matchers, matched).into())
            }
            _ => Some(table.readings(matchers, path)),
        }
    }
}

impl Table {
    fn matchers(&self, method: &Method) -> &Matchers {
        let listed = self.by_method.iter().find(|(listed, _)| listed == method);
        listed.map_or(&self.other_methods, |(_, matchers)| matchers)
    }

    fn entry(&self, router: &Router<usize>, path: &str) -> Option<&Entry> {
        self.entries.get(*router.at(path).ok()?.value)
    }

    fn rule<'a>(&'a self, entry: Option<&'a Entry>) -> &'a Rule {
        entry.map_or(&self.unmatched, |entry| &entry.rule)
    }

    /// Returns the rules of all ways to read a path.
    fn readings(&self, matchers: &Matchers, path: &str) -> Rules<'_> {
        let entry = self.entry(&matchers.raw, path);
        let mut rules = Rules::from(self.rule(entry));
        let escaped = path.contains('%');
        if escaped {
            rules.also(self.rule(self.entry(&matchers.decoded, &path::decode(path))));
        }
        // Routers differ about a slash at the end, and some take it away. An entry with that slash
        // says what is meant.
        if let Some(trimmed) = path.strip_suffix('/').filter(|trimmed| !trimmed.is_empty())
            && !entry.is_some_and(|entry| entry.pattern.ends_with('/'))
        {
            rules.also(self.rule(self.entry(&matchers.raw, trimmed)));
            if escaped {
                rules.also(self.rule(self.entry(&matchers.decoded, &path::decode(trimmed))));
            }
        }
        rules
    }

    /// Returns the rule of a pattern of axum's. Read as a path, its parameters fit those of an
    /// entry of the same form, and no others.
    fn rewritten(&self, matchers: &Matchers, pattern: &str) -> &Rule {
        if pattern.contains("{*") {
            // The rest may have several segments, which an entry for one must not cover.
            self.rule(self.entry(&matchers.raw, &format!("{pattern}/…")))
        } else {
            self.rule(self.entry(&matchers.raw, pattern))
        }
    }
}

impl RouteTableBuilder {
    /// Lists a route.
    #[must_use]
    pub fn route(self, method: Method, pattern: impl Into<String>, access: Access) -> Self {
        self.list(Some(method), pattern.into(), access)
    }

    /// Lists a route for all methods that aren't listed with the same pattern.
    #[must_use]
    pub fn any(self, pattern: impl Into<String>, access: Access) -> Self {
        self.list(None, pattern.into(), access)
    }

    /// Lists all methods of a gRPC service, such as `grpc.health.v1.Health`, that aren't listed by
    /// themselves. A single method is [`any`](Self::any)`("/package.Service/Method", …)`.
    #[must_use]
    pub fn grpc_service(self, service: &str, access: Access) -> Self {
        self.list(None, format!("/{service}/{{method}}"), access)
    }

    /// Sets what happens to requests that no entry is for.
    #[must_use]
    pub const fn unmatched(mut self, unmatched: Unmatched) -> Self {
        self.unmatched = unmatched;
        self
    }

    fn list(mut self, method: Option<Method>, pattern: String, access: Access) -> Self {
        self.listed.push(Listed { method, pattern, access });
        self
    }

    /// Checks the entries and builds the table.
    ///
    /// # Errors
    ///
    /// If a pattern or scope is malformed, an entry is there twice, or two patterns can't be told
    /// apart.
    pub fn build(self) -> Result<RouteTable, ConfigError> {
        let unmatched = match self.unmatched {
            Unmatched::TokenRequired => Access::token(),
            Unmatched::Denied => Access::denied(),
            Unmatched::Public => Access::public(),
        };
        let mut index = Index::default();
        let mut entries = Vec::with_capacity(self.listed.len());
        for (at, Listed { method, pattern, access }) in self.listed.into_iter().enumerate() {
            check_pattern(&pattern)?;
            index.add(at, method, &pattern)?;
            entries.push(Entry { pattern, rule: access.into_rule()? });
        }
        let mut by_method = Vec::new();
        for method in &index.methods {
            let method = Method::from_bytes(method.as_bytes())
                .map_err(|_| ConfigError::new("a method of the route table is malformed"))?;
            let matchers = Matchers::new(&entries, index.for_method(&method))?;
            by_method.push((method, matchers));
        }
        let other_methods = Matchers::new(&entries, index.any.into_values())?;
        Ok(RouteTable {
            table: Arc::new(Table {
                entries: entries.into(),
                by_method: by_method.into(),
                other_methods,
                unmatched: unmatched.into_rule()?,
            }),
        })
    }
}

/// The numbers of the entries, by what they are for.
#[derive(Default)]
struct Index {
    /// By the pattern's form, in which parameters have no names.
    any: BTreeMap<String, usize>,
    listed: BTreeMap<(String, String), usize>,
    methods: BTreeSet<String>,
}

impl Index {
    fn add(&mut self, at: usize, method: Option<Method>, pattern: &str) -> Result<(), ConfigError> {
        let form = path::form(pattern);
        let twice = match &method {
            None => self.any.insert(form, at).is_some(),
            Some(method) => {
                self.methods.insert(method.to_string());
                if *method == Method::GET {
                    self.methods.insert(Method::HEAD.to_string());
                }
                self.listed.insert((method.to_string(), form), at).is_some()
            }
        };
        if twice {
            let method = method.as_ref().map_or("all methods", Method::as_str);
            return Err(ConfigError::new(format!(
                "the route table lists {method} {pattern:?} twice: take one of the entries out \
                 (names of parameters make no difference)"
            )));
        }
        Ok(())
    }

    /// Returns one entry for each form of pattern that has one for this method.
    fn for_method(&self, method: &Method) -> impl Iterator<Item = usize> {
        let mut chosen = self.any.clone();
        let get = (method == Method::HEAD).then_some(Method::GET.as_str());
        for method in get.into_iter().chain([method.as_str()]) {
            for ((listed, form), at) in &self.listed {
                if listed == method {
                    chosen.insert(form.clone(), *at);
                }
            }
        }
        chosen.into_values()
    }
}

impl Matchers {
    fn new(entries: &[Entry], chosen: impl Iterator<Item = usize>) -> Result<Self, ConfigError> {
        let mut matchers = Self { raw: Router::new(), decoded: Router::new() };
        for at in chosen {
            let Some(Entry { pattern, .. }) = entries.get(at) else { continue };
            let explain = |error: matchit::InsertError| {
                ConfigError::new(format!("the route table can't hold {pattern:?}: {error}"))
            };
            matchers.raw.insert(pattern, at).map_err(explain)?;
            matchers.decoded.insert(path::decode_pattern(pattern), at).map_err(explain)?;
        }
        Ok(matchers)
    }
}

fn check_pattern(pattern: &str) -> Result<(), ConfigError> {
    let advice = if !pattern.starts_with('/') {
        "begin it with '/'"
    } else if !pattern.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
        "write other characters than printable ASCII in percent-encoding, and no query"
    } else if pattern.split('/').any(|segment| segment.starts_with([':', '*'])) {
        "write parameters as {name} and {*name}"
    } else if path::is_ambiguous(pattern) {
        "it could never match, since such paths can be read in two ways and are refused"
    } else {
        return Ok(());
    };
    Err(ConfigError::new(format!("the route table can't hold {pattern:?}: {advice}")))
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.table.entries.iter().map(|entry| (&entry.pattern, &entry.rule));
        f.debug_map().entries(entries).finish()
    }
}
