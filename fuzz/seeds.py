#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, `corpus/TARGET/`, from the vectors of `../fixtures`."""

import base64
import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
count = {}


def seed(target, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    count[target] = count.get(target, 0) + 1


def text(value):
    if isinstance(value, str):
        return value
    return "".join(p if isinstance(p, str) else p["repeat"] * p["times"] for p in value)


def decoded(segment):
    return base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)


def scopes_of(value):
    if isinstance(value, dict):
        for member in value.values():
            yield from scopes_of(member)
    elif isinstance(value, list):
        yield " ".join(v for v in value if isinstance(v, str))
    elif isinstance(value, str):
        yield value


for file in sorted((FIXTURES / "tokens").glob("*.json")):
    for row in json.loads(file.read_text()):
        token = text(row["token"])
        if "fields" in row:
            fields = [v.replace("{token}", token) for k, v in row["fields"] if k == "authorization"]
            seed("authorization_header", "\n".join(fields).encode("latin-1"))
            continue
        seed("compact_jws", b"0" + token.encode())
        if not isinstance(row["jwks"], str):
            seed("jwk_set", text(row["jwks"]).encode())
        segments = token.split(".")
        if len(segments) == 3:
            try:
                header, payload = decoded(segments[0]), decoded(segments[1])
            except ValueError:
                continue
            # Signed by the target: so the header must name that key, or the signature is wrong.
            header = header.replace(b'"alg":"ES256"', b'"alg":"EdDSA"').replace(
                b'"kid":"p256"', b'"kid":"ed25519"'
            )
            seed("compact_jws", b"1" + header + b"\0" + payload)
            try:
                for scope in scopes_of(
                    {k: v for k, v in json.loads(payload).items() if k in ("scope", "scp", "roles")}
                ):
                    seed("scopes", scope.encode("utf-8", "replace"))
            except (ValueError, AttributeError, RecursionError):
                pass
for file in sorted((FIXTURES / "jwks").glob("*.json")):
    seed("jwk_set", file.read_bytes())
seed("jwk_set", b"\xef\xbb\xbf" + (FIXTURES / "jwks" / "good.json").read_bytes())
for name in ("RawValue", "Number"):
    name = f"$serde_json::private::{name}"
    inner = json.dumps({name: json.dumps({"a": 1, name: "[]"})}).encode()
    claims = b'{"iss":"https://issuer.example","aud":"https://api.example","exp":1800000600,"x":'
    seed("compact_jws", b'1{"alg":"EdDSA","kid":"ed25519"}\0' + claims + inner + b"}")
    seed("jwk_set", b'{"x":' + inner + b',"keys":[' + inner + b"]}")
answer = {"active": True, "iss": "https://issuer.example", "aud": "https://api.example"}
for more in ({}, {"exp": 1_800_000_600.5, "scope": "a b"}, {"aud": ["https://api.example"], "cnf": {}}):
    seed("introspection_answer", b"0" + json.dumps(answer | more).encode())
    claims = {
        "iss": "https://issuer.example",
        "aud": "me",
        "iat": 1_800_000_000,
        "token_introspection": answer | more,
    }
    seed("introspection_answer", b"1" + json.dumps(claims).encode())
seed("introspection_answer", b'0{"active":false}')
for row in json.loads((FIXTURES / "mtls" / "certificates.json").read_text()):
    der, digest = row["der"], row["sha256"]
    pem = f"-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n"
    escaped = "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in pem)
    for field in (
        f"0:{der}:",
        f'1By=spiffe://a;Hash={digest};Cert="{escaped}";Subject="CN=a, b"',
        f"2Hash={'0' * 64},Hash={digest}",
        f"3{escaped}",
        f";{pem}",
        f"4{der}",
    ):
        seed("certificate_header", field.encode())
for row in json.loads((FIXTURES / "dpop" / "proofs.json").read_text()):
    header, claims = dict(row.get("header", {})), dict(row.get("claims", {}))
    if row.get("jwk"):
        header["jwk"] = row["jwk"]
    for name, value in claims.items():
        if isinstance(value, dict) and "$now" in value:
            claims[name] = 1_800_000_000 + value["$now"]
    for field in row.get("proofs", []):
        seed("dpop_proof", b"0" + field.encode())
    seed("dpop_proof", b"1" + json.dumps(header).encode() + b"\0" + json.dumps(claims).encode())
    if isinstance(claims.get("htu"), str):
        seed("dpop_htu", b"/a/b\n" + claims["htu"].encode())
for target in ("/", "*", "https://api.example/a/./b/..?q", "/a%2fb//c/", "/%61/%zz"):
    seed("dpop_htu", f"{target}\nhttps://api.example{target}".encode())
for file in sorted((FIXTURES / "keys").iterdir()):
    if not file.name.endswith((".pub.pem", ".pub.jwk.json")):
        for algorithm in range(5):
            seed("private_key", bytes([algorithm]) + file.read_bytes())
for pattern, iss in (
    ("https://login.example/realms/{realm}", "https://login.example/realms/shop"),
    ("https://{tenant}.login.example/", "https://shop.login.example/"),
    ("https://{host}/{a}/v2.0", "https://login.example/a..b/v2.0"),
    ("https://x.{a}.example/{b}/{c}", "https://x.a.example/b/c?d"),
):
    seed("issuer_pattern", f"{pattern}\n{iss}".encode())
print(count)
