use std::fmt;
use std::sync::Arc;

use http::Method;
use matchit::{InsertError, Router};

use crate::error::ConfigError;
use crate::middleware::access::{Rule, Rules};
use crate::middleware::path;
use crate::middleware::route_builder::RouteTableBuilder;

/// Who may do what: `(method, path pattern) → access`.
///
/// Patterns are those of axum: `/users/{id}`, and `/files/{*rest}` for all below `/files/`, but not
/// `/files` or `/files/` themselves. Of several that fit, the most specific one decides that has an
/// entry for the request's method. `GET` is also for `HEAD`, unless that is listed. A request that no
/// entry is for needs what the layer's [`access`](crate::BearerAuthLayer::access) says.
///
/// A path is the full path of the request, before any router of axum's has taken a prefix away: the
/// table is the same wherever the layer lies. If something else rewrote the path on the way, so that
/// more than axum's `NestedPath` is missing, or `MatchedPath` isn't the form of the full path, then the
/// access of where it leads is needed as well.
///
/// With a table, a path that can be read in two ways is refused with 400, since the router behind
/// may read it in the other way: empty segments (`//`), dot segments, an encoded slash, backslash or
/// NUL, a backslash, an encoded character that needs no encoding, a broken escape. Routers also
/// differ about other escapes, about a slash at the end, and about parameters of a segment
/// (`/a;b=c`): if a path has another entry when it is decoded, or without that slash, or without
/// parameters, then the access of both entries is needed.
///
/// ```
/// use http::Method;
/// use tower_bearer::middleware::{Access, RouteTable};
///
/// let routes = RouteTable::builder()
///     .route(Method::GET, "/orders/{id}", Access::scope("orders:read"))
///     .route(Method::POST, "/orders", Access::scope("orders:write"))
///     .any("/admin/{*rest}", Access::scope("admin").hide_existence())
///     .any("/health", Access::public())
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

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths<'a> {
    /// The path before any nesting.
    pub(crate) full: &'a str,
    /// The path as it is now.
    pub(crate) current: &'a str,
    /// The pattern that axum matched, before any nesting.
    pub(crate) matched: Option<&'a str>,
    /// The pattern at which axum has nested what is reached.
    pub(crate) nested: Option<&'a str>,
}

impl Paths<'_> {
    /// Tells whether the path is as it was, but for the prefix that axum has taken away. Anything
    /// else has rewritten it.
    fn are_of_one_request(self) -> bool {
        let rest = path::without_prefix(self.full, self.nested.unwrap_or_default());
        rest == self.current || (rest.is_empty() && self.current == "/")
    }
}

struct Table {
    entries: Box<[Entry]>,
    by_method: Box<[(Method, Matchers)]>,
    other_methods: Matchers,
}

/// A pattern, and who may do what it stands for.
pub(crate) struct Entry {
    pub(crate) pattern: String,
    pub(crate) rule: Rule,
}

/// The entries for one method: their patterns as they are written, and with escapes decoded.
struct Matchers {
    raw: Router<usize>,
    decoded: Router<usize>,
    /// Whether the two differ.
    escapes: bool,
}

impl RouteTable {
    /// Starts a table.
    pub fn builder() -> RouteTableBuilder {
        RouteTableBuilder::default()
    }

    /// Puts a table together. Entries are named by their places.
    pub(crate) fn new<I: IntoIterator<Item = usize>>(
        entries: Vec<Entry>,
        by_method: impl Iterator<Item = (Method, I)>,
        other_methods: impl Iterator<Item = usize>,
    ) -> Result<Self, ConfigError> {
        let by_method = by_method
            .map(|(method, chosen)| Ok((method, Matchers::new(&entries, chosen)?)))
            .collect::<Result<_, _>>()?;
        let other_methods = Matchers::new(&entries, other_methods)?;
        let entries = entries.into();
        Ok(Self { table: Arc::new(Table { entries, by_method, other_methods }) })
    }

