#![allow(dead_code)]

tower_bearer::scopes! {
    OrdersRead = "orders:read";
}

fn main() {}
