//! The route table, and the selection of the rules for a request.

use std::fmt;
use std::sync::Arc;

use crate::middleware::routes::access::{Rule, Rules};
use crate::middleware::routes::lookup::{Form, Look, Needed, Table};
use crate::middleware::routes::methods::Methods;
use crate::middleware::routes::nesting::{Doubt, Paths};
use crate::middleware::routes::path;

/// A table of access rules: `(method, path pattern) → access`.
///
/// Patterns are those of axum: `/users/{id}`, and `/files/{*rest}` for all below `/files/`, but not
/// `/files` or `/files/` themselves, for which there is [`subtree`]. Of several patterns that match a path,
/// the most specific one decides. A request without an entry needs the layer's
/// [`fallback`](crate::BearerAuthLayer::fallback).
///
/// # Methods
///
/// `GET` also covers `HEAD`, unless that is listed. An extended CONNECT, which opens a WebSocket over
/// HTTP/2 and HTTP/3 (RFC 8441, RFC 9220), counts as `GET`: so an entry for `GET /live` covers the
/// WebSockets of a route with axum's `any`, in every version of HTTP. If `CONNECT` is listed,
/// that entry must be met, too.
///
/// For a path that is listed, a method that isn't must meet the layer's fallback *and* every entry for
/// that path. If a wider pattern has an entry for all methods ([`any`]), it replaces the fallback; if it
/// has one for just this method, that decides.
///
/// # Paths
///
/// A path is the full path of the request, before any axum router has removed a prefix: the
/// table is the same wherever the layer lies (feature `axum`). If there is no entry for the full path,
/// or only one whose pattern doesn't begin with that of the nesting (`/{id}` for a router that is nested at
/// `/orders`), but one for the path within the nested router, that entry must be met, too: an app with a
/// table of its own keeps it when it is nested elsewhere. Parameters of the nesting have the same names
/// in a pattern that begins with it.
///
/// If something else rewrites the path on the way, before the layer, then the entries for the rewritten
/// path must be met as well as those for the full path. If the rewritten path is unclear, the request is
/// refused with 400. The layer can't see what is rewritten behind it.
///
/// Routers read a trailing slash, parameters of a segment (`/a;b=c`), and escapes differently. With
/// a table, a request must be allowed however its path is read: with that slash and without it, where
/// either is listed, unless both are, for its method; without parameters; with all escapes decoded, and
/// with only the needless ones decoded (`/%7Eme` is `/~me`, RFC 3986 §2.3). A path whose readings differ
/// in their segments is refused with 400: empty segments (`//`), dot segments, an encoded backslash or NUL,
/// a backslash, a broken escape, and an encoded slash unless [`allow_encoded_slashes`] is set.
///
/// ```
/// use http::Method;
/// use tower_bearer::{Access, RouteTable};
///
/// let routes = RouteTable::builder()
///     .route(Method::GET, "/orders/{id}", Access::scope("orders:read"))
///     .route(Method::POST, "/orders", Access::scope("orders:write"))
///     .subtree("/admin", Access::scope("admin").hide_existence())
///     .any("/health", Access::public())
///     .build()?;
///
/// let twice = RouteTable::builder()
///     .route(Method::GET, "/orders/{id}", Access::token())
///     .route(Method::GET, "/orders/{order}", Access::public());
/// assert!(twice.build().is_err());
/// # Ok::<(), tower_bearer::ConfigError>(())
/// ```
///
/// [`subtree`]: crate::middleware::RouteTableBuilder::subtree
/// [`any`]: crate::middleware::RouteTableBuilder::any
/// [`allow_encoded_slashes`]: crate::middleware::RouteTableBuilder::allow_encoded_slashes
#[derive(Clone)]
pub struct RouteTable {
    table: Arc<Table>,
}

impl RouteTable {
    pub(crate) fn new(table: Table) -> Self {
        Self { table: Arc::new(table) }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Returns the rules of all entries.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.table.entries.iter().map(|entry| &entry.rule)
    }

    /// Returns the rules for a request, `otherwise` where there is no entry.
    pub(crate) fn select<'a>(
        &'a self,
        methods: Methods<'_>,
        paths: Paths<'_>,
        otherwise: &'a Rule,
    ) -> Result<Rules<'a>, Doubt> {
        let table = &*self.table;
        if path::is_ambiguous(paths.full, table.encoded_slashes) {
            return Err(Doubt::Ambiguous);
        }
        let mut needed = Needed::default();
        let look = Look { table, methods, otherwise, entries_only: false };
        let form = look.readings(paths.full, &mut needed);
        if !paths.are_plain() {
            look.on_the_way(paths, form, &mut needed)?;
        }
        Ok(needed.or(otherwise))
    }
}

/// The most segments of a path that was rewritten after it had been matched.
const MAX_SEGMENTS: usize = 64;

