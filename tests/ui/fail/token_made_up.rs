use tower_bearer::{AccessToken, NoClaims};

fn token() -> AccessToken<NoClaims> {
    AccessToken { verified: todo!() }
}

fn main() {
    let _ = token();
}
