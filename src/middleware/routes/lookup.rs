//! Finds the rules of a path in all ways in which a router may read it.

use std::borrow::Cow;

use http::Method;
use matchit::{InsertError, Router};

use crate::error::ConfigError;
use crate::middleware::routes::access::{Rule, Rules};
use crate::middleware::routes::methods::Methods;
use crate::middleware::routes::path;

/// The entries of a route table, and the routers that find them.
pub(crate) struct Table {
    pub(crate) entries: Box<[Entry]>,
    pub(crate) forms: Box<[Form]>,
    /// The forms of all entries, whatever their methods.
    all: Matchers,
    /// Those forms that end with a slash, without it.
    slashed: Matchers,
    /// The entries for each method that is listed, and for all others.
    by_method: Box<[(Method, Matchers)]>,
    other_methods: Matchers,
    pub(crate) encoded_slashes: bool,
}

/// A pattern, and its access rule.
pub(crate) struct Entry {
    pub(crate) pattern: String,
    pub(crate) rule: Rule,
    /// Whether it lists its method, and isn't for all that aren't listed.
    pub(crate) for_method: bool,
}

/// The entries of patterns that differ only in the names of parameters and in escapes.
#[derive(Debug, Default)]
pub(crate) struct Form {
    /// The patterns as they are written, without duplicates.
    pub(crate) patterns: Vec<String>,
    pub(crate) any: Option<usize>,
    pub(crate) listed: Vec<(Method, usize)>,
    /// The form without its trailing slash, if that is listed too.
    pub(crate) bare: Option<usize>,
    /// Whether the form without the slash has the same entries, and matches the same paths but for it.
    pub(crate) same_as_bare: bool,
    /// Whether it ends with `{*name}`.
    pub(crate) is_catch_all: bool,
}

impl Form {
    /// Returns the entry that lists a method by name. `GET` is also for `HEAD`.
    fn by_name(&self, method: &Method) -> Option<usize> {
        let find = |method| self.listed.iter().find(|(listed, _)| listed == method);
        let found = find(method);
        let found = found.or_else(|| (*method == Method::HEAD).then(|| find(&Method::GET))?);
        found.map(|(_, at)| *at)
    }

    /// Returns the entry for a method.
    fn entry(&self, method: &Method) -> Option<usize> {
        self.by_name(method).or(self.any)
    }

    /// Returns `true` if a pattern begins with the segments of a nesting, parameters by the same names.
    pub(crate) fn begins_with(&self, nesting: &str) -> bool {
        let nesting = path::decode_pattern(nesting);
        self.patterns.iter().any(|pattern| {
            let pattern = path::decode_pattern(pattern);
            let mut segments = pattern.split('/');
            nesting.split('/').all(|segment| segments.next() == Some(segment))
        })
    }

    fn ends_with_slash(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.len() > 1 && pattern.ends_with('/'))
    }
}

/// The patterns for one purpose: as they are written, and with escapes decoded.
#[derive(Default)]
struct Matchers {
    raw: Router<usize>,
    decoded: Router<usize>,
    /// Whether the two differ.
    escapes: bool,
    empty: bool,
}

/// The spelling of a path that is looked up.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    AsWritten,
    Decoded,
}

