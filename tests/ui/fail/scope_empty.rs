tower_bearer::scopes! {
    Nothing = "";
}

fn main() {}
