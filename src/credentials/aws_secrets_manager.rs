//! The client's secret in AWS Secrets Manager.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueOutput,
};
use zeroize::Zeroizing;

use crate::cause::Reason;
use crate::credentials::field::{NO_FIELD, field};
use crate::credentials::provider::{SecretError, SecretErrorKind, SecretFuture, SecretProvider};
use crate::secret::Secret;

/// How long a request may take, the SDK's own retries included.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A secret in AWS Secrets Manager: the current version (`AWSCURRENT`) of a secret string or
/// binary, or one field of it where it is a JSON object.
///
/// It uses a client of the official SDK, which has its own region, credentials,
/// endpoint and HTTPS; `Client::new(&aws_config::load_from_env().await)` makes one. It needs the
/// permission `secretsmanager:GetSecretValue`.
///
/// The secret is fetched each time it is asked for. A
/// [`SecretSource`](crate::client::SecretSource) made from this keeps it for a while, and asks again
/// when a server refuses it; where several tenants share one secret, clone the source.
///
/// # Errors
///
/// [`SecretProvider::secret`] fails with
///
/// * [`NotFound`](SecretErrorKind::NotFound) if there is no such secret, or it has no current version;
/// * [`Malformed`](SecretErrorKind::Malformed) if it is empty, or the field is missing, empty or not
///   a string;
/// * [`Unavailable`](SecretErrorKind::Unavailable) if there is no answer within 4
///   seconds, or if the service answers that it is overloaded or broken;
/// * [`Other`](SecretErrorKind::Other) if it may not be read, was deleted or can't be decrypted, if
///   the client has no credentials, or if the answer can't be understood.
///
/// # Examples
///
/// ```
/// use tower_bearer::client::AwsSecretsManager;
///
/// fn secret_of_orders(client: aws_sdk_secretsmanager::Client) -> AwsSecretsManager {
///     AwsSecretsManager::new(client, "production/orders/oauth").json_field("client_secret")
/// }
/// ```
#[derive(Clone)]
pub struct AwsSecretsManager {
    client: Client,
    id: String,
    field: Option<String>,
}

impl AwsSecretsManager {
    /// Creates a provider of the secret with this name or ARN, without a request.
    pub fn new(client: Client, secret_id: impl Into<String>) -> Self {
        Self { client, id: secret_id.into(), field: None }
    }

    /// Takes the string in this field of the secret, which is a JSON object, as the console makes
    /// it from key/value pairs.
    #[must_use]
    pub fn json_field(mut self, name: impl Into<String>) -> Self {
        self.field = Some(name.into());
        self
    }

    async fn fetch(&self) -> Result<Secret, SecretError> {
        let request = self.client.get_secret_value().secret_id(&self.id);
        let request = request.version_stage("AWSCURRENT").send();
        let answer = tokio::time::timeout(TIMEOUT, request).await;
        let whole = match answer {
            Ok(Ok(answer)) => whole(answer)?,
            Ok(Err(error)) => return Err(failure(&error)),
            Err(_) => {
                let slow = Reason("AWS didn't answer within 4 seconds".into());
                return Err(SecretError::new(SecretErrorKind::Unavailable).with_source(slow));
            }
        };
        let secret = match &self.field {
            Some(name) => field(&whole, name).ok_or_else(|| SecretError::malformed(NO_FIELD))?,
            None => Secret::new(whole.as_slice()),
        };
        if secret.expose().is_empty() {
            return Err(SecretError::malformed("it is empty"));
        }
        Ok(secret)
    }
}

impl SecretProvider for AwsSecretsManager {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(self.fetch())
    }
}

impl fmt::Debug for AwsSecretsManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSecretsManager")
            .field("secret_id", &self.id)
            .field("json_field", &self.field)
            .finish_non_exhaustive()
    }
}

fn whole(answer: GetSecretValueOutput) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let text = answer.secret_string.map(String::into_bytes);
    let bytes = text.or_else(|| Some(answer.secret_binary?.into_inner()));
    bytes.map(Zeroizing::new).ok_or_else(|| SecretError::malformed("it has no value"))
}

/// Maps an error by its code alone: the messages of AWS name accounts and keys.
fn failure(error: &SdkError<GetSecretValueError>) -> SecretError {
    let code = error.as_service_error().and_then(|error| error.code());
    let known = |code: &&str| code.len() <= 64 && code.bytes().all(|it| it.is_ascii_alphanumeric());
    let reason = match (code.filter(known), error) {
        (Some(code), _) => format!("AWS refuses: {code}"),
        (None, SdkError::TimeoutError(_)) => "AWS didn't answer in time".into(),
        (None, SdkError::DispatchFailure(failure)) if failure.is_io() || failure.is_timeout() => {
            "AWS can't be reached".into()
        }
        (None, SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_)) => {
            "the request can't be built: are a region and credentials configured?".into()
        }
        _ => "the answer of AWS can't be understood".into(),
    };
    SecretError::new(kind(error)).with_source(Reason(Cow::Owned(reason)))
}

fn kind(error: &SdkError<GetSecretValueError>) -> SecretErrorKind {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match error {
        SdkError::ServiceError(service) => match service.err() {
            GetSecretValueError::ResourceNotFoundException(_) => SecretErrorKind::NotFound,
            GetSecretValueError::InternalServiceError(_) => SecretErrorKind::Unavailable,
            _ if status == 429 || status >= 500 => SecretErrorKind::Unavailable,
            other if other.code().is_some_and(is_throttling) => SecretErrorKind::Unavailable,
            _ => SecretErrorKind::Other,
        },
        SdkError::TimeoutError(_) => SecretErrorKind::Unavailable,
        SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
            SecretErrorKind::Unavailable
        }
        _ => SecretErrorKind::Other,
    }
}

/// AWS reports throttling with the status 400.
fn is_throttling(code: &str) -> bool {
    ["ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"]
        .contains(&code)
}
