"""A small authorization server made with Authlib, on loopback, for tower-bearer's interop tests.

Its metadata is that of RFC 8414 only, and its issuer has a path. It issues JWT access tokens
(RFC 9068) for the client-credentials grant, with an array as audience. The client chooses what
they look like, and how it authenticates; see CLIENTS.

Token exchange (RFC 8693) is a grant of this script's own, which takes an access token of this server. JWT
bearer (RFC 7523) is Authlib's; it takes assertions that a client has signed, about itself or `alice`.

Environment:
  PORT             the port to listen on; 0, the default, lets the system choose
  STATE_FILE       keeps the keys there, so that a restarted server signs with the same ones
  EXIT_WITH_STDIN  1: exit when standard input closes, so that no test leaves a server behind

Control, on the same loopback address:
  POST /control/rotate?mode=overlap|hard|prepublish|promote
  GET  /control/counters
"""

import hashlib
import json
import logging
import os
import sys
import threading
import time
import uuid
from pathlib import Path

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP, on loopback only

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import BaseGrant, ClientMixin, TokenEndpointMixin, grants
from authlib.oauth2.rfc6749.errors import InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.util import list_to_scope, scope_to_list
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, Response, abort, jsonify, request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey, import_key
from werkzeug.serving import make_server

AUDIENCE = "https://api.example"
SCOPES = ["api:read", "api:write", "api:admin"]
ALGORITHMS = ["EdDSA", "ES256", "RS256"]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
GRANTS = ["client_credentials", EXCHANGE, JWTBearerGrant.GRANT_TYPE]
STATE_FILE = os.environ.get("STATE_FILE")


KEYS = Path(__file__).parents[3] / "fixtures" / "keys"


class Client(ClientMixin):
    """A confidential client, which authenticates with HTTP Basic unless it is told otherwise."""

    def __init__(
        self,
        client_id,
        alg="ES256",
        lifetime=600,
        scp=False,
        kid=True,
        method="client_secret_basic",
        secret=None,
    ):
        self.client_id, self.alg, self.lifetime = client_id, alg, lifetime
        self.scp, self.kid = scp, kid
        self.method, self.secret = method, secret or f"{client_id}-secret"

    def public_key(self):
        """The key of fixtures/keys that the client is named after, else its secret."""
        if not self.client_id.startswith("key-"):
            return OctKey.import_key(self.secret)
        file = KEYS / f"{self.client_id.removeprefix('key-')}.jwk.json"
        return import_key(json.loads(file.read_text()))

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return list_to_scope([s for s in scope_to_list(scope or "") if s in SCOPES])

    def check_client_secret(self, client_secret):
        return client_secret == self.secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_grant_type(self, grant_type):
        return grant_type in GRANTS


AWKWARD = "p%:+/ &=s"  # characters that are often encoded wrongly
JWT = "client_assertion_jwt"
CLIENTS = {
    client.client_id: client
    for client in [
        Client("awkward", secret=AWKWARD),
        Client("awkward-post", secret=AWKWARD, method="client_secret_post"),
        Client("hs256", secret="-".join([AWKWARD] * 4), method=JWT),
        *[Client(f"key-{name}", method=JWT) for name in ["rsa2048", "p256"]],
        Client("svc-es256"),
        Client("svc-rs256", alg="RS256"),
        Client("svc-scp", alg="EdDSA", scp=True),  # typ JWT, scopes in an array called `scp`
        Client("svc-nokid", kid=False),  # the token names no key
        Client("svc-short", lifetime=3),
    ]
}


class Keys:
    """The signing keys by algorithm, and the published ones in their order."""

    def __init__(self):
        self.lock = threading.Lock()
        self.signing = self.fresh()
        self.published = list(self.signing.values())
        self.next = None
        if STATE_FILE and os.path.exists(STATE_FILE):
            with open(STATE_FILE) as file:
                state = json.load(file)
            self.signing = {alg: import_key(jwk) for alg, jwk in state["signing"].items()}
            self.published = [import_key(jwk) for jwk in state["published"]]
        self.save()

    @staticmethod
    def fresh():
        def parameters(alg):
            return {"kid": f"{alg.lower()}-{uuid.uuid4()}", "alg": alg, "use": "sig"}

        return {
            "EdDSA": OKPKey.generate_key("Ed25519", parameters("EdDSA")),
            "ES256": ECKey.generate_key("P-256", parameters("ES256")),
            "RS256": RSAKey.generate_key(2048, parameters("RS256")),
        }

    def save(self):
        if STATE_FILE:
            state = {
                "signing": {alg: key.as_dict(private=True) for alg, key in self.signing.items()},
                "published": [key.as_dict(private=True) for key in self.published],
            }
            descriptor = os.open(STATE_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(state, file)

    def rotate(self, mode):
        fresh = self.fresh()
        with self.lock:
            if mode == "overlap":  # the new keys sign and stand first; the old ones stay
                self.signing, self.published = fresh, [*fresh.values(), *self.published]
            elif mode == "hard":  # the old keys are gone at once
                self.signing, self.published = fresh, list(fresh.values())
            elif mode == "prepublish":  # the new keys are published, the old ones still sign
                self.next, self.published = fresh, [*fresh.values(), *self.published]
            elif mode == "promote" and self.next:  # the keys published ahead take over
                self.signing, self.next = self.next, None
            else:
                abort(400)
            self.save()
            return [key.kid for key in self.published]

    def document(self):
        with self.lock:
            keys = [key.as_dict(private=False) for key in self.published]
        return json.dumps({"keys": keys}).encode()


keys = Keys()


class TokenGenerator(JWTBearerTokenGenerator):
    def __init__(self, issuer, client):
        super().__init__(issuer, client.alg, expires_generator=client.lifetime)
        self.client = client

    def get_jwks(self):
        # From a set, Authlib names the key in the token; from a single key it doesn't.
        key = keys.signing[self.alg]
        return KeySet([key]) if self.client.kid else key

    def get_audiences(self, client, user, scope):
        return [client.get_client_id(), AUDIENCE]

    def access_token_generator(self, client, grant_type, user, scope):
        if not self.client.scp:
            return super().access_token_generator(client, grant_type, user, scope)
        # Authlib always writes `scope` and `at+jwt`, and signs with RS256 and ES256 only: this one
        # is made with the library below it.
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": client.get_client_id(),
            "aud": self.get_audiences(client, user, scope),
            "iat": now,
            "exp": now + self.client.lifetime,
            "scp": scope_to_list(scope),
        }
        return jwt.encode({"alg": self.alg}, claims, self.get_jwks(), algorithms=[self.alg])


