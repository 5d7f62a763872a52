// Gets a bound token and calls a protected resource, with one of three libraries that others wrote.
// It prints one line of JSON: the status, and for which attempts there was a nonce.
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';

const [library, issuer, resource, algorithm] = process.argv.slice(2);
const [id, secret] = ['test-client', 'test-secret'];
const insecure = { [oauth.allowInsecureRequests]: true };

const clients = {
  async oauth4webapi() {
    const url = new URL(issuer);
    const found = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure });
    const as = await oauth.processDiscoveryResponse(url, found);
    const registered = { client_id: id };
    const keys = await oauth.generateKeyPair(algorithm);
    const DPoP = oauth.DPoP(registered, keys);
    const grant = async () => {
      const parameters = new URLSearchParams({ scope: 'api:read' });
      const auth = oauth.ClientSecretPost(secret);
      const options = { DPoP, ...insecure };
      const answer = await oauth.clientCredentialsGrantRequest(as, registered, auth, parameters, options);
      return oauth.processClientCredentialsResponse(as, registered, answer);
    };
    const { access_token } = await grant();
    const call = () =>
      oauth.protectedResourceRequest(access_token, 'GET', new URL(resource), undefined, undefined, {
        DPoP,
        ...insecure,
      });
    let nonce = false;
    const answer = await call().catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error;
      nonce = true;
      return call();
    });
    const again = await call();
    return { statuses: [answer.status, again.status], nonce };
  },

  async 'openid-client'() {
    const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] };
    const config = await client.discovery(new URL(issuer), id, secret, undefined, options);
    const keys = await client.randomDPoPKeyPair(algorithm);
    const DPoP = client.getDPoPHandle(config, keys);
    const token = await client.clientCredentialsGrant(config, { scope: 'api:read' }, { DPoP });
    const statuses = [];
    for (let call = 0; call < 2; call += 1) {
      const answer = await client.fetchProtectedResource(
        config, token.access_token, new URL(resource), 'GET', undefined, undefined, { DPoP });
      statuses.push(answer.status);
    }
    return { statuses };
  },

  async dpop() {
    const keys = await dpop.generateKeyPair(algorithm);
    const endpoint = `${issuer.replace(/\/$/, '')}/token`;
    const granted = await fetch(endpoint, {
      method: 'POST',
      headers: {
        authorization: `Basic ${btoa(`${id}:${secret}`)}`,
        dpop: await dpop.generateProof(keys, endpoint, 'POST'),
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'api:read' }),
    });
    const { access_token } = await granted.json();
    let nonce;
    const call = async (proof) => {
      const headers = { authorization: `DPoP ${access_token}`, dpop: proof };
      const answer = await fetch(resource, { headers });
      nonce = answer.headers.get('dpop-nonce') ?? nonce;
      return answer.status;
    };
    const proof = () => dpop.generateProof(keys, resource, 'GET', nonce, access_token);
    const statuses = [await call(await proof())];
    if (nonce) statuses[0] = await call(await proof());
    const once = await proof();
    statuses.push(await call(once));
    return { statuses, replayed: await call(once), nonce: nonce !== undefined };
  },
};

console.log(JSON.stringify(await clients[library]()));
