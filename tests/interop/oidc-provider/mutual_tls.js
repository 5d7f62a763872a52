// The authorization server `oidc-provider` with mutual TLS, for tower-bearer's interop tests.
//
// The client `svc` (secret `svc-secret`) gets access tokens that are bound to the certificate which it has
// shown (RFC 8705): JWTs, or opaque ones for the resource `https://api.example/opaque`, about which the
// introspection endpoint is asked.
//
// Its key set and its metadata are served over plain http as well, for a resource server that doesn't know
// the certificates' authority. The two addresses are printed.
//
// Environment:
//   TLS_CERT, TLS_KEY, CLIENT_CA  files with PEM
//   EXIT_WITH_STDIN  1: exit when standard input closes, so that no test leaves a server behind

import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const AUDIENCE = 'https://api.example';
const { TLS_CERT, TLS_KEY, CLIENT_CA, EXIT_WITH_STDIN } = process.env;

function newHandler(issuer) {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'svc',
      client_secret: 'svc-secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      tls_client_certificate_bound_access_tokens: true,
    }],
    scopes: ['api:read'],
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      devInteractions: { enabled: false },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'api:read',
          audience: AUDIENCE,
          ...(resource.endsWith('/opaque')
            ? { accessTokenFormat: 'opaque' }
            : { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }),
        }),
      },
    },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider.callback();
}

let handler;
const tls = {
  cert: readFileSync(TLS_CERT),
  key: readFileSync(TLS_KEY),
  ca: readFileSync(CLIENT_CA),
  requestCert: true,
  rejectUnauthorized: false,
};
const plain = createPlainServer((request, response) => handler(request, response));
const server = createServer(tls, (request, response) => handler(request, response));
server.listen(0, '127.0.0.1', () => {
  plain.listen(0, '127.0.0.1', () => {
    const issuer = `https://localhost:${server.address().port}`;
    handler = newHandler(issuer);
    console.log(JSON.stringify({ issuer, plain: `http://127.0.0.1:${plain.address().port}` }));
  });
});

if (EXIT_WITH_STDIN === '1') process.stdin.on('close', () => process.exit(0)).resume();
