use std::collections::BTreeMap;

use http::Method;

use crate::error::ConfigError;
use crate::middleware::access::Access;
use crate::middleware::path;
use crate::middleware::route_table::{Entry, RouteTable};

/// Builds a [`RouteTable`].
#[derive(Clone, Debug, Default)]
pub struct RouteTableBuilder {
    listed: Vec<Listed>,
}

#[derive(Clone, Debug)]
struct Listed {
    /// `None` for all methods that aren't listed with the same pattern.
    method: Option<Method>,
    pattern: String,
    access: Access,
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
    ///
    /// An access that [hides](Access::hide_existence) answers as a tonic server without that
    /// service does, and a single method that hides as
    /// [`Absent::GrpcMethod`](crate::refusal::Absent::GrpcMethod) like one without that method.
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
    /// If a pattern or scope is malformed, an entry is there twice, or two patterns can't be told
    /// apart.
    pub fn build(self) -> Result<RouteTable, ConfigError> {
        let mut index = Index::default();
        let mut entries = Vec::with_capacity(self.listed.len());
        for (at, Listed { method, pattern, access }) in self.listed.into_iter().enumerate() {
            check_pattern(&pattern)?;
            index.add(at, method, &pattern)?;
            entries.push(Entry { pattern, rule: access.into_rule()? });
        }
        let by_method = index.methods.iter().map(|method| (method.clone(), index.chosen(method)));
        RouteTable::new(entries, by_method, index.any.values().copied())
    }
}

/// The numbers of the entries, by what they are for.
#[derive(Default)]
struct Index {
    /// By the pattern's form, in which parameters have no names.
    any: BTreeMap<String, usize>,
    listed: Vec<(Method, String, usize)>,
    methods: Vec<Method>,
}

impl Index {
    fn add(&mut self, at: usize, method: Option<Method>, pattern: &str) -> Result<(), ConfigError> {
        let form = path::form(pattern);
        let twice = match &method {
            None => self.any.contains_key(&form),
            Some(method) => self.listed.iter().any(|(m, f, _)| m == method && *f == form),
        };
        if twice {
            let method = method.as_ref().map_or("all methods", Method::as_str);
            return Err(ConfigError::new(format!(
                "the route table lists {method} {pattern:?} twice: take one of the entries out \
                 (names of parameters make no difference)"
            )));
        }
        match method {
            None => {
                self.any.insert(form, at);
            }
            Some(method) => {
                let head = (method == Method::GET).then_some(Method::HEAD);
                for method in head.into_iter().chain([method.clone()]) {
                    if !self.methods.contains(&method) {
                        self.methods.push(method);
                    }
                }
                self.listed.push((method, form, at));
            }
        }
        Ok(())
    }

    /// Returns one entry for each form of pattern that has one for this method.
    fn chosen(&self, method: &Method) -> Vec<usize> {
        let mut chosen = self.any.clone();
        let get = (method == Method::HEAD).then_some(&Method::GET);
        for method in get.into_iter().chain([method]) {
            let listed = self.listed.iter().filter(|(listed, ..)| listed == method);
            chosen.extend(listed.map(|(_, form, at)| (form.clone(), *at)));
        }
        chosen.into_values().collect()
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