    /// Returns the rules for a request, `otherwise` where there is no entry; `None` if its path can
    /// be read in two ways.
    pub(crate) fn select<'a>(
        &'a self,
        method: &Method,
        paths: Paths<'_>,
        otherwise: &'a Rule,
    ) -> Option<Rules<'a>> {
        if path::is_ambiguous(paths.full) {
            return None;
        }
        let table = &*self.table;
        let look = Look { table, matchers: table.matchers(method), otherwise };
        let mut rules = look.readings(paths.full);
        let strange = paths.matched.filter(|pattern| !path::fits(pattern, paths.full));
        if let Some(pattern) = strange {
            rules.also(look.pattern(pattern));
        }
        if strange.is_some() || !paths.are_of_one_request() {
            if path::is_ambiguous(paths.current) {
                return None;
            }
            look.readings(paths.current).iter().for_each(|rule| rules.also(rule));
        }
        Some(rules)
    }
}

impl Table {
    fn matchers(&self, method: &Method) -> &Matchers {
        let listed = self.by_method.iter().find(|(listed, _)| listed == method);
        listed.map_or(&self.other_methods, |(_, matchers)| matchers)
    }
}

/// A look into a table, for requests of one method.
struct Look<'a> {
    table: &'a Table,
    matchers: &'a Matchers,
    /// The rule where there is no entry.
    otherwise: &'a Rule,
}

impl<'a> Look<'a> {
    fn entry(&self, router: &Router<usize>, path: &str) -> Option<&'a Entry> {
        self.table.entries.get(*router.at(path).ok()?.value)
    }

    fn rule(&self, entry: Option<&'a Entry>) -> &'a Rule {
        entry.map_or(self.otherwise, |entry| &entry.rule)
    }

    /// Returns the rules of all ways to read a path.
    fn readings(&self, path: &str) -> Rules<'a> {
        let mut rules = self.plain_readings(path);
        if path.contains(';') {
            let bare = path::without_parameters(path);
            self.plain_readings(&bare).iter().for_each(|rule| rules.also(rule));
        }
        rules
    }

    /// Returns the rules of all ways to read a path by those who leave a segment's parameters on.
    fn plain_readings(&self, path: &str) -> Rules<'a> {
        let matchers = self.matchers;
        let entry = self.entry(&matchers.raw, path);
        let mut rules = Rules::from(self.rule(entry));
        let escaped = matchers.escapes || path.contains('%');
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
    fn pattern(&self, pattern: &str) -> &'a Rule {
        if pattern.contains("{*") {
            // The rest may have several segments, which an entry for one must not cover.
            self.rule(self.entry(&self.matchers.raw, &format!("{pattern}/…")))
        } else {
            self.rule(self.entry(&self.matchers.raw, pattern))
        }
    }
}

impl Matchers {
    fn new(
        entries: &[Entry],
        chosen: impl IntoIterator<Item = usize>,
    ) -> Result<Self, ConfigError> {
        let mut matchers = Self { raw: Router::new(), decoded: Router::new(), escapes: false };
        for at in chosen {
            let Some(Entry { pattern, .. }) = entries.get(at) else { continue };
            let explain = |error| explain(pattern, &error);
            matchers.escapes |= pattern.contains('%');
            matchers.raw.insert(pattern, at).map_err(explain)?;
            matchers.decoded.insert(path::decode_pattern(pattern), at).map_err(explain)?;
        }
        Ok(matchers)
    }
}

