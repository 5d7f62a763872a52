// The authorization server `oidc-provider` on loopback, for tower-bearer's interop tests.
//
// It issues JWT access tokens (RFC 9068) for the client-credentials grant. The `resource` parameter
// (RFC 8707) chooses the algorithm: `https://api.example/RS256`, `/PS256`, `/ES256`, `/EdDSA`,
// `/Ed25519`; all of them carry the audience `https://api.example`. `/short` is a token that lives
// three seconds, `/other` one for another audience. A URL that ends in `/mcp` is an audience by itself,
// with scopes of its own. `/opaque` and `/opaque-short` are opaque tokens, about which the introspection
// endpoint is asked (RFC 7662); it signs its answers for those who ask for that (RFC 9701).
//
// Clients, besides `svc` with the secret `svc-secret`: `awkward` and `awkward-post` with a secret of
// characters that are often encoded wrongly, `hs256` with one long enough for HMAC, and `key-NAME`
// for the keys NAME of fixtures/keys.
//
// Environment:
//   PORT             the port to listen on; 0, the default, lets the system choose
//   STATE_FILE       keeps the keys there, so that a restarted server signs with the same ones
//   METADATA         both (default) | openid | oauth: which of the two documents is served;
//                    login-page: OpenID only, the other answers 200 with a page of HTML
//   EXIT_WITH_STDIN  1: exit when standard input closes, so that no test leaves a server behind
//
// Control, on the same loopback address:
//   POST /control/rotate?mode=overlap|hard|prepublish|promote
//   POST /control/delay?ms=…   the key set takes so long from then on: it arrives as it was then
//   GET  /control/counters

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const AUDIENCE = 'https://api.example';
const SCOPES = 'api:read api:write api:admin';
const MCP_SCOPES = 'mcp:use mcp:danger mcp:extra';
const { PORT = '0', STATE_FILE, METADATA = 'both', EXIT_WITH_STDIN } = process.env;

const RESOURCES = {
  RS256: { alg: 'RS256' },
  PS256: { alg: 'PS256' },
  ES256: { alg: 'ES256' },
  EdDSA: { alg: 'EdDSA' },
  Ed25519: { alg: 'Ed25519' },
  short: { alg: 'ES256', ttl: 3 },
  other: { alg: 'ES256', audience: 'https://other.example' },
  mcp: { alg: 'ES256', scope: MCP_SCOPES },
  opaque: { format: 'opaque' },
  'opaque-short': { format: 'opaque', ttl: 3 },
  'opaque-other': { format: 'opaque', audience: 'https://other.example' },
};

// Each authenticates in its own way, with its own algorithm if it signs.
const AWKWARD = 'p%:+/ &=s';
const KEYS = {
  rsa2048: ['RS256', 'PS256'],
  p256: ['ES256'],
  p384: ['ES384'],
  ed25519: ['EdDSA', 'Ed25519'],
};
const publicKey = (name) =>
  JSON.parse(readFileSync(new URL(`../../../fixtures/keys/${name}.jwk.json`, import.meta.url)));
const OTHER_CLIENTS = [
  { client_id: 'awkward', client_secret: AWKWARD },
  {
    client_id: 'awkward-post',
    client_secret: AWKWARD,
    token_endpoint_auth_method: 'client_secret_post',
  },
  {
    client_id: 'hs256',
    client_secret: `${AWKWARD}-${AWKWARD}-${AWKWARD}-${AWKWARD}`,
    token_endpoint_auth_method: 'client_secret_jwt',
    token_endpoint_auth_signing_alg: 'HS256',
  },
  ...Object.entries(KEYS).flatMap(([name, algorithms]) => algorithms.map((alg) => ({
    client_id: `key-${alg}`,
    jwks: { keys: [publicKey(name)] },
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: alg,
  }))),
];

// One private key per kind. The Ed25519 key names no algorithm: EdDSA and Ed25519 both use it.
const KINDS = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  Ed25519: () => generateKeyPairSync('ed25519'),
};

function newKeys() {
  return Object.entries(KINDS).map(([kind, generate]) => ({
    ...generate().privateKey.export({ format: 'jwk' }),
    kid: `${kind.toLowerCase()}-${randomUUID()}`,
    use: 'sig',
    ...(kind === 'Ed25519' ? {} : { alg: kind }),
  }));
}

