use tower_bearer::RequireScope;
use tower_bearer::middleware::AnyOf;

tower_bearer::scopes! {
    pub Read = "read";
    pub Write = "write";
}

pub async fn list(_: RequireScope<AnyOf<Read>>) {}

fn main() {}
