//! Times of requests and of their parts, one by one. For ratios between them see `goals.rs`.

mod client;
mod layer;
mod validator;

criterion::criterion_main!(layer::benches, validator::benches, client::benches);
