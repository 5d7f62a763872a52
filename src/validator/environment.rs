//! Reads a validator's settings from environment variables.

use std::fmt::Write as _;
use std::time::Duration;

use crate::error::ConfigError;
use crate::jose::Algorithm;
use crate::jwks::Jwks;
use crate::validator::builder::ValidatorBuilder;
use crate::validator::handle::Validator;

impl Validator {
    /// Reads settings from the environment, for a validator of one issuer. Other settings may follow.
    ///
    /// | variable | what |
    /// |---|---|
    /// | `ISSUER`, `AUDIENCE` | required: as in [`builder`](Self::builder) |
    /// | `JWKS_URI` | the address of the keys, as in [`Jwks::url`]; by default they are found by discovery |
    /// | `ALGORITHMS` | as in [`ValidatorBuilder::algorithms`], separated by spaces |
    /// | `LEEWAY_SECS` | as in [`ValidatorBuilder::leeway`] |
    /// | `JWKS_TTL_SECS`, `JWKS_COOLDOWN_SECS`, `JWKS_TIMEOUT_SECS`, `JWKS_MAX_BYTES` | as in [`JwksBuilder`](crate::jwks::JwksBuilder) |
    ///
    /// An empty variable counts as absent.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use tower_bearer::Validator;
    ///
    /// let validator = Validator::from_env()?.require_typ().build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a required one is missing, empty or not Unicode, or one has a value that can't be read; the
    /// error names all of these.
    pub fn from_env() -> Result<ValidatorBuilder, ConfigError> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Reads the same variables from elsewhere: under other names, or from a configuration file.
    ///
    /// ```
    /// use tower_bearer::Validator;
    ///
    /// let nothing = Validator::from_vars(|_| None).unwrap_err();
    /// assert_eq!(
    ///     nothing.to_string(),
    ///     "ISSUER is missing or empty, AUDIENCE is missing or empty: set them in the environment"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// If a required one is missing or empty, or one has a value that can't be read; the error names all
    /// of these.
    pub fn from_vars(
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<ValidatorBuilder, ConfigError> {
        let mut vars = Vars { lookup, faults: Vec::new() };
        let (issuer, audience) = (vars.required("ISSUER"), vars.required("AUDIENCE"));
        let mut keys = match vars.text("JWKS_URI") {
            Some(url) => Jwks::url(&issuer, url),
            None => Jwks::discover(&issuer),
        };
        if let Some(ttl) = vars.secs("JWKS_TTL_SECS") {
            keys = keys.ttl(ttl);
        }
        if let Some(cooldown) = vars.secs("JWKS_COOLDOWN_SECS") {
            keys = keys.cooldown(cooldown);
        }
        if let Some(timeout) = vars.secs("JWKS_TIMEOUT_SECS") {
            keys = keys.timeout(timeout);
        }
        if let Some(bytes) = vars.number("JWKS_MAX_BYTES") {
            keys = keys.max_bytes(bytes);
        }
        let mut builder = Self::builder(issuer, audience).keys(keys);
        if let Some(leeway) = vars.secs("LEEWAY_SECS") {
            builder = builder.leeway(leeway);
        }
        if let Some(algorithms) = vars.algorithms() {
            builder = builder.algorithms(algorithms);
        }
        vars.finish()?;
        Ok(builder)
    }
}

/// The variables, and what is wrong with those that were read.
struct Vars<L> {
    lookup: L,
    faults: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Vars<L> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.faults.push(format!("{name} is missing or empty"));
            String::new()
        })
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        let read = self.text(name)?.parse().ok();
        if read.is_none() {
            self.faults.push(format!("{name} isn't a whole number"));
        }
        read
    }

    fn secs(&mut self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_secs)
    }

    fn algorithms(&mut self) -> Option<Vec<Algorithm>> {
        let names = self.text("ALGORITHMS")?;
        let read: Option<Vec<_>> = names.split_whitespace().map(Algorithm::from_name).collect();
        if read.is_none() {
            self.faults.push("ALGORITHMS has a name that isn't known".to_owned());
        }
        read
    }

    fn finish(self) -> Result<(), ConfigError> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let mut said = self.faults.join(", ");
        let them = if self.faults.len() == 1 { "it" } else { "them" };
        let _ = write!(said, ": set {them} in the environment");
        Err(ConfigError::new(said))
    }
}
