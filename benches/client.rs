//! What it takes to send a token along that the client has already.

use std::convert::Infallible;
use std::hint::black_box;
use std::task::{Context, Poll};

use axum::body::Body;
use criterion::{BatchSize, Criterion, criterion_group};
use http::{Request, Response, Uri};
use support::scripted::token_source;
use support::service::{Template, now};
use tower::{Layer, Service};
use tower_bearer::client::AttachTokenLayer;

/// Answers at once, whatever it is sent.
#[derive(Clone)]
struct Server;

impl<B> Service<Request<B>> for Server {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        std::future::ready(Ok(Response::new(())))
    }
}

fn request() -> Request<Body> {
    let mut request = Template::bare().request();
    *request.uri_mut() = Uri::from_static("https://orders.example.com/orders");
    request
}

fn cached(criterion: &mut Criterion) {
    let (source, _runtime) = token_source();
    criterion.bench_function("client/token", |bencher| {
        bencher.iter(|| now(black_box(&source).token()).unwrap().header_value());
    });

    let layer = AttachTokenLayer::new(source, ["https://orders.example.com"]).unwrap();
    let mut attached = layer.layer(Server);
    let mut group = criterion.benchmark_group("client/request");
    group.bench_function("without a token", |bencher| {
        bencher.iter_batched(request, |it| now(Server.call(it)), BatchSize::SmallInput);
    });
    group.bench_function("with a token", |bencher| {
        bencher.iter_batched(request, |it| now(attached.call(it)).unwrap(), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, cached);