fn explain(pattern: &str, error: &InsertError) -> ConfigError {
    let advice = match error {
        InsertError::Conflict { with } => {
            format!("some paths would fit {with:?} as well, and neither is more specific")
        }
        InsertError::InvalidParamSegment => {
            "write one parameter to a segment, at its end, such as \"/v{version}/\"".to_owned()
        }
        InsertError::InvalidCatchAll => "write {*name} at the end and nowhere else".to_owned(),
        _ => "write parameters as {name} and {*name}, and braces as {{ and }}".to_owned(),
    };
    ConfigError::new(format!("the route table can't hold {pattern:?}: {advice}"))
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.table.entries.iter().map(|entry| (&entry.pattern, &entry.rule));
        f.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::middleware::access::Access;
    use crate::refusal::Detail;
    use crate::scope::Implications;

    fn scope(name: &str) -> Access {
        Access::scope(name)
    }

    /// What a request without a token lacks by each rule that it meets.
    fn look_up(table: &RouteTable, method: &Method, full: &str) -> String {
        look_up_all(table, method, Paths { full, current: full, matched: None, nested: None })
    }

    fn look_up_all(table: &RouteTable, method: &Method, paths: Paths<'_>) -> String {
        let denied = Access::denied().into_rule().unwrap();
        let rules = table.select(method, paths, &denied);
        rules.map_or("ambiguous".to_owned(), |rules| rules.describe())
    }

    fn table() -> RouteTable {
        RouteTable::builder()
            .route(Method::GET, "/read", scope("read"))
            .route(Method::POST, "/read", scope("write"))
            .route(Method::GET, "/users/{id}", scope("user"))
            .route(Method::GET, "/users/me", Access::token())
            .any("/users/{id}/keys/{*rest}", scope("keys"))
            .any("/admin/{*rest}", scope("admin"))
            .route(Method::GET, "/admin/status", Access::public())
            .any("/", Access::public())
            .any("/slash/", scope("slash"))
            .any("/slash", scope("bare"))
            .any("/caf%C3%A9", scope("cafe"))
            .any("/@me", scope("me"))
            .build()
            .unwrap()
    }

    #[test]
    fn the_most_specific_entry_for_the_method_decides() {
        let table = table();
        for (method, path, expected) in [
            (Method::GET, "/read", "read"),
            (Method::POST, "/read", "write"),
            (Method::PUT, "/read", "denied"),
            (Method::GET, "/", "public"),
            (Method::GET, "/users/1", "user"),
            (Method::GET, "/users/me", "a token"),
            (Method::GET, "/users/me/keys/a/b", "keys"),
            (Method::GET, "/users/1/keys", "denied"),
            (Method::GET, "/users/", "denied"),
            (Method::GET, "/admin/x", "admin"),
            (Method::GET, "/admin/x/y", "admin"),
            (Method::GET, "/admin/status", "public"),
            // The public entry is for GET; the wider one for all methods still holds.
            (Method::POST, "/admin/status", "admin"),
            (Method::GET, "/admin", "denied"),
            (Method::OPTIONS, "*", "denied"),
            (Method::CONNECT, "", "denied"),
            (Method::from_bytes(b"PURGE").unwrap(), "/admin/x", "admin"),
        ] {
            assert_eq!(look_up(&table, &method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn get_is_for_head_unless_head_is_listed() {
        let table = table();
        assert_eq!(look_up(&table, &Method::HEAD, "/read"), "read");
        assert_eq!(look_up(&table, &Method::HEAD, "/admin/status"), "public");
        let table = RouteTable::builder()
            .route(Method::GET, "/a", scope("get"))
            .route(Method::HEAD, "/a", scope("head"))
            .route(Method::HEAD, "/b", scope("head"))
            .any("/{*rest}", scope("any"))
            .build()
            .unwrap();
        assert_eq!(look_up(&table, &Method::HEAD, "/a"), "head");
        assert_eq!(look_up(&table, &Method::GET, "/a"), "get");
        assert_eq!(look_up(&table, &Method::GET, "/b"), "any");
    }

    #[test]
    fn a_path_with_two_readings_meets_the_rules_of_both() {
        let table = table();
        for (path, expected) in [
            ("//read", "ambiguous"),
            ("/admin/../read", "ambiguous"),
            ("/%72ead", "ambiguous"),
            ("/admin%2fx", "ambiguous"),
            // Some routers take the slash at the end away.
            ("/read/", "denied, read"),
            ("/users/1/", "denied, user"),
            ("/admin/status/", "admin, public"),
            // Here it is listed.
            ("/slash/", "slash"),
            ("/slash", "bare"),
            // Some decode before they match.
            ("/%40me", "denied, me"),
            ("/%40me/", "denied, me"),
            ("/@me", "me"),
            ("/caf%C3%A9", "cafe"),
            ("/caf%c3%a9", "denied, cafe"),
            ("/caf\u{e9}", "denied, cafe"),
            ("/caf\u{e9}/", "denied, cafe"),
            ("/users/%40me", "user"),
            ("/users/a%20b", "user"),
        ] {
            assert_eq!(look_up(&table, &Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn a_pattern_that_fits_the_path_changes_nothing() {
        let table = table();
        for (full, current, matched, expected) in [
            ("/users/1", "/users/1", "/users/{user}", "user"),
            ("/users/1", "/1", "/users/{user}", "user"),
            ("/users/me", "/users/me", "/users/{user}", "a token"),
            ("/admin/x", "/admin/x", "/admin/x", "admin"),
            ("/admin/x", "/admin/x", "/{*everything}", "admin"),
            // So axum puts it when a router is nested as a service.
            ("/slash", "/", "/slash/", "bare"),
            ("/slash/", "/", "/slash//", "slash"),
        ] {
            let nested = full.strip_suffix(current).or(Some("/slash"));
            let paths = Paths { full, current, matched: Some(matched), nested };
            assert_eq!(look_up_all(&table, &Method::GET, paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn a_path_that_was_rewritten_meets_the_rules_of_where_it_leads() {
        let table = RouteTable::builder()
            .any("/old/{*rest}", Access::public())
            .any("/users/{id}", scope("user"))
            .any("/users/{id}/keys/{*rest}", scope("keys"))
            .any("/admin/{*rest}", scope("admin"))
            .build()
            .unwrap();
        for (current, matched, expected) in [
            ("/users/1", "/users/{user}", "public, user"),
            ("/users/1", "/old/{x}/users/{user}", "public, user"),
            ("/users/1/keys/2", "/users/{user}/keys/{a}", "public, keys"),
            ("/admin/x", "/admin/{*x}", "public, admin"),
            // Within something that is nested, only the pattern is whole.
            ("/1", "/users/{user}", "public, user, denied"),
            // An entry for one segment is not for a pattern that stands for several.
            ("/users/1", "/users/{*x}", "public, denied, user"),
            ("/nowhere", "/nowhere", "public, denied"),
            ("/users//1", "/{*everything}", "ambiguous"),
        ] {
            let paths = Paths { full: "/old/1", current, matched: Some(matched), nested: None };
            let paths =
                if matched.contains("every") { Paths { full: "/", ..paths } } else { paths };
            assert_eq!(look_up_all(&table, &Method::GET, paths), expected, "{paths:?}");
        }
    }

    // G10, G12: whole services, and single methods.
    #[test]
    fn g10_g12_grpc_services_and_methods() {
        let table = RouteTable::builder()
            .grpc_service("grpc.health.v1.Health", Access::public())
            .any("/shop.Orders/List", scope("orders:read"))
            .grpc_service("shop.Orders", scope("orders:write"))
            .build()
            .unwrap();
        for (path, expected) in [
            ("/grpc.health.v1.Health/Check", "public"),
            ("/grpc.health.v1.Health/Watch", "public"),
            ("/grpc.health.v1.HealthX/Check", "denied"),
            ("/shop.Orders/List", "orders:read"),
            ("/shop.Orders/Create", "orders:write"),
            ("/shop.Orders/", "denied"),
            ("/shop.Other/List", "denied"),
        ] {
            assert_eq!(look_up(&table, &Method::POST, path), expected, "{path}");
        }
    }

    #[test]
    fn mistakes_are_found_when_the_table_is_built() {
        let build = |list: &[(Option<Method>, &str)]| {
            list.iter()
                .fold(RouteTable::builder(), |table, (method, pattern)| match method {
                    Some(method) => table.route(method.clone(), *pattern, Access::token()),
                    None => table.any(*pattern, Access::token()),
                })
                .build()
        };
        let get = Some(Method::GET);
        for pattern in [
            "",
            "a",
            "/a b",
            "/caf\u{e9}",
            "/a?b",
            "/a#b",
            "/a//b",
            "/a/../b",
            "/%61",
            "/a%2fb",
            "/:id",
            "/*rest",
            "/{",
            "/{}",
            "/{a",
            "/a}",
            "/{*rest}/a",
            "/%",
        ] {
            let error = build(&[(get.clone(), pattern)]).unwrap_err();
            assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
        }
        for (pattern, advice) in [
            ("/{", "parameters as {name} and {*name}, and braces as {{ and }}"),
            ("/a}", "parameters as {name} and {*name}, and braces as {{ and }}"),
            ("/{a}{b}", "one parameter to a segment, at its end"),
            ("/{a}.json", "one parameter to a segment, at its end"),
            ("/{*rest}/a", "{*name} at the end"),
        ] {
            let error = build(&[(None, pattern)]).unwrap_err();
            assert!(error.to_string().contains(advice), "{pattern}: {error}");
        }
        for service in ["", "/shop.Orders", "shop.Orders/Get", "shop.Orders/", "{any}"] {
            let table = RouteTable::builder().grpc_service(service, Access::public());
            let error = table.build().unwrap_err().to_string();
            assert!(error.contains("give its full name"), "{error}");
        }
        let both = build(&[(None, "/a/{b}"), (None, "/a/{*c}")]).unwrap_err();
        assert!(both.to_string().contains("would fit \"/a/{*c}\" as well"), "{both}");
        for (one, two) in [
            ((get.clone(), "/a"), (get.clone(), "/a")),
            ((get.clone(), "/a/{b}"), (get.clone(), "/a/{c}")),
            ((None, "/a/{*b}"), (None, "/a/{*c}")),
            ((get.clone(), "/a/{b}"), (get.clone(), "/a/{*c}")),
            ((get.clone(), "/a/{b}"), (None, "/a/{*c}")),
            ((None, "/caf%C3%A9"), (None, "/caf%c3%a9")),
        ] {
            assert!(build(&[one.clone(), two.clone()]).is_err(), "{one:?} {two:?}");
        }
        for (one, two) in [
            ((get.clone(), "/a"), (None, "/a")),
            ((get.clone(), "/a/{b}"), (Some(Method::POST), "/a/{c}")),
            ((get.clone(), "/a/{b}"), (get.clone(), "/a/b")),
            ((get.clone(), "/{{a}}"), (get, "/{a}")),
        ] {
            assert!(build(&[one.clone(), two.clone()]).is_ok(), "{one:?} {two:?}");
        }
        let error = RouteTable::builder().any("/a", scope("a b")).build().unwrap_err();
        assert!(error.to_string().contains("\"a b\""), "{error}");
    }

    /// A router of another kind: it decodes, and takes a slash at the end away.
    fn lenient(path: &str) -> String {
        let decoded = path::decode(path);
        match decoded.strip_suffix('/') {
            Some(trimmed) if !trimmed.is_empty() => trimmed.to_owned(),
            _ => decoded.into_owned(),
        }
    }

    proptest! {
        /// Whichever way the router behind reads a path, the rule of the route that it takes is met.
        #[test]
        fn no_reading_of_a_path_escapes_its_rule(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "/", "/", "a", "b", "@", "%40", "%61", "%2e", ".", "..", "%2f", "\\", "%5c", "%C3%A9",
                    "%c3%a9", ";", "%25", "{", "}", "\u{e9}",
                ]),
                0..8,
            ),
        ) {
            let patterns =
                ["/", "/a", "/b/", "/a/b", "/a/{x}", "/@", "/@/{x}", "/b/{*rest}", "/%C3%A9", "/{x}/@/a"];
            let mut table = RouteTable::builder();
            let (mut raw, mut decoded) = (Router::new(), Router::new());
            for (at, pattern) in patterns.iter().enumerate() {
                table = table.any(*pattern, scope(&format!("s{at}")));
                raw.insert(*pattern, at).unwrap();
                decoded.insert(path::decode_pattern(pattern), at).unwrap();
            }
            let table = table.build().unwrap();
            let path = format!("/{}", pieces.concat());
            let paths = Paths { full: &path, current: &path, matched: None, nested: None };
            let denied = Access::denied().into_rule().unwrap();
            let Some(rules) = table.select(&Method::GET, paths, &denied) else { return Ok(()) };
            let strict = raw.at(&path).ok().map(|found| *found.value);
            let lenient = decoded.at(&lenient(&path)).ok().map(|found| *found.value);
            // An entry with a slash at its end is for a router that heeds it.
            let lenient = lenient.filter(|_| strict != Some(2));
            for at in strict.into_iter().chain(lenient) {
                let name = format!("s{at}");
                prop_assert!(
                    rules.describe().split(", ").any(|rule| rule == name),
                    "{path} reaches {} but meets {}", patterns[at], rules.describe()
                );
            }
        }
    }

    impl Rules<'_> {
        fn describe(&self) -> String {
            let described = self.iter().map(|rule| {
                let claims = Rules::from(rule).admit(None, &Implications::default());
                match claims.map_err(|not_admitted| not_admitted.rejection.detail().clone()) {
                    Ok(()) => "public".to_owned(),
                    Err(Detail::Scopes { needed }) => needed.to_string(),
                    Err(_) if *rule == Rule::token() => "a token".to_owned(),
                    Err(_) => "denied".to_owned(),
                }
            });
            described.collect::<Vec<_>>().join(", ")
        }
    }
}
