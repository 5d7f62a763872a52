//! The client, tenant and server of a grant, as errors, logs and metrics name them.

use std::sync::Arc;

use crate::telemetry::{issuer_label, tenant_label};

/// The client, tenant and server of a grant, fit for errors and logs.
pub(crate) struct Party {
    pub(crate) client_id: Box<str>,
    pub(crate) tenant: Option<Box<str>>,
    pub(crate) issuer: Option<Box<str>>,
    /// The token endpoint, if the grant names it.
    pub(crate) endpoint: Option<Box<str>>,
}

impl Party {
    /// Returns the metric labels of the issuer, or else the token endpoint, and of the tenant: `other` beyond
    /// the number of labels that are kept.
    pub(crate) fn labels(&self) -> [Arc<str>; 2] {
        let server = self.issuer.as_deref().or(self.endpoint.as_deref()).unwrap_or_default();
        let tenant = self.tenant.as_deref().map(Arc::from);
        let other = || Arc::from("other");
        [
            issuer_label(&server.into()).unwrap_or_else(other),
            tenant.map_or_else(|| "none".into(), |it| tenant_label(&it).unwrap_or_else(other)),
        ]
    }
}
