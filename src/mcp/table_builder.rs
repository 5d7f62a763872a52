//! Builds and checks the table of access rules.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::error::ConfigError;
use crate::mcp::call::{CALL_TOOL, GET_PROMPT};
use crate::mcp::table::{Inner, Methods, Names, OperationTable, Prefixes, Resources};
use crate::mcp::uri;
use crate::middleware::routes::access::{Access, Rule};

/// Builds an [`OperationTable`]. The order of entries doesn't matter.
#[derive(Clone, Debug)]
#[must_use]
pub struct OperationTableBuilder {
    base: Access,
    methods: Vec<(String, Access)>,
    tools: Vec<(String, Access)>,
    other_tools: Access,
    prompts: Vec<(String, Access)>,
    other_prompts: Access,
    prefixes: Vec<(String, Access)>,
    other_resources: Option<Access>,
}

impl OperationTable {
    /// Starts a table. `base` is the access rule of requests for which there is no entry.
    pub fn builder(base: Access) -> OperationTableBuilder {
        OperationTableBuilder {
            base,
            methods: Vec::new(),
            tools: Vec::new(),
            other_tools: Access::public(),
            prompts: Vec::new(),
            other_prompts: Access::public(),
            prefixes: Vec::new(),
            other_resources: None,
        }
    }
}

impl OperationTableBuilder {
    /// Sets what a call of this tool needs, in addition to what `tools/call` needs.
    pub fn tool(mut self, name: impl Into<String>, access: Access) -> Self {
        self.tools.push((name.into(), access));
        self
    }

    /// Sets what calls of tools without an entry need, in addition to what `tools/call` needs. The default
    /// is nothing; [`Access::denied`] refuses every tool that isn't listed.
    pub fn other_tools(mut self, access: Access) -> Self {
        self.other_tools = access;
        self
    }

    /// Sets what this prompt needs, in addition to what `prompts/get` needs.
    pub fn prompt(mut self, name: impl Into<String>, access: Access) -> Self {
        self.prompts.push((name.into(), access));
        self
    }

    /// Sets what prompts without an entry need, in addition to what `prompts/get` needs. The default is
    /// nothing.
    pub fn other_prompts(mut self, access: Access) -> Self {
        self.other_prompts = access;
        self
    }

    /// Sets what resources whose URI has this prefix need, in addition to what the method needs.
    pub fn resource_prefix(mut self, prefix: impl Into<String>, access: Access) -> Self {
        self.prefixes.push((prefix.into(), access));
        self
    }

    /// Sets what resources without an entry need, in addition to what the method needs. The default is
    /// nothing.
    pub fn other_resources(mut self, access: Access) -> Self {
        self.other_resources = Some(access);
        self
    }

    /// Sets what a method needs instead of the base: `tools/list`, or `notifications/*` for all methods
    /// that begin with `notifications/`.
    pub fn method(mut self, method: impl Into<String>, access: Access) -> Self {
        self.methods.push((method.into(), access));
        self
    }

    /// Builds the table.
    ///
    /// # Errors
    ///
    /// If an entry is duplicate, has an empty name, names an invalid scope, or hides its existence, which
    /// operations cannot; or if a prefix isn't the beginning of a URI, or has a query.
    pub fn build(self) -> Result<OperationTable, ConfigError> {
        let base = rule(self.base)?;
        let methods = methods(self.methods)?;
        let of_method = |method| methods.get(method).unwrap_or(&base);
        let tools = names("tool", self.tools, self.other_tools, of_method(CALL_TOOL))?;
        let prompts = names("prompt", self.prompts, self.other_prompts, of_method(GET_PROMPT))?;
        let resources = match (self.prefixes, self.other_resources) {
            (prefixes, None) if prefixes.is_empty() => None,
            (prefixes, others) => {
                let others = rule(others.unwrap_or(Access::public()))?;
                Some(Resources { prefixes: resources(prefixes)?, others })
            }
        };
        Ok(OperationTable::new(Inner { base, methods, tools, prompts, resources }))
    }
}

fn rule(access: Access) -> Result<Arc<Rule>, ConfigError> {
    let rule = access.into_rule()?;
    if rule.hides() {
        return Err(ConfigError::new(
            "an MCP operation can't hide its existence: leave .hide_existence() out, and don't list \
             the tool for those who may not call it",
        ));
    }
    Ok(Arc::new(rule))
}

/// Adds an entry, which must not exist.
fn add(
    what: &str,
    entries: &mut HashMap<Box<str>, Arc<Rule>>,
    name: String,
    rule: Arc<Rule>,
) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(ConfigError::new(format!("a {what} has an empty name: name it")));
    }
    match entries.entry(name.into()) {
        Entry::Occupied(entry) => Err(ConfigError::new(format!(
            "the {what} {:?} is listed twice: remove one of the entries",
            entry.key()
        ))),
        Entry::Vacant(entry) => {
            entry.insert(rule);
            Ok(())
        }
    }
}

fn methods(entries: Vec<(String, Access)>) -> Result<Methods, ConfigError> {
    let (mut exact, mut prefixes) = (HashMap::new(), HashMap::new());
    for (method, access) in entries {
        match method.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => {
                add("method", &mut prefixes, prefix.to_owned(), rule(access)?)?;
            }
            None if !method.contains('*') => add("method", &mut exact, method, rule(access)?)?,
            _ => {
                return Err(ConfigError::new(format!(
                    "the method {method:?} has a * that isn't its whole last segment: write it as \
                     \"notifications/*\""
                )));
            }
        }
    }
    Ok(Methods { exact, prefixes: longest_first(prefixes) })
}

fn names(
    what: &str,
    entries: Vec<(String, Access)>,
    others: Access,
    of_method: &Rule,
) -> Result<Names, ConfigError> {
    let mut listed = HashMap::new();
    for (name, access) in entries {
        add(what, &mut listed, name, Arc::new(of_method.and(&*rule(access)?)))?;
    }
    Ok(Names { listed, others: Arc::new(of_method.and(&*rule(others)?)) })
}

/// Returns each prefix as it is written and as parsers may read it.
fn resources(entries: Vec<(String, Access)>) -> Result<Prefixes, ConfigError> {
    let (mut written, mut normal) = (HashMap::new(), HashMap::new());
    for (prefix, access) in entries {
        let rule = rule(access)?;
        if prefix.contains(['?', '#']) {
            return Err(ConfigError::new(format!(
                "the resource prefix {prefix:?} has a query or a fragment, which can be written in many \
                 ways: end it before"
            )));
        }
        let spelled = uri::normal(&prefix).ok().filter(|it| {
            let again = uri::normal(it);
            again.as_ref() == Ok(it)
        });
        let Some(spelled) = spelled else {
            return Err(ConfigError::new(format!(
                "the resource prefix {prefix:?} isn't the beginning of a URI, or has too many \
                 escapes: write the scheme and what follows, as in \"file:///reports\""
            )));
        };
        add("resource prefix", &mut normal, spelled, rule.clone())?;
        add("resource prefix", &mut written, prefix, rule)?;
    }
    for (prefix, rule) in normal {
        written.entry(prefix).or_insert(rule);
    }
    Ok(longest_first(written))
}

fn longest_first(entries: HashMap<Box<str>, Arc<Rule>>) -> Prefixes {
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then(one.cmp(other)));
    entries.into()
}
