//! The transport that is used if none is set.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::transport::contract::Transport;

/// Creates the transport that is used if none is set.
#[cfg(all(feature = "reqwest", feature = "aws-lc-rs"))]
pub(crate) fn default_transport(
    connect_timeout: Duration,
) -> Result<Arc<dyn Transport>, ConfigError> {
    Ok(Arc::new(
        crate::transport::ReqwestTransport::builder().connect_timeout(connect_timeout).build()?,
    ))
}

#[cfg(not(all(feature = "reqwest", feature = "aws-lc-rs")))]
pub(crate) fn default_transport(_: Duration) -> Result<Arc<dyn Transport>, ConfigError> {
    Err(ConfigError::new(
        "there is no transport: call .transport(…), or turn on the features \
         \"reqwest\" and \"aws-lc-rs\" of tower-bearer",
    ))
}
