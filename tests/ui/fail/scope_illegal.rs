tower_bearer::scopes! {
    OrdersRead = "orders read";
}

fn main() {}
