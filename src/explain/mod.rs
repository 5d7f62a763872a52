//! Why a token is accepted or refused, step by step: for operators.
//!
//! ```
//! # async fn example(validator: &tower_bearer::Validator, token: &str) {
//! let explanation = validator.explain(token).await;
//! println!("{explanation}");
//! assert_eq!(explanation.refusal().map(|refusal| refusal.code()), Some("wrong_audience"));
//! # }
//! ```
//!
//! ```text
//! passed  length           613 bytes, at most 16384
//! passed  alg              presented "ES256", accepted ES256, RS256
//! FAILED  aud              the token is for another audience: expected "orders", presented "account"
//! passed  signature        it is valid
//! verdict: refused as wrong_audience: the token is for another audience: expected …
//! answer:  401 invalid_token, gRPC status 16
//! remedy:  if the presented audience means this service, give it to Validator::builder or …
//! ```
//!
//! Never return it to callers: it reveals what a token lacks, and where it may be accepted.

mod explanation;

pub use self::explanation::{Explanation, Outcome, Step};
pub use crate::validator::InForce;
