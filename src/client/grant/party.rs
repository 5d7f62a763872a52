/// For whom a token is, and from where, in words that are fit for errors and logs.
pub(crate) struct Party {
    pub(crate) client_id: Box<str>,
    pub(crate) tenant: Option<Box<str>>,
    pub(crate) issuer: Option<Box<str>>,
    /// The token endpoint, if the grant names it.
    pub(crate) endpoint: Option<Box<str>>,
}
