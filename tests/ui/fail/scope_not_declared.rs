use tower_bearer::RequireScope;

pub struct OrdersRead;

pub async fn list(_: RequireScope<OrdersRead>) {}

fn main() {}
