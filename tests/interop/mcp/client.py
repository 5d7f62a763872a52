"""The MCP client of the Python SDK, for tower-bearer's interop tests.

It knows the URL of an MCP server, a client's credentials and the issuer they are for, and finds the rest by
itself. Each step is a line of JSON: the tool and what it answered, or the error.

    client.py URL ISSUER    calls add, wipe and ask, each of which needs more than the one before
    client.py URL -         calls add with the token in TOKEN and nothing else
"""

import json
import os
import sys

import anyio
import httpx2
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client


class Storage:
    """Keeps tokens while the process lives, and prints which scopes each has."""

    def __init__(self):
        self.tokens = self.client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens
        print(json.dumps({"scopes": sorted((tokens.scope or "").split())}), flush=True)

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


CALLS = [("add", {"a": 1, "b": 2}), ("wipe", {}), ("ask", {})]


async def main(url, issuer):
    settings = {"headers": {"authorization": f"Bearer {os.environ.get('TOKEN')}"}}
    calls = CALLS[:1]
    if issuer != "-":
        settings = {"auth": ClientCredentialsOAuthProvider(
            server_url=url,
            storage=Storage(),
            client_id="svc",
            client_secret="svc-secret",
            issuer=issuer,
        )}
        calls = CALLS
    async with httpx2.AsyncClient(trust_env=False, timeout=20, **settings) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            tools = await client.list_tools()
            print(json.dumps({"tools": sorted(tool.name for tool in tools.tools)}), flush=True)
            for tool, arguments in calls:
                result = await client.call_tool(tool, arguments)
                text = "".join(part.text for part in result.content)
                print(json.dumps({"tool": tool, "answer": text}), flush=True)


try:
    anyio.run(main, *sys.argv[1:])
except* Exception as group:
    error = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