impl<'a> Look<'a, '_> {
    /// Adds what is needed because the path was changed on the way: by nesting, or by something else.
    fn on_the_way(
        self,
        paths: Paths<'_>,
        form: Option<&'a Form>,
        needed: &mut Needed<'a>,
    ) -> Result<(), Doubt> {
        let mut rewritten = Vec::new();
        for prefix in paths.prefixes()? {
            if !paths.are_whole_with(&prefix) {
                rewritten.push(format!("{prefix}{}", paths.current));
                // The root of a nested router is reached with the slash and without.
                if paths.current == "/" && !prefix.is_empty() {
                    rewritten.push(prefix.into_owned());
                }
            }
        }
        if rewritten.is_empty() && paths.are_matched() {
            if form.is_none_or(|form| !form.begins_with(paths.taken_off())) {
                self.within(paths.full, paths.depth(), needed)?;
            }
            return Ok(());
        }
        for path in &rewritten {
            if !paths.are_untouched() {
                self.known(path, needed)?;
            }
            self.within(path, paths.depth(), needed)?;
        }
        self.matched(paths, &rewritten, needed)
    }

    /// Adds the entries for a path without its first segments, one after the other.
    fn within(self, path: &str, depth: usize, needed: &mut Needed<'a>) -> Result<(), Doubt> {
        let look = Self { entries_only: true, ..self };
        let mut rest = path;
        for _ in 0..depth {
            rest = path::without_first_segment(rest);
            look.known(rest, needed)?;
        }
        Ok(())
    }

    /// Adds what was matched, if it is neither the current path nor the original one: then the
    /// path was rewritten after it had been matched.
    fn matched(
        self,
        paths: Paths<'_>,
        rewritten: &[String],
        needed: &mut Needed<'a>,
    ) -> Result<(), Doubt> {
        let same = |a: &str, b: &str| path::decode(a) == path::decode(b);
        let slashless = |path: &str| path.trim_end_matches('/').to_owned();
        for matched in paths.matched_paths()? {
            let matched = slashless(&matched);
            let full = slashless(paths.full);
            if same(&matched, &full)
                || rewritten.iter().any(|path| same(&matched, &slashless(path)))
            {
                continue;
            }
            // Each suffix is read by itself: in total, that must not be quadratic.
            let all = rewritten.iter().chain([&matched]);
            if all.into_iter().any(|path| path::segments(path) > MAX_SEGMENTS) {
                return Err(Doubt::Ambiguous);
            }
            // Nested routers append their patterns to those of the outer ones.
            let appended = rewritten.iter().flat_map(|path| path::suffixes(path));
            let appended = appended.map(|rest| format!("{full}{}", slashless(rest)));
            let entries_only = appended.into_iter().any(|path| same(&matched, &path));
            let look = Self { entries_only, ..self };
            for path in path::suffixes(&matched) {
                look.known(path, needed)?;
            }
        }
        Ok(())
    }

    /// Adds the rules of all readings of a path that isn't the request's.
    fn known(self, path: &str, needed: &mut Needed<'a>) -> Result<(), Doubt> {
        if path::is_ambiguous(path, self.table.encoded_slashes) {
            return Err(Doubt::Ambiguous);
        }
        self.readings(path, needed);
        Ok(())
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.table.entries.iter().map(|entry| (&entry.pattern, &entry.rule));
        f.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use matchit::Router;
    use proptest::prelude::*;

    use super::*;
    use crate::middleware::conditions::terms::Terms;
    use crate::middleware::routes::access::Access;
    use crate::refusal::Detail;

    fn scope(name: &str) -> Access {
        Access::scope(name)
    }

    /// What a request without a token lacks by each rule that it meets.
    fn look_up(table: &RouteTable, method: &Method, full: &str) -> String {
        look_up_all(table, method, at(full))
    }

    fn at(full: &str) -> Paths<'_> {
        Paths { full, current: full, matched: None, nested: None, parameters: None }
    }

    fn look_up_all(table: &RouteTable, method: &Method, paths: Paths<'_>) -> String {
        let denied = Access::denied().into_rule().unwrap();
        match table.select(Methods::One(method), paths, &denied) {
            Ok(rules) => rules.describe(),
            Err(Doubt::Ambiguous) => "ambiguous".to_owned(),
            Err(Doubt::Parameters) => "parameters".to_owned(),
        }
    }

    fn table() -> RouteTable {
        RouteTable::builder()
            .route(Method::GET, "/read", scope("read"))
            .route(Method::POST, "/read", scope("write"))
            .route(Method::GET, "/users/{id}", scope("user"))
            .route(Method::GET, "/users/me", Access::token())
            .subtree("/users/{id}/keys", scope("keys"))
            .subtree("/admin", scope("admin"))
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
            (Method::PUT, "/read", "denied, read, write"),
            (Method::GET, "/", "public"),
            (Method::GET, "/users/1", "user"),
            (Method::GET, "/users/me", "a token"),
            (Method::GET, "/users/me/keys/a/b", "keys"),
            (Method::GET, "/users/1/keys", "keys"),
            (Method::GET, "/users/1/keys/", "keys"),
            (Method::GET, "/users/", "denied"),
            (Method::GET, "/admin/x", "admin"),
            (Method::GET, "/admin/x/y", "admin"),
            (Method::GET, "/admin/status", "public"),
            // The public entry is for GET; the wider one is for all other methods.
            (Method::POST, "/admin/status", "admin, public"),
            (Method::GET, "/admin", "admin"),
            (Method::GET, "/admin/", "admin"),
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
            .subtree("/", scope("any"))
            .build()
            .unwrap();
        assert_eq!(look_up(&table, &Method::HEAD, "/a"), "head");
        assert_eq!(look_up(&table, &Method::GET, "/a"), "get");
        // For other methods than HEAD the path is listed, and the method isn't.
        assert_eq!(look_up(&table, &Method::GET, "/b"), "any, head");
    }

    #[test]
    fn a_path_with_two_readings_meets_the_rules_of_both() {
        let table = table();
        for (path, expected) in [
            ("//read", "ambiguous"),
            ("/admin/../read", "ambiguous"),
            ("/%72ead", "denied, read"),
            ("/%7Busers%7D/%31", "denied"),
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
            let paths = Paths { current, matched: Some(matched), nested, ..at(full) };
            assert_eq!(look_up_all(&table, &Method::GET, paths), expected, "{paths:?}");
        }
    }

    #[test]
    fn a_path_that_was_rewritten_meets_the_rules_of_where_it_leads() {
        let table = RouteTable::builder()
            .subtree("/old", Access::public())
            .any("/users/{id}", scope("user"))
            .subtree("/users/{id}/keys", scope("keys"))
            .subtree("/admin", scope("admin"))
            .build()
            .unwrap();
        let parameters = [("x", "1"), ("user", "1"), ("rest", "x")];
        for (current, matched, nested, expected) in [
            ("/users/1", "/users/{user}", None, "public, user"),
            ("/users/1", "/old/{x}/users/{user}", None, "public, user"),
            ("/users/1/keys/2", "/users/{user}/keys/2", None, "public, keys"),
            ("/admin/x", "/admin/{*rest}", None, "public, admin"),
            // Within something that is nested, it is the whole that counts.
            ("/1", "/users/{user}", Some("/users"), "public, user"),
            ("/keys/2", "/users/{user}/keys/2", Some("/users/{user}"), "public, keys"),
            // An app may have been nested with its own table.
            ("/admin/x", "/apps/admin/x", Some("/apps"), "public, denied, admin"),
            // It was rewritten again after it had been matched.
            ("/users/1", "/admin", None, "public, user, admin"),
            ("/users/1", "/nowhere", None, "public, user, denied"),
            ("/nowhere", "/nowhere", None, "public, denied"),
            ("/users//1", "/users/{user}", None, "ambiguous"),
            // A value that isn't known.
            ("/1", "/{tenant}/{user}", Some("/{tenant}"), "ambiguous"),
        ] {
            let paths = Paths { current, matched: Some(matched), nested, ..at("/old/1") };
            let paths = Paths { parameters: Some(&parameters), ..paths };
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
        assert!(build(&[(get.clone(), "/a/{b}"), (Some(Method::PUT), "/a/{*c}")]).is_err());
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
                ["/", "/a", "/b/", "/a/b", "/a/{x}", "/@", "/@/{x}", "/b/{*rest}", "/%C3%A9", "/{x}/@/a", "/b"];
            let mut table = RouteTable::builder();
            let (mut raw, mut decoded) = (Router::new(), Router::new());
            for (at, pattern) in patterns.iter().enumerate() {
                table = table.any(*pattern, scope(&format!("s{at}")));
                raw.insert(*pattern, at).unwrap();
                decoded.insert(path::decode_pattern(pattern), at).unwrap();
            }
            let table = table.build().unwrap();
            let path = format!("/{}", pieces.concat());
            let paths = at(&path);
            let denied = Access::denied().into_rule().unwrap();
            let get = Methods::One(&Method::GET);
            let Ok(rules) = table.select(get, paths, &denied) else { return Ok(()) };
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
                let claims = Rules::from(rule).admit(None, &Terms::default());
                match claims.map_err(|not_admitted| not_admitted.rejection.detail().clone()) {
                    Ok(()) => "public".to_owned(),
                    Err(Detail::Scopes { needed, presented: None }) => needed.to_string(),
                    Err(_) if *rule == Rule::token() => "a token".to_owned(),
                    Err(_) => "denied".to_owned(),
                }
            });
            described.collect::<Vec<_>>().join(", ")
        }
    }
}