class Assertions(JWTBearerClientAssertion):
    """`private_key_jwt` and `client_secret_jwt`: the audience is the issuer, and nothing else."""

    def __init__(self):
        super().__init__()
        self.used = set()

    def get_audiences(self):
        return [ISSUER]

    def validate_jti(self, claims, jti):
        known = (claims["sub"], jti) in self.used
        self.used.add((claims["sub"], jti))
        return not known

    def resolve_client_public_key(self, client):
        return client.public_key()


class Grant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", JWT]


class User(str):
    """A subject, as Authlib's token generators ask for one."""

    def get_user_id(self):
        return str(self)


class Exchange(BaseGrant, TokenEndpointMixin):
    GRANT_TYPE = EXCHANGE
    TOKEN_ENDPOINT_AUTH_METHODS = Grant.TOKEN_ENDPOINT_AUTH_METHODS

    def validate_token_request(self):
        self.request.client = self.authenticate_token_endpoint_client()
        form = self.request.form
        if form.get("subject_token_type") != ACCESS_TOKEN:
            raise InvalidRequestError("only access tokens are exchanged")
        try:
            published = KeySet(keys.published)
            subject = jwt.decode(form["subject_token"], published, algorithms=ALGORITHMS).claims
            rules = {"iss": {"essential": True, "value": ISSUER}, "exp": {"essential": True}}
            jwt.JWTClaimsRegistry(**rules).validate(subject)
        except Exception:
            raise InvalidRequestError("the subject_token is not acceptable") from None
        if not set(scope_to_list(form.get("scope", ""))) <= set(SCOPES):
            raise InvalidScopeError()
        self.request.user = User(subject["sub"])

    def create_token_response(self):
        token = self.generate_token(
            user=self.request.user,
            scope=self.request.form.get("scope"),
            grant_type=EXCHANGE,
            include_refresh_token=False,
        )
        return 200, {**token, "issued_token_type": ACCESS_TOKEN}, self.TOKEN_RESPONSE_HEADER


class JwtBearer(JWTBearerGrant):
    def get_audiences(self):
        return [ISSUER]

    def resolve_issuer_client(self, issuer):
        return CLIENTS.get(issuer)

    def resolve_client_public_key(self, client):
        return client.public_key()

    def authenticate_user(self, subject):
        return User(subject)

    def has_granted_permission(self, client, user):
        return user in ["alice", client.get_client_id()]


app = Flask(__name__)
counters = {"jwks": 0, "metadata": 0, "token": 0}


@app.get("/.well-known/oauth-authorization-server/tenant")
def metadata():
    counters["metadata"] += 1
    document = AuthorizationServerMetadata(
        issuer=ISSUER,
        token_endpoint=f"{ISSUER}/token",
        jwks_uri=f"{ISSUER}/jwks",
        scopes_supported=SCOPES,
        response_types_supported=[],
        grant_types_supported=GRANTS,
        token_endpoint_auth_methods_supported=[
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt",
        ],
    )
    return jsonify(document)


@app.get("/tenant/jwks")
def jwks():
    counters["jwks"] += 1
    body = keys.document()
    response = Response(body, mimetype="application/jwk-set+json")
    response.cache_control.max_age = 30
    response.set_etag(hashlib.sha256(body).hexdigest()[:16])
    return response.make_conditional(request)


@app.post("/tenant/token")
def token():
    counters["token"] += 1
    return server.create_token_response()


@app.post("/control/rotate")
def rotate():
    return jsonify(published=keys.rotate(request.args.get("mode")))


@app.get("/control/counters")
def get_counters():
    return jsonify(counters)


def exit_with_stdin():
    sys.stdin.read()
    os._exit(0)


logging.getLogger("werkzeug").setLevel(logging.WARNING)
http = make_server("127.0.0.1", int(os.environ.get("PORT", "0")), app, threaded=True)
ISSUER = f"http://127.0.0.1:{http.port}/tenant"
server = AuthorizationServer(app, CLIENTS.get, lambda token, request: None)
server.scopes_supported = SCOPES
server.register_client_auth_method(JWT, Assertions())
for grant in [Grant, Exchange, JwtBearer]:
    server.register_grant(grant)
GENERATORS = {client_id: TokenGenerator(ISSUER, client) for client_id, client in CLIENTS.items()}
for grant_type in GRANTS:
    server.register_token_generator(
        grant_type,
        lambda client, **kw: GENERATORS[client.get_client_id()](client=client, **kw),
    )
if os.environ.get("EXIT_WITH_STDIN") == "1":
    threading.Thread(target=exit_with_stdin, daemon=True).start()
print(json.dumps({"issuer": ISSUER}), flush=True)
http.serve_forever()
