"""The authorization server `django-oauth-toolkit` on loopback, for tower-bearer's interop tests.

It issues opaque tokens for the client-credentials grant to the client `svc` with the secret
`svc-secret`, and answers questions about them: without `iss`, `aud` and `iat`. Tokens live six
seconds if the request has `lifetime=opaque-short`. There is the metadata document of RFC 8414 only,
behind the issuer's path and not where RFC 8414 has it, and there is no key set.

Environment:
  PORT             the port to listen on; 0, the default, lets the system choose
  STATE_FILE       the database, so that a restarted server knows the same tokens
  EXIT_WITH_STDIN  1: exit when standard input closes, so that no test leaves a server behind

Control, on the same loopback address:
  GET  /control/counters
"""

import io
import json
import os
import sys
import threading
from datetime import timedelta
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP, on loopback only

import django
from django.conf import settings
from django.http import JsonResponse
from django.urls import include, path

counters = {"introspection": 0, "token": 0}
scopes = {name: name for name in ["api:read", "api:write", "introspection"]}

settings.configure(
    SECRET_KEY="for tests on loopback only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("STATE_FILE") or ":memory:",
            "OPTIONS": {"timeout": 20},
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=[],
    # The secret is compared for each question: a slow hash would be most of what is measured.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    LOGGING_CONFIG=None,
    OAUTH2_PROVIDER={"SCOPES": scopes, "ACCESS_TOKEN_EXPIRE_SECONDS": 600},
)
django.setup()

from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model

issuer = ""


def metadata(request):
    return JsonResponse({
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token/",
        "introspection_endpoint": f"{issuer}/introspect/",
        "response_types_supported": [],
    })


def control(request):
    return JsonResponse(counters)


urlpatterns = [
    path("o/.well-known/oauth-authorization-server", metadata),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("control/counters", control),
]


def prepare():
    call_command("migrate", verbosity=0)
    application = get_application_model()
    for name in ["svc"]:
        application.objects.get_or_create(
            client_id=name,
            defaults={
                "name": name,
                "client_secret": f"{name}-secret",
                "client_type": application.CLIENT_CONFIDENTIAL,
                "authorization_grant_type": application.GRANT_CLIENT_CREDENTIALS,
            },
        )


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 1024


class Handler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


handler = WSGIHandler()


def application(environ, start_response):
    if environ["PATH_INFO"] == "/o/introspect/":
        counters["introspection"] += 1
    if environ["PATH_INFO"] == "/o/token/":
        counters["token"] += 1
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        response = handler(environ, start_response)
        if b"lifetime=opaque-short" in body:  # a parameter of this script
            token = json.loads(response.content)["access_token"]
            expires = timezone.now() + timedelta(seconds=6)
            get_access_token_model().objects.filter(token=token).update(expires=expires)
        return response
    return handler(environ, start_response)


prepare()
port = int(os.environ.get("PORT", "0"))
server = make_server("127.0.0.1", port, application, server_class=Server, handler_class=Handler)
issuer = f"http://127.0.0.1:{server.server_port}/o"

if os.environ.get("EXIT_WITH_STDIN") == "1":

    def wait():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()

print(json.dumps({"issuer": issuer}), flush=True)
server.serve_forever()
