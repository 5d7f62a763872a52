"""The API of AWS on loopback, made with moto, for tower-bearer's interop tests.

Environment:
  PORT             the port to listen on; 0, the default, lets the system choose
  EXIT_WITH_STDIN  1: exit when standard input closes, so that no test leaves a server behind
"""

import json
import logging
import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


def exit_with_stdin():
    sys.stdin.read()
    os._exit(0)


logging.getLogger("werkzeug").setLevel(logging.WARNING)
app = DomainDispatcherApplication(create_backend_app)
http = make_server("127.0.0.1", int(os.environ.get("PORT", "0")), app, threaded=True)
if os.environ.get("EXIT_WITH_STDIN") == "1":
    threading.Thread(target=exit_with_stdin, daemon=True).start()
print(json.dumps({"endpoint": f"http://127.0.0.1:{http.port}"}), flush=True)
http.serve_forever()
