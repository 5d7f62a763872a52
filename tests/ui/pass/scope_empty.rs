#![allow(dead_code)]

tower_bearer::scopes! {
    Something = "s";
}

fn main() {}
