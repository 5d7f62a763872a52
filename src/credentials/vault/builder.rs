//! The builder of a Vault: its address, and how this process logs in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use crate::credentials::vault::path::encoded;
use crate::credentials::vault::secret::Vault;
use crate::credentials::vault::server::Server;
use crate::credentials::vault::session::{Kubernetes, LoginMethod, Session};
use crate::error::ConfigError;
use crate::file::SmallFile;
use crate::transport::{
    CONNECT_TIMEOUT, PlainHttp, Transport, default_transport, parse_url, printable,
};

/// The path at which Kubernetes mounts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Builds a [`Vault`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct VaultBuilder {
    address: String,
    token_file: Option<PathBuf>,
    role: Option<String>,
    mount: String,
    service_account: PathBuf,
    namespace: Option<String>,
    plain_http: PlainHttp,
    transport: Option<Arc<dyn Transport>>,
}

impl Vault {
    /// Starts building a Vault at this address, such as `https://vault.internal:8200`, which Vault's own
    /// command takes from `VAULT_ADDR`.
    pub fn builder(address: &str) -> VaultBuilder {
        VaultBuilder {
            address: address.into(),
            token_file: None,
            role: None,
            mount: "kubernetes".into(),
            service_account: SERVICE_ACCOUNT.into(),
            namespace: None,
            plain_http: PlainHttp::Refused,
            transport: None,
        }
    }
}

impl VaultBuilder {
    /// Uses the token in this file, which is read for each request, so that it may be replaced at any time.
    /// It is renewed by the process that writes it, such as an agent with a file sink.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Logs in with this role, and the token of the pod's service account.
    pub fn kubernetes(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Sets the mount of the Kubernetes auth method: `kubernetes` by default. Vault's JWT auth method takes the
    /// same request.
    pub fn kubernetes_mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into();
        self
    }

    /// Sets the file with the service account's token, such as a projected one with its own audience. It
    /// is read at each login. The default is `/var/run/secrets/kubernetes.io/serviceaccount/token`.
    pub fn service_account_token(mut self, path: impl Into<PathBuf>) -> Self {
        self.service_account = path.into();
        self
    }

    /// Sets the namespace of the login and the secrets (`X-Vault-Namespace`), such as `team/billing`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Accepts an `http` address of this machine, such as that of an agent beside this process, or of Vault
    /// in its development mode.
    pub fn allow_loopback_http(mut self) -> Self {
        self.plain_http = PlainHttp::Loopback;
        self
    }

    /// Sends requests through this transport in place of the default one, such as one with a private
    /// certificate authority.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Builds the Vault, without a request.
    ///
    /// # Errors
    ///
    /// If the address, the mount or the namespace isn't valid; if neither a token file nor a role is set, or
    /// both are; or if there is no transport.
    pub fn build(self) -> Result<Vault, ConfigError> {
        const ALLOWED: &str = ", and only after .allow_loopback_http()";
        let address = parse_url(&self.address, self.plain_http)
            .map_err(|fault| fault.report("address of Vault", &self.address, ALLOWED))?;
        if address.query().is_some() {
            return Err(ConfigError::new(format!(
                "the address of Vault {:?} can't be used: remove the query",
                printable(&self.address)
            )));
        }
        let base = format!("{}/v1", self.address.trim_end_matches('/'));
        let namespace = match &self.namespace {
            // The header has no encoding, so only characters that need none are accepted.
            Some(name) => match encoded("namespace", name)? {
                plain if plain == name.trim_matches('/') => HeaderValue::try_from(plain).ok(),
                _ => {
                    return Err(ConfigError::new(
                        "the namespace of Vault can't be used: it has characters other than letters, \
                         digits, \"-\", \".\", \"_\" and \"/\"",
                    ));
                }
            },
            None => None,
        };
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(CONNECT_TIMEOUT)?,
        };
        let server = Server { transport, base, namespace };
        let method = match (self.token_file, self.role) {
            (Some(path), None) => LoginMethod::TokenFile(SmallFile::new(path)),
            (None, Some(role)) if role.is_empty() => {
                return Err(ConfigError::new("the role of Vault is empty"));
            }
            (None, Some(role)) => LoginMethod::Kubernetes(Arc::new(Kubernetes {
                login: server.uri(&format!("auth/{}/login", encoded("mount", &self.mount)?))?,
                renewal: server.uri("auth/token/renew-self")?,
                role,
                jwt: SmallFile::new(self.service_account),
            })),
            (None, None) => {
                return Err(ConfigError::new(
                    "no way to log in to Vault is set: call .kubernetes(…) or .token_file(…)",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(
                    "there are two ways to log in to Vault: leave .kubernetes(…) or .token_file(…) out",
                ));
            }
        };
        Ok(Vault::of(Session::new(server, method)))
    }
}

impl fmt::Debug for VaultBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultBuilder")
            .field("address", &printable(&self.address))
            .finish_non_exhaustive()
    }
}
