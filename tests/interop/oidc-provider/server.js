// The authorization server `oidc-provider` on loopback, for tower-bearer's interop tests.
//
// It issues JWT access tokens (RFC 9068) for the client-credentials grant. The `resource` parameter
// (RFC 8707) chooses the algorithm: `https://api.example/RS256`, `/PS256`, `/ES256`, `/EdDSA`,
// `/Ed25519`; all of them carry the audience `https://api.example`. `/short` is a token that lives
// three seconds, `/other` one for another audience. A URL that ends in `/mcp` is an audience by itself,
// with scopes of its own. `/opaque` and `/opaque-short`, which lives six seconds, are opaque tokens, about
// which the introspection endpoint is asked (RFC 7662); it signs its answers for those who ask for that
// (RFC 9701).
//
// Token exchange (RFC 8693) and JWT bearer (RFC 7523) are grants of this script's own: both take an access
// token of this server for `https://api.example`, and grant one for the same subject, with `act` after an
// exchange.
//
// Clients, besides `svc` with the secret `svc-secret`: `awkward` and `awkward-post` with a secret of
// characters that are often encoded wrongly, `hs256` with one long enough for HMAC, and `key-NAME`
// for the keys NAME of fixtures/keys.
//
// Tokens are bound to the key of the DPoP proof that a request has (RFC 9449). For a token that its own
// protected resource `/me` accepts, which is OpenID Connect's userinfo, `/control/userinfo-token` is asked in
// the token endpoint's place: it binds one for the user `user` to the key of the proof, which it doesn't
// check.
//
// With MTLS_DIR, it also listens with TLS and asks for certificates (RFC 8705): the metadata names that
// token endpoint and introspection endpoint as `mtls_endpoint_aliases`. The client `tls` has a certificate of
// the authority for the name `client.example`, `self-signed` one of those in `clients.json`, a key set; their
// tokens are bound to the certificate.
//
// Environment:
//   PORT             the port to listen on; 0, the default, lets the system choose
//   STATE_FILE       keeps the keys there, so that a restarted server signs with the same ones
//   METADATA         both (default) | openid | oauth: which of the two documents is served;
//                    login-page: OpenID only, the other answers 200 with a page of HTML
//   DPOP_NONCES      1: every proof needs a nonce
//   MTLS_DIR         a folder with `server.pem`, `server.key`, `ca.pem` and `clients.json`
//   EXIT_WITH_STDIN  1: exit when standard input closes, so that no test leaves a server behind
//
// Control, on the same loopback address:
//   POST /control/rotate?mode=overlap|hard|prepublish|promote
//   POST /control/delay?ms=…   the key set takes so long from then on: it arrives as it was then
//   POST /control/clock?secs=… the server's clock is so far ahead from then on, or behind
//   GET  /control/counters

import { createPrivateKey, generateKeyPairSync, hash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { errors, Provider } from 'oidc-provider';

// The provider reads proofs with it, and Node 20 doesn't have it.
URL.parse ??= (text) => (URL.canParse(text) ? new URL(text) : null);

const AUDIENCE = 'https://api.example';
const SCOPES = 'api:read api:write api:admin';
const MCP_SCOPES = 'mcp:use mcp:danger mcp:extra';
const {
  PORT = '0', STATE_FILE, METADATA = 'both', EXIT_WITH_STDIN, DPOP_NONCES, MTLS_DIR,
} = process.env;

const URN = 'urn:ietf:params:oauth';
const EXCHANGE = `${URN}:grant-type:token-exchange`;
const JWT_BEARER = `${URN}:grant-type:jwt-bearer`;
const ACCESS_TOKEN = `${URN}:token-type:access_token`;

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
  'opaque-short': { format: 'opaque', ttl: 6 },
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

// Clients that authenticate with their certificate; only a server that asks for one may have them.
const TLS_CLIENTS = () => [
  {
    client_id: 'tls',
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_san_dns: 'client.example',
    tls_client_certificate_bound_access_tokens: true,
  },
  {
    client_id: 'self-signed',
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    jwks: JSON.parse(readFileSync(join(MTLS_DIR, 'clients.json'))),
    tls_client_certificate_bound_access_tokens: true,
  },
];
const mTLS = {
  enabled: true,
  certificateBoundAccessTokens: true,
  selfSignedTlsClientAuth: true,
  tlsClientAuth: true,
  getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.(),
  certificateAuthorized: (ctx) => ctx.socket.authorized,
  certificateSubjectMatches: (ctx, property, expected) =>
    property === 'tls_client_auth_san_dns'
      && ctx.socket.getPeerX509Certificate().subjectAltName === `DNS:${expected}`,
};

// One private key per kind. The Ed25519 key names no algorithm: EdDSA and Ed25519 both use it.
const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  Ed25519: ['ed25519', {}],
};

