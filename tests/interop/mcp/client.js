// The MCP client of the TypeScript SDK, for tower-bearer's interop tests.
//
// It knows the URL of an MCP server, a client's credentials and the issuer they are for, and finds the
// rest by itself. Each step is a line of JSON: the tool and what it answered, or the error.
//
//   client.js URL ISSUER    calls add, wipe and ask, each of which needs more than the one before
//   client.js URL -         calls add with the token in TOKEN and nothing else

import { extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, issuer] = process.argv.slice(2);
const print = (line) => console.log(JSON.stringify(line));

// Asks for what challenges have named so far, which the SDK's own provider for this grant doesn't, and
// prints which scopes each token has.
class Provider extends ClientCredentialsProvider {
  named = new Set();

  get clientMetadata() {
    return { ...super.clientMetadata, scope: [...this.named].join(' ') };
  }

  fetch = async (...request) => {
    const response = await fetch(...request);
    const { scope } = extractWWWAuthenticateParams(response);
    scope?.split(' ').forEach((name) => this.named.add(name));
    return response;
  };

  saveTokens(tokens) {
    super.saveTokens(tokens);
    print({ scopes: (tokens.scope ?? '').split(' ').sort() });
  }
}

const CALLS = [['add', { a: 1, b: 2 }], ['wipe', {}], ['ask', {}]];

try {
  const provider = new Provider({
    clientId: 'svc',
    clientSecret: 'svc-secret',
    expectedIssuer: issuer === '-' ? undefined : issuer,
  });
  const settings = issuer === '-'
    ? { requestInit: { headers: { authorization: `Bearer ${process.env.TOKEN}` } } }
    : { authProvider: provider, fetch: provider.fetch };
  const client = new Client({ name: 'interop', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), settings));
  const { tools } = await client.listTools();
  print({ tools: tools.map((tool) => tool.name).sort() });
  for (const [tool, args] of issuer === '-' ? CALLS.slice(0, 1) : CALLS) {
    const result = await client.callTool({ name: tool, arguments: args });
    print({ tool, answer: result.content.map((part) => part.text).join('') });
  }
  await client.close();
} catch (error) {
  print({ error: `${error.name}: ${error.message}` });
}
