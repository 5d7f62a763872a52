//! Builds the route table, and refuses entries that are ambiguous or could never match.

use std::collections::BTreeMap;

use http::Method;

use crate::error::ConfigError;
use crate::middleware::routes::access::Access;
use crate::middleware::routes::lookup::{Entry, Form, Table};
use crate::middleware::routes::path;
use crate::middleware::routes::table::RouteTable;

/// Builds a [`RouteTable`].
#[derive(Clone, Debug, Default)]
pub struct RouteTableBuilder {
    listed: Vec<Listed>,
    encoded_slashes: bool,
}

#[derive(Clone, Debug)]
struct Listed {
    /// `None` for all methods that aren't listed with the same pattern.
    method: Option<Method>,
    pattern: String,
    access: Access,
}

impl RouteTable {
    /// Starts a table.
    pub fn builder() -> RouteTableBuilder {
        RouteTableBuilder::default()
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

    /// Lists a path and all below it, for all methods that aren't listed with the same pattern:
    /// `subtree("/admin", …)` covers `/admin`, `/admin/` and `/admin/{*rest}`.
    ///
    /// `subtree("/", …)` covers all paths.
    #[must_use]
    pub fn subtree(mut self, path: &str, access: Access) -> Self {
        if path.contains("{*") {
            let error = ConfigError::new(format!(
                "the subtree {path:?} can't be listed: give the path that all the others are below, \
                 such as \"/admin\""
            ));
            return self.list(None, "/".to_owned(), Access::malformed(error));
        }
        let top = path.strip_suffix('/').unwrap_or(path);
        if !(top.is_empty() && path == "/") {
            self = self.list(None, top.to_owned(), access.clone());
        }
        self.list(None, format!("{top}/"), access.clone()).list(
            None,
            format!("{top}/{{*rest}}"),
            access,
        )
    }

    /// Accepts paths with encoded slashes (`%2F`), such as names of npm packages, Git URLs and object
    /// keys in one segment, which are refused with 400 otherwise.
    ///
    /// Such a path must be allowed both with the slash as a part of its segment and with the slash as the end
    /// of it, since the router behind may read it either way.
    ///
    /// ```
    /// use tower_bearer::{Access, RouteTable};
    ///
    /// let routes = RouteTable::builder()
    ///     .subtree("/packages", Access::scope("packages:read")) // also for /packages/%40scope%2Fname
    ///     .allow_encoded_slashes()
    ///     .build()?;
    /// # Ok::<(), tower_bearer::ConfigError>(())
    /// ```
    #[must_use]
    pub fn allow_encoded_slashes(mut self) -> Self {
        self.encoded_slashes = true;
        self
    }

    /// Lists all methods of a gRPC service, such as `grpc.health.v1.Health`, that aren't listed by
    /// themselves. A single method is [`any`](Self::any)`("/package.Service/Method", …)`.
    ///
    /// An access rule that [hides](Access::hide_existence) answers as a tonic server without that
    /// service does, and a single method that hides as
    /// [`Absent::GrpcMethod`](crate::answer::Absent::GrpcMethod) like one without that method.
    #[must_use]
    pub fn grpc_service(self, service: &str, access: Access) -> Self {
        if service.is_empty() || service.contains(['/', '{', '}']) {
            let error = ConfigError::new(format!(
                "the gRPC service {service:?} can't be listed: give its full name, such as \
                 \"package.Service\""
            ));
            return self.list(None, "/".to_owned(), Access::malformed(error));
        }
        self.list(None, format!("/{service}/{{method}}"), access.of_grpc_service())
    }

    fn list(mut self, method: Option<Method>, pattern: String, access: Access) -> Self {
        self.listed.push(Listed { method, pattern, access });
        self
    }

    /// Checks the entries and builds the table.
    ///
    /// # Errors
    ///
    /// If a pattern or scope is malformed, an entry is duplicate, two patterns conflict, a
    /// pattern has more than 25 parameters, or `/path/{*rest}` is listed and `/path` isn't.
    pub fn build(self) -> Result<RouteTable, ConfigError> {
        let mut index = Index::default();
        let mut entries = Vec::with_capacity(self.listed.len());
        for (at, Listed { method, pattern, access }) in self.listed.into_iter().enumerate() {
            // An invalid scope or name comes first: it stands for the whole entry.
            let rule = access.into_rule()?;
            check_pattern(&pattern)?;
            let for_method = method.is_some();
            index.add(at, method, &pattern)?;
            entries.push(Entry { pattern, rule, for_method });
        }
        let uncovered = index.without_base();
        let forms = index.finish(&entries);
        let table = Table::new(entries, forms, self.encoded_slashes)?;
        uncovered.map_or_else(|| Ok(RouteTable::new(table)), Err)
    }
}

/// The listed entries, by the forms of patterns: decoded, and without the names of parameters.
#[derive(Default)]
struct Index {
    forms: BTreeMap<String, Form>,
}

impl Index {
    fn add(&mut self, at: usize, method: Option<Method>, pattern: &str) -> Result<(), ConfigError> {
        let form = self.forms.entry(path::form(&path::decode_pattern(pattern))).or_default();
        let twice = match &method {
            None => form.any.is_some(),
            Some(method) => form.listed.iter().any(|(listed, _)| listed == method),
        };
        if twice {
            let method = method.as_ref().map_or("all methods", Method::as_str);
            return Err(ConfigError::new(format!(
                "the route table lists {method} {pattern:?} twice: remove one of the entries \
                 (names of parameters make no difference)"
            )));
        }
        match method {
            None => form.any = Some(at),
            Some(method) => form.listed.push((method, at)),
        }
        if form.patterns.iter().all(|known| path::form(known) != path::form(pattern)) {
            form.patterns.push(pattern.to_owned());
        }
        Ok(())
    }