// A new key is written as PEM and read again. Node 20 may hang for ever when it exports the new one as a JWK:
// the garbage collector, which runs meanwhile, waits for the lock of the same key.
const PEM = {
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
};

function generate(type, options) {
  const { privateKey } = generateKeyPairSync(type, { ...options, ...PEM });
  return createPrivateKey(privateKey).export({ format: 'jwk' });
}

function newKeys() {
  return Object.entries(KINDS).map(([kind, [type, options]]) => ({
    ...generate(type, options),
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

const publicPart = ({ d, p, q, dp, dq, qi, ...jwk }) => jwk;

// Grants an access token for the subject of another one.
async function delegate({ provider, published, resourceServerInfo }, ctx, subjectToken, refusal) {
  const keys = createLocalJWKSet({ keys: published.map(publicPart) });
  const expected = { issuer: provider.issuer, audience: AUDIENCE };
  const verified = await jwtVerify(subjectToken, keys, expected).catch(() => { throw refusal; });
  const subject = verified.payload;
  const { client, params } = ctx.oidc;
  const resource = [params.resource ?? `${AUDIENCE}/ES256`].flat()[0];
  if (!RESOURCES[resource.split('/').pop()]) throw new errors.InvalidTarget('no such resource');
  const info = resourceServerInfo(ctx, resource);
  const scope = params.scope ?? '';
  const allowed = info.scope.split(' ');
  if (!scope.split(' ').filter(Boolean).every((one) => allowed.includes(one))) {
    throw new errors.InvalidScope('the scope is not allowed', scope);
  }
  const token = new provider.AccessToken({
    client, accountId: subject.sub, gty: params.grant_type, scope,
  });
  token.resourceServer = new provider.ResourceServer(resource, info);
  token.expiresIn = Math.min(info.accessTokenTTL, subject.exp - Math.floor(Date.now() / 1000));
  return {
    access_token: await token.save(),
    expires_in: token.expiration,
    scope: token.scope || undefined,
    token_type: token.tokenType,
  };
}

function registerGrants(server) {
  server.provider.registerGrantType(EXCHANGE, async (ctx) => {
    const {
      subject_token: subject, subject_token_type: type, requested_token_type: wanted,
    } = ctx.oidc.params;
    const refusal = new errors.InvalidRequest('the subject_token is not acceptable');
    if (type !== ACCESS_TOKEN || (wanted ?? ACCESS_TOKEN) !== ACCESS_TOKEN) throw refusal;
    const answer = await delegate(server, ctx, subject, refusal);
    ctx.body = { ...answer, issued_token_type: ACCESS_TOKEN };
  }, [
    'subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope',
  ], ['audience', 'resource']);
  server.provider.registerGrantType(JWT_BEARER, async (ctx) => {
    const refusal = new errors.InvalidGrant('the assertion is not acceptable');
    ctx.body = await delegate(server, ctx, ctx.oidc.params.assertion, refusal);
  }, ['assertion', 'resource', 'scope'], ['resource']);
}

function newHandler(issuer, { signing, published }) {
  const resourceServerInfo = (_ctx, resource) => {
    const kind = resource.split('/').pop();
    const { alg, ttl = 600, audience = AUDIENCE, scope = SCOPES, format = 'jwt' } = RESOURCES[kind];
    return {
      scope,
      audience: kind === 'mcp' ? resource : audience,
      accessTokenFormat: format,
      accessTokenTTL: ttl,
      ...(format === 'jwt' && { jwt: { sign: { alg, kid: kidFor(alg, signing) } } }),
    };
  };
  provider = new Provider(issuer, {
    clients: [
      { client_id: 'svc', client_secret: 'svc-secret' },
      ...OTHER_CLIENTS,
      ...(MTLS_DIR ? TLS_CLIENTS() : []),
    ].map((client) => ({
      grant_types: ['client_credentials', EXCHANGE, JWT_BEARER],
      redirect_uris: [],
      response_types: [],
      ...client,
    })),
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
      ...(MTLS_DIR ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
    ],
    ...(MTLS_DIR && {
      discovery: {
        mtls_endpoint_aliases: {
          token_endpoint: `${mtlsOrigin}/token`,
          introspection_endpoint: `${mtlsOrigin}/token/introspection`,
        },
      },
    }),
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    enabledJWA: {
      clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'],
    },
    scopes: `openid ${SCOPES} ${MCP_SCOPES}`.split(' '),
    jwks: { keys: published },
    // Who acts for the subject (RFC 8693 section 4.1).
    extraTokenClaims: (_ctx, { gty, clientId }) => (
      gty === EXCHANGE ? { act: { sub: clientId } } : undefined
    ),
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true, allowedPolicy: () => true },
      devInteractions: { enabled: false },
      dPoP: {
        enabled: true,
        ...(DPOP_NONCES === '1' && { nonceSecret: randomBytes(32), requireNonce: () => true }),
      },
      ...(MTLS_DIR && { mTLS }),
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `${AUDIENCE}/ES256`,
        getResourceServerInfo: resourceServerInfo,
      },
    },
  });
  registerGrants({ provider, published, resourceServerInfo });
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
let mtlsOrigin;
let provider;
let handler;

function apply(next) {
  state = next;
  if (STATE_FILE) writeFileSync(STATE_FILE, JSON.stringify(state), { mode: 0o600 });
  // The key set of a Provider is fixed when it is made, so a rotation makes a new one.
  handler = newHandler(issuer, state);
}

// The clock of everything here: of tokens, and of the field Date.
const RealDate = Date;
let ahead = 0;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length > 0 ? args : [RealDate.now() + ahead]));
  }

  static now() {
    return RealDate.now() + ahead;
  }
};