impl Table {
    pub(crate) fn new(
        entries: Vec<Entry>,
        forms: Vec<Form>,
        encoded_slashes: bool,
    ) -> Result<Self, ConfigError> {
        let mut methods: Vec<&Method> = Vec::new();
        for (method, _) in forms.iter().flat_map(|form| &form.listed) {
            let head = (method == Method::GET).then_some(&Method::HEAD);
            for method in head.into_iter().chain([method]) {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        }
        let all = Matchers::new(&forms, |at, _| Some(at))?;
        let by_method = methods
            .into_iter()
            .map(|method| {
                Ok((method.clone(), Matchers::new(&forms, |_, form| form.entry(method))?))
            })
            .collect::<Result<_, ConfigError>>()?;
        let other_methods = Matchers::new(&forms, |_, form| form.any)?;
        let mut slashed = Matchers { empty: true, ..Matchers::default() };
        for (at, form) in forms.iter().enumerate() {
            if form.ends_with_slash() && !form.same_as_bare {
                for pattern in &form.patterns {
                    slashed.insert(pattern.strip_suffix('/').unwrap_or(pattern), at)?;
                }
            }
        }
        Ok(Self {
            entries: entries.into(),
            forms: forms.into(),
            all,
            slashed,
            by_method,
            other_methods,
            encoded_slashes,
        })
    }

    /// Returns `true` if an entry is for a method and a path, and not only for another method.
    pub(crate) fn covers(&self, method: &Method, path: &str) -> bool {
        let listed = self.by_method.iter().find(|(listed, _)| listed == method);
        let matchers = listed.map_or(&self.other_methods, |(_, matchers)| matchers);
        matchers.at(Spelling::AsWritten, path).is_some()
    }
}

impl Matchers {
    fn new(
        forms: &[Form],
        value: impl Fn(usize, &Form) -> Option<usize>,
    ) -> Result<Self, ConfigError> {
        let mut matchers = Self { empty: true, ..Self::default() };
        for (at, form) in forms.iter().enumerate() {
            if let Some(value) = value(at, form) {
                form.patterns.iter().try_for_each(|pattern| matchers.insert(pattern, value))?;
            }
        }
        Ok(matchers)
    }

    fn insert(&mut self, pattern: &str, value: usize) -> Result<(), ConfigError> {
        let explain = |error| explain(pattern, &error);
        self.empty = false;
        self.escapes |= pattern.contains('%');
        self.raw.insert(pattern, value).map_err(explain)?;
        let decoded = path::decode_pattern(pattern);
        // Patterns of one form can be the same when they are decoded.
        match self.decoded.insert(&decoded, value) {
            Err(InsertError::Conflict { with }) if path::form(&with) == path::form(&decoded) => {
                Ok(())
            }
            inserted => inserted.map_err(explain),
        }
    }

    fn at(&self, spelling: Spelling, path: &str) -> Option<usize> {
        let router = match spelling {
            Spelling::AsWritten => &self.raw,
            Spelling::Decoded => &self.decoded,
        };
        Some(*router.at(path).ok()?.value)
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

/// The rules that a request was found to need.
#[derive(Debug, Default)]
pub(crate) struct Needed<'a> {
    rules: Option<Rules<'a>>,
}

impl<'a> Needed<'a> {
    fn also(&mut self, rule: &'a Rule) {
        match &mut self.rules {
            Some(rules) => rules.also(rule),
            None => self.rules = Some(rule.into()),
        }
    }