    /// Returns what is wrong with a catch-all that is listed without the path it is below.
    fn without_base(&self) -> Option<ConfigError> {
        let listed = self.forms.iter();
        let pattern = listed.filter_map(|(form, listed)| {
            let before = form.strip_suffix("{*}")?;
            let base = before.strip_suffix('/').unwrap_or(before);
            let base = if base.is_empty() { "/" } else { base };
            (!self.forms.contains_key(base)).then_some(listed.patterns.first()?)
        });
        let pattern = pattern.min()?;
        let (base, _) = pattern.split_once("{*")?;
        let base = base.strip_suffix('/').filter(|base| !base.is_empty()).unwrap_or(base);
        Some(ConfigError::new(format!(
            "the route table lists {pattern:?}, which doesn't cover {base:?} itself: use \
             subtree({base:?}, …) instead, or list {base:?} as well"
        )))
    }

    fn finish(mut self, entries: &[Entry]) -> Vec<Form> {
        let places: BTreeMap<String, usize> =
            self.forms.keys().enumerate().map(|(at, form)| (form.clone(), at)).collect();
        for (form, listed) in &mut self.forms {
            listed.is_catch_all = form.ends_with("{*}");
            listed.bare = form.strip_suffix('/').and_then(|bare| places.get(bare)).copied();
        }
        let mut forms: Vec<_> = self.forms.into_values().collect();
        let rule = |form: &Form| Some(&entries.get(form.any?)?.rule);
        for at in 0..forms.len() {
            let same = forms.get(at).is_some_and(|form| {
                let literal = form.patterns.iter().all(|pattern| !pattern.contains('{'));
                let bare = form.bare.and_then(|bare| forms.get(bare));
                literal
                    && form.listed.is_empty()
                    && bare.is_some_and(|bare| bare.listed.is_empty() && rule(bare) == rule(form))
            });
            if let Some(form) = forms.get_mut(at) {
                form.same_as_bare = same;
            }
        }
        forms
    }
}

/// The most parameters that `matchit` accepts in one pattern; it panics if there are more.
const MAX_PARAMETERS: usize = 25;

fn check_pattern(pattern: &str) -> Result<(), ConfigError> {
    let advice = if !pattern.starts_with('/') {
        "begin it with '/'"
    } else if !pattern.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
        "write other characters than printable ASCII in percent-encoding, and no query"
    } else if pattern.split('/').any(|segment| segment.starts_with([':', '*'])) {
        "write parameters as {name} and {*name}"
    } else if path::is_ambiguous(pattern, false) {
        "it could never match, since such paths can be read in two ways and are refused"
    } else if path::decode_needless(pattern) != pattern {
        "write characters that need no percent-encoding without it"
    } else if path::form(pattern).matches("{}").count() > MAX_PARAMETERS {
        "use at most 25 parameters"
    } else {
        return Ok(());
    };
    Err(ConfigError::new(format!("the route table can't hold {pattern:?}: {advice}")))
}
