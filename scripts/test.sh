#!/usr/bin/env bash
# The test command: installs what it needs, then checks formatting, lints, every feature alone,
# docs, and the whole suite (the interop tests and the examples included).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${CI:-}" = true ]; then
    # Nothing is built twice there, and nobody debugs it.
    export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_TERM_COLOR=never
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() {
    printf '\n== %s\n' "$*"
    "$@" 2>&1 | tee -a "$log"
}
lint() { step cargo clippy --locked --quiet "$@" -- -D warnings; }

step scripts/setup.sh
step cargo fmt --check
step cargo fmt --check --manifest-path fuzz/Cargo.toml
step cargo fmt --check --manifest-path benches/Cargo.toml
step promtool check rules docs/alerts.yml
step promtool test rules docs/alerts_test.yml
lint --workspace --all-features --all-targets
# The fuzz targets are only linted: to run them takes a nightly compiler. Nothing is linked, so
# libFuzzer needs not be built.
CUSTOM_LIBFUZZER_PATH=/none/libnone.a lint --manifest-path fuzz/Cargo.toml --all-targets \
    --target-dir "${CARGO_TARGET_DIR:-target}"

lint --manifest-path benches/Cargo.toml --all-targets --features tracing --target-dir "${CARGO_TARGET_DIR:-target}"

# Features only add: each stands alone, and the sets that people deploy.
# The library alone: beside the examples, it would have the features that they want.
lint -p tower-bearer --lib --no-default-features
for features in aws-lc-rs rust-crypto reqwest reqwest-0_13 axum client dpop introspection mcp mtls shared-cache redis \
    aws-secrets-manager vault tracing metrics test-util aws-lc-rs,introspection aws-lc-rs,dpop client,reqwest-0_13 client,dpop \
    rust-crypto,client rust-crypto,reqwest,axum \
    aws-lc-rs,rust-crypto default full; do
    lint -p tower-bearer --lib --no-default-features --features "$features"
done

RUSTDOCFLAGS='-D warnings' step cargo doc --locked --quiet -p tower-bearer --no-deps --all-features
step cargo nextest run --locked --workspace --all-features
step cargo test --locked --quiet --doc --all-features
# The same verdicts, and assertions as good, from the other crypto backend.
step cargo nextest run --locked -p tower-bearer --no-default-features --features rust-crypto,client

# Each bench once; then what requests take, counted, against benches/limits.toml.
bench() {
    step cargo bench --locked --quiet --manifest-path benches/Cargo.toml \
        --target-dir "${CARGO_TARGET_DIR:-target}" "$@"
}
bench --bench requests --bench goals -- --test
bench --bench count

# What the runners counted, added up: nextest's summaries and the doc tests' result lines. A failure
# has ended the script above.
awk '/tests? run: [0-9]+ passed/ { sub(/.*tests? run: /, ""); passed += $1 }
     /^test result: ok\. / { passed += $4 }
     END { if (!passed) exit 1; printf "\n%d passed, 0 failed\n", passed }' "$log"