    pub(crate) fn or(self, rule: &'a Rule) -> Rules<'a> {
        self.rules.unwrap_or_else(|| rule.into())
    }
}

/// The lookup of one request in a table.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a, 'r> {
    pub(crate) table: &'a Table,
    pub(crate) methods: Methods<'r>,
    /// The rule where there is no entry.
    pub(crate) otherwise: &'a Rule,
    /// Whether the fallback isn't added where nothing is listed.
    pub(crate) entries_only: bool,
}

impl<'a> Look<'a, '_> {
    /// Adds the rules of all readings of a path. Returns what is listed for it as it is written.
    pub(crate) fn readings(self, path: &str, needed: &mut Needed<'a>) -> Option<&'a Form> {
        let form = self.spellings(path, needed);
        // Some routers remove the parameters of a segment before they match (RFC 3986 §3.3).
        if path.contains(';') {
            self.spellings(&path::without_parameters(path), needed);
        }
        form
    }

    fn spellings(self, path: &str, needed: &mut Needed<'a>) -> Option<&'a Form> {
        let form = self.slashes(Spelling::AsWritten, path, needed);
        let escaped = path.contains('%');
        if escaped || self.table.all.escapes {
            let decoded = path::decode(path);
            self.slashes(Spelling::Decoded, &decoded, needed);
            if escaped && decoded.contains(';') {
                let bare = path::without_parameters(&decoded);
                self.slashes(Spelling::Decoded, &bare, needed);
            }
        }
        if escaped {
            let needless = path::decode_needless(path);
            if needless != path {
                self.slashes(Spelling::AsWritten, &needless, needed);
            }
            if self.table.encoded_slashes {
                self.slashes(Spelling::Decoded, &path::decode_within_segments(path), needed);
            }
        }
        form
    }

    /// Adds what a path needs, and what it needs with or without a trailing slash: some routers remove or
    /// append it. If both are listed, by patterns that differ in nothing else, only the requested one counts,
    /// and so it does if the other has only a catch-all.
    fn slashes(self, as_: Spelling, path: &str, needed: &mut Needed<'a>) -> Option<&'a Form> {
        let found = self.table.all.at(as_, path);
        let form = found.and_then(|at| self.table.forms.get(at));
        match form {
            Some(form) => self.listed(as_, path, form, needed),
            None if !self.entries_only => needed.also(self.otherwise),
            None => {}
        }
        let twin = match path.strip_suffix('/').filter(|bare| !bare.is_empty()) {
            Some(bare) => self.table.all.at(as_, bare).map(|at| (Cow::Borrowed(bare), at)),
            None if self.table.slashed.empty => None,
            None => self.table.slashed.at(as_, path).and_then(|_| {
                let twin = format!("{path}/");
                // Another pattern may be more specific than the one with that slash.
                self.table.all.at(as_, &twin).map(|at| (Cow::Owned(twin), at))
            }),
        };
        if let Some((twin, at)) = twin
            && let Some(other) = self.table.forms.get(at)
        {
            let of = |slashed: &Form, bare| slashed.bare.is_some() && slashed.bare == bare;
            let is_meant = form.is_some_and(|form| {
                let each_says = || (of(other, found) || of(form, Some(at))) && self.says(other);
                self.says(form) && (other.is_catch_all && !form.is_catch_all || each_says())
            });
            if !is_meant {
                self.listed(as_, &twin, other, needed);
            }
        }
        form
    }

    /// Returns `true` if there is an entry for the request's method, which alone decides.
    fn says(self, form: &Form) -> bool {
        form.any.is_some() || form.by_name(self.methods.first()).is_some()
    }

    /// Adds the rules of what is listed for a path.
    fn listed(self, as_: Spelling, path: &str, form: &'a Form, needed: &mut Needed<'a>) {
        let (first, connect) = (self.methods.first(), self.methods.second());
        let connect = connect
            .and_then(|method| form.by_name(method).or_else(|| self.wider(as_, path, method)));
        if let Some(at) = form.entry(first) {
            self.entry(at, needed);
        } else if let Some(at) = self.wider(as_, path, first) {
            self.entry(at, needed);
        } else if connect.is_none() {
            self.other_method(as_, path, needed);
        }
        if let Some(at) = connect {
            self.entry(at, needed);
        }
    }

    /// Returns the entry that a wider pattern has for a method by name.
    fn wider(self, as_: Spelling, path: &str, method: &Method) -> Option<usize> {
        let table = self.table;
        let (_, matchers) = table.by_method.iter().find(|(listed, _)| listed == method)?;
        let at = matchers.at(as_, path)?;
        table.entries.get(at)?.for_method.then_some(at)
    }

    /// Adds the rules of a path that is listed, but not for the request's method: a handler for any
    /// method may be behind what is listed for another. So nothing that is listed is weakened.
    fn other_method(self, as_: Spelling, path: &str, needed: &mut Needed<'a>) {
        let table = self.table;
        match table.other_methods.at(as_, path) {
            Some(at) => self.entry(at, needed),
            None => needed.also(self.otherwise),
        }
        for at in table.by_method.iter().filter_map(|(_, matchers)| matchers.at(as_, path)) {
            self.entry(at, needed);
        }
    }

    fn entry(self, at: usize, needed: &mut Needed<'a>) {
        if let Some(entry) = self.table.entries.get(at) {
            needed.also(&entry.rule);
        }
    }
}
