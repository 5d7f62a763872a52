"""A WebSocket client that isn't Rust's: opens a socket, has a message echoed, and waits for the end.

    client.py ws://127.0.0.1:3000/socket TOKEN

Prints as JSON what came back, the code of the close, and how many seconds the socket was open.
"""

import json
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main():
    url, token = sys.argv[1:]
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        opened = time.time()
        socket.send("hello")
        echo = socket.recv(timeout=5)
        try:
            socket.recv(timeout=30)
            code = None
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
    print(json.dumps({"echo": echo, "code": code, "closed_at": time.time(), "opened_at": opened}))


if __name__ == "__main__":
    main()