async function userinfoToken(request) {
  const { jwk } = JSON.parse(Buffer.from(request.headers.dpop.split('.')[0], 'base64url'));
  const { crv, kty, x, y } = jwk; // in this order: RFC 7638
  const jkt = hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url');
  const grant = new provider.Grant({ clientId: 'svc', accountId: 'user' });
  grant.addOIDCScope('openid');
  const token = new provider.AccessToken({
    accountId: 'user',
    client: await provider.Client.find('svc'),
    grantId: await grant.save(),
    gty: 'authorization_code',
    scope: 'openid',
    jkt,
  });
  return { access_token: await token.save(), token_type: 'DPoP', expires_in: 600 };
}

function control(request, response, url) {
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  if (request.method === 'POST' && url.pathname === '/control/userinfo-token') {
    return userinfoToken(request).then(
      (token) => answer(200, token),
      (error) => answer(500, { error: error.message }),
    );
  }
  if (request.method === 'GET' && url.pathname === '/control/counters') {
    return answer(200, counters);
  }
  if (request.method === 'POST' && url.pathname === '/control/delay') {
    delay = Number(url.searchParams.get('ms'));
    return answer(200, { delay });
  }
  if (request.method === 'POST' && url.pathname === '/control/clock') {
    ahead = Number(url.searchParams.get('secs')) * 1000;
    return answer(200, { ahead });
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

function respond(request, response) {
  const url = new URL(request.url, issuer);
  if (ahead !== 0) response.setHeader('date', new Date().toUTCString());
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
}

const listening = (server, port) =>
  new Promise((done) => server.listen(port, '127.0.0.1', () => done(server.address().port)));

if (MTLS_DIR) {
  const file = (name) => readFileSync(join(MTLS_DIR, name));
  const tls = { cert: file('server.pem'), key: file('server.key'), ca: file('ca.pem') };
  // A certificate that no authority signed is the provider's to judge.
  const asking = { requestCert: true, rejectUnauthorized: false };
  mtlsOrigin = `https://127.0.0.1:${await listening(createTlsServer({ ...tls, ...asking }, respond), 0)}`;
}
issuer = `http://127.0.0.1:${await listening(createServer(respond), Number(PORT))}`;
apply(state);
console.log(JSON.stringify({ issuer }));

if (EXIT_WITH_STDIN === '1') process.stdin.on('close', () => process.exit(0)).resume();
