//! Lists the entries of a route table, and the routes that it doesn't cover.

use std::fmt;

use http::Method;

use crate::middleware::routes::access::Access;
use crate::middleware::routes::lookup::Entry;
use crate::middleware::routes::table::RouteTable;

/// One entry of a [`RouteTable`].
///
/// `Display` is the method, the pattern and what a caller needs.
#[derive(Clone, Copy)]
pub struct RouteEntry<'a> {
    method: Option<&'a Method>,
    entry: &'a Entry,
}

impl<'a> RouteEntry<'a> {
    /// Returns the method; `None` for all methods that aren't listed with the same pattern.
    pub const fn method(&self) -> Option<&'a Method> {
        self.method
    }

    /// Returns the pattern of the path, as it was listed.
    pub fn pattern(&self) -> &'a str {
        &self.entry.pattern
    }

    /// Returns what a caller needs.
    pub fn access(&self) -> Access {
        self.entry.rule.clone().into()
    }
}

impl fmt::Display for RouteEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.map_or("*", Method::as_str);
        write!(f, "{method} {}: {}", self.entry.pattern, self.entry.rule)
    }
}

impl fmt::Debug for RouteEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl RouteTable {
    /// Returns the entries, in the order in which they were listed. A
    /// [`subtree`](crate::middleware::RouteTableBuilder::subtree) is several entries.
    ///
    /// ```
    /// use http::Method;
    /// use tower_bearer::{Access, RouteTable};
    ///
    /// let routes = RouteTable::builder()
    ///     .route(Method::GET, "/orders", Access::scope("orders:read"))
    ///     .any("/health", Access::public())
    ///     .build()?;
    /// let listed: Vec<_> = routes.entries().map(|entry| entry.to_string()).collect();
    /// assert_eq!(listed, [
    ///     r#"GET /orders: a valid token with scope "orders:read""#,
    ///     "* /health: no token (public)",
    /// ]);
    /// # Ok::<(), tower_bearer::ConfigError>(())
    /// ```
    pub fn entries(&self) -> impl Iterator<Item = RouteEntry<'_>> {
        let table = self.table();
        let mut methods = vec![None; table.entries.len()];
        for (method, at) in table.forms.iter().flat_map(|form| &form.listed) {
            if let Some(place) = methods.get_mut(*at) {
                *place = Some(method);
            }
        }
        let entries = table.entries.iter().zip(methods);
        entries.map(|(entry, method)| RouteEntry { method, entry })
    }

    /// Returns those of these routes that no entry covers: they need the layer's
    /// [`fallback`](crate::BearerAuthLayer::fallback).
    ///
    /// The routes are those of the application, by method and path or pattern: from a list beside its
    /// router, or from its OpenAPI document. A test that expects none to be uncovered notices a route that
    /// was added and not listed.
    ///
    /// ```
    /// use http::Method;
    /// use tower_bearer::{Access, RouteTable};
    ///
    /// let routes = RouteTable::builder()
    ///     .route(Method::GET, "/orders/{id}", Access::scope("orders:read"))
    ///     .build()?;
    /// let served = [(Method::GET, "/orders/{id}"), (Method::DELETE, "/orders/{id}")];
    /// assert_eq!(routes.uncovered(served), [(Method::DELETE, "/orders/{id}")]);
    /// # Ok::<(), tower_bearer::ConfigError>(())
    /// ```
    pub fn uncovered<'r>(
        &self,
        routes: impl IntoIterator<Item = (Method, &'r str)>,
    ) -> Vec<(Method, &'r str)> {
        let routes = routes.into_iter();
        routes.filter(|(method, path)| !self.table().covers(method, path)).collect()
    }
}
