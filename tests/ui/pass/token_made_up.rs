use tower_bearer::{AccessToken, NoClaims};

fn token(extensions: &http::Extensions) -> Option<AccessToken<NoClaims>> {
    AccessToken::from_extensions(extensions)
}

fn main() {
    let _ = token(&http::Extensions::new());
}
