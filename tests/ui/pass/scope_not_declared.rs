use tower_bearer::RequireScope;

tower_bearer::scopes! {
    pub OrdersRead = "orders:read";
}

pub async fn list(_: RequireScope<OrdersRead>) {}

fn main() {}