// `signing` are the keys in use, `published` those in the key set, in its order; `next` those that
// were published ahead of their use.
let state = { signing: newKeys() };
state.published = state.signing;
if (STATE_FILE && existsSync(STATE_FILE)) state = JSON.parse(readFileSync(STATE_FILE, 'utf8'));

function rotate(mode) {
  if (mode === 'promote' && !state.next) throw new RangeError('nothing was published ahead');
  const fresh = newKeys();
  switch (mode) {
    case 'overlap': // The new keys sign and stand first; the old ones stay published.
      return { signing: fresh, published: [...fresh, ...state.published] };
    case 'hard': // The old keys are gone at once.
      return { signing: fresh, published: fresh };
    case 'prepublish': // The new keys are published, the old ones still sign.
      return { ...state, next: fresh, published: [...fresh, ...state.published] };
    case 'promote': // The keys published ahead take over.
      return { signing: state.next, published: state.published };
    default:
      throw new RangeError(`no such rotation: ${mode}`);
  }
}

function kidFor(alg, keys) {
  const kind = alg === 'EdDSA' ? 'ed25519' : alg.toLowerCase();
  return keys.find((key) => key.kid.startsWith(`${kind}-`)).kid;
}

function newHandler(issuer, { signing, published }) {
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'svc', client_secret: 'svc-secret' }, ...OTHER_CLIENTS].map((client) => ({
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      ...client,
    })),
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
    ],
    enabledJWA: {
      clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'],
    },
    scopes: `${SCOPES} ${MCP_SCOPES}`.split(' '),
    jwks: { keys: published },
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true, allowedPolicy: () => true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `${AUDIENCE}/ES256`,
        getResourceServerInfo(_ctx, resource) {
          const kind = resource.split('/').pop();
          const { alg, ttl = 600, audience = AUDIENCE, scope = SCOPES, format = 'jwt' } =
            RESOURCES[kind];
          return {
            scope,
            audience: kind === 'mcp' ? resource : audience,
            accessTokenFormat: format,
            accessTokenTTL: ttl,
            ...(format === 'jwt' && { jwt: { sign: { alg, kid: kidFor(alg, signing) } } }),
          };
        },
      },
    },
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider.callback();
}

const DISCOVERY = {
  '/.well-known/openid-configuration': 'openid',
  '/.well-known/oauth-authorization-server': 'oauth',
};
const counters = { jwks: 0, metadata: 0, token: 0, introspection: 0 };
let delay = 0;
let issuer;
let handler;

function apply(next) {
  state = next;
  if (STATE_FILE) writeFileSync(STATE_FILE, JSON.stringify(state), { mode: 0o600 });
  // The key set of a Provider is fixed when it is made, so a rotation makes a new one.
  handler = newHandler(issuer, state);
}

function control(request, response, url) {
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  if (request.method === 'GET' && url.pathname === '/control/counters') {
    return answer(200, counters);
  }
  if (request.method === 'POST' && url.pathname === '/control/delay') {
    delay = Number(url.searchParams.get('ms'));
    return answer(200, { delay });
  }
  if (request.method === 'POST' && url.pathname === '/control/rotate') {
    try {
      apply(rotate(url.searchParams.get('mode')));
    } catch (error) {
      return answer(400, { error: error.message });
    }
    return answer(200, { published: state.published.map((key) => key.kid) });
  }
  return answer(404, {});
}

const server = createServer((request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname.startsWith('/control/')) return control(request, response, url);
  const form = DISCOVERY[url.pathname];
  if (form) {
    counters.metadata += 1;
    if (form === 'oauth' && METADATA === 'login-page') {
      response.writeHead(200, { 'content-type': 'text/html' });
      return response.end('<!doctype html><title>Sign in</title><form></form>');
    }
    if (METADATA !== 'both' && form !== METADATA.replace('login-page', 'openid')) {
      response.writeHead(404);
      return response.end();
    }
  }
  if (url.pathname === '/jwks') {
    counters.jwks += 1;
    const end = response.end.bind(response);
    response.end = (...args) => setTimeout(end, delay, ...args);
  }
  if (url.pathname === '/token') counters.token += 1;
  if (url.pathname === '/token/introspection') counters.introspection += 1;
  return handler(request, response);
});

server.listen(Number(PORT), '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  apply(state);
  console.log(JSON.stringify({ issuer }));
});

if (EXIT_WITH_STDIN === '1') process.stdin.on('close', () => process.exit(0)).resume();
