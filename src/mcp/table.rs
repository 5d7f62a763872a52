//! The access rules of an MCP server, and their lookup for a message.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::mcp::call::Call;
use crate::mcp::uri::{self, Unclear};
use crate::middleware::routes::access::Rule;
use crate::scope::ScopeSet;

/// The access rules of an MCP server, for each tool, prompt, resource and method.
///
/// ```
/// use tower_bearer::Access;
/// use tower_bearer::mcp::OperationTable;
///
/// let operations = OperationTable::builder(Access::scope("mcp:use"))
///     .tool("delete_user", Access::scope("users:delete"))
///     .other_tools(Access::denied())
///     .resource_prefix("file:///hr", Access::scope("hr:read"))
///     .method("initialize", Access::token())
///     .method("notifications/*", Access::token())
///     .build()?;
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
///
/// A request to call `delete_user` needs `mcp:use` and `users:delete`, and a challenge names both.
///
/// # Entries
///
/// The entry of a method replaces the base; a method without one needs the base. Entries of tools, prompts
/// and resources add to what their method needs. A name is matched exactly; so is a method, unless it ends
/// in `/*`, which matches all methods with that prefix that have no more specific entry.
///
/// Requests other than `POST` need the base: the `GET` that opens a stream, and the `DELETE` of a session.
/// So does the client's response to a request of the server.
///
/// # Resources
///
/// `resources/read`, `resources/subscribe`, `resources/unsubscribe`, and other methods that begin with
/// `resources/` and aren't listings, need what the longest matching prefix of their URI needs. A prefix
/// ends at a segment: `file:///hr` matches `file:///hr/a`, not `file:///hrx`. A prefix that ends with a
/// host matches all of its ports.
///
/// A URI that can be normalized in several ways, such as `file:///public//hr/a` or `FILE:///%68r/a`, needs
/// what all of its forms need. An ambiguous URI is refused with 400 once the table has an entry for
/// resources: one with a segment `..`, a backslash or control characters; `file` with a host other than
/// `localhost`; `https` and the like without `//`, or with a host that RFC 3986 doesn't allow; and one
/// whose escapes hide the end of the host. Names that only the server considers equal, such as those that
/// differ in case, are distinct here.
///
/// Names elsewhere are not checked: those in `completion/complete`, and the URIs in
/// `subscriptions/listen`, whose events name resources without their contents. Give these methods
/// entries of their own where that matters.
#[derive(Clone, Debug)]
pub struct OperationTable {
    inner: Arc<Inner>,
}

/// Prefixes, longest first, and what they need.
pub(crate) type Prefixes = Box<[(Box<str>, Arc<Rule>)]>;

/// Each entry is what a request needs in total, its method's part included.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) base: Arc<Rule>,
    pub(crate) methods: Methods,
    pub(crate) tools: Names,
    pub(crate) prompts: Names,
    pub(crate) resources: Option<Resources>,
}

#[derive(Debug)]
pub(crate) struct Methods {
    pub(crate) exact: HashMap<Box<str>, Arc<Rule>>,
    /// The text before `*`.
    pub(crate) prefixes: Prefixes,
}

impl Methods {
    fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.exact.values().chain(self.prefixes.iter().map(|(_, rule)| rule))
    }

    pub(crate) fn get(&self, method: &str) -> Option<&Arc<Rule>> {
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| method.starts_with(&**prefix));
        self.exact.get(method).or_else(|| by_prefix().map(|(_, rule)| rule))
    }
}

#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) listed: HashMap<Box<str>, Arc<Rule>>,
    pub(crate) others: Arc<Rule>,
}

impl Inner {
    /// Returns all rules that can decide alone.
    fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let names = self.tools.rules().chain(self.prompts.rules());
        std::iter::once(&self.base).chain(self.methods.rules()).chain(names)
    }
}

impl Names {
    fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.listed.values().chain(std::iter::once(&self.others))
    }

    fn get(&self, name: &str) -> &Arc<Rule> {
        self.listed.get(name).unwrap_or(&self.others)
    }
}

/// The entries of resources add to that of the method.
#[derive(Debug)]
pub(crate) struct Resources {
    /// As written and as [`uri::normal`] returns them.
    pub(crate) prefixes: Prefixes,
    pub(crate) others: Arc<Rule>,
}

impl Resources {
    fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.prefixes.iter().map(|(_, rule)| rule).chain(std::iter::once(&self.others))
    }

    fn get(&self, uri: &str) -> &Arc<Rule> {
        let covering = self.prefixes.iter().find(|(prefix, _)| uri::covers(prefix, uri));
        covering.map_or(&self.others, |(_, rule)| rule)
    }
}

/// The rules for one request, all of which it must meet.
pub(crate) type Needed = SmallVec<[Arc<Rule>; 2]>;

impl OperationTable {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn base(&self) -> &Arc<Rule> {
        &self.inner.base
    }

    /// Returns what a message needs.
    pub(crate) fn needed(&self, call: &Call<'_>) -> Result<Needed, Unclear> {
        let of_method = |method: &str| self.inner.methods.get(method).unwrap_or(&self.inner.base);
        let mut needed = Needed::new();
        match call {
            Call::Tool(name) => needed.push(Arc::clone(self.inner.tools.get(name))),
            Call::Prompt(name) => needed.push(Arc::clone(self.inner.prompts.get(name))),
            Call::Method(method) => needed.push(Arc::clone(of_method(method))),
            Call::Answer => needed.push(Arc::clone(&self.inner.base)),
            Call::Resource { method, uri } => {
                needed.push(Arc::clone(of_method(method)));
                if let Some(resources) = &self.inner.resources {
                    for reading in uri::readings(uri)? {
                        let rule = resources.get(&reading);
                        if needed.iter().all(|known| known != rule) {
                            needed.push(Arc::clone(rule));
                        }
                    }
                }
            }
        }
        Ok(needed)
    }

    /// Returns all scopes that operations may need, for the `scopes_supported` of the
    /// [metadata](mod@crate::metadata):
    ///
    /// ```
    /// use tower_bearer::Access;
    /// use tower_bearer::mcp::OperationTable;
    /// use tower_bearer::metadata::ResourceMetadata;
    ///
    /// let operations = OperationTable::builder(Access::scope("mcp:use"))
    ///     .tool("wipe", Access::scope("mcp:danger"))
    ///     .build()?;
    /// let metadata = ResourceMetadata::builder("https://api.example/mcp")
    ///     .scopes(operations.scopes().iter())
    ///     .build()?;
    /// assert_eq!(operations.scopes().to_string(), "mcp:danger mcp:use");
    /// # Ok::<(), tower_bearer::ConfigError>(())
    /// ```
    pub fn scopes(&self) -> ScopeSet {
        let of_resources = self.inner.resources.iter().flat_map(Resources::rules);
        let all = self.inner.rules().chain(of_resources);
        let mut scopes: Vec<&str> = all.flat_map(|rule| rule.shown_scopes()).collect();
        scopes.sort_unstable();
        scopes.into_iter().collect()
    }

    /// Returns `true` if some message needs no token.
    pub(crate) fn lets_strangers_in(&self) -> bool {
        self.inner.rules().any(|rule| rule.needs_no_token())
    }
}

/// The reason for refusing a URI that can't be compared with prefixes.
pub(crate) const UNCLEAR: &str = "the resource's URI can be read in more than one way";
