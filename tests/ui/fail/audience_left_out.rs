use tower_bearer::Validator;

fn main() {
    let _ = Validator::builder("https://issuer.example");
}
