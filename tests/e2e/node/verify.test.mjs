// Tokens verified by libraries that fetch the keys themselves: aws-jwt-verify and jose.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { InitiateAuthCommand } from "@aws-sdk/client-cognito-identity-provider";
import { JwtVerifier } from "aws-jwt-verify";
import { SimpleJwksCache } from "aws-jwt-verify/jwk";
import { createRemoteJWKSet, jwtVerify } from "jose";

import { ENDPOINT, PASSWORD, cognito, makeClient, makePool, makeUser } from "./harness.mjs";

let issuer;
let clientId;
let tokens;

before(async () => {
  const poolId = await makePool();
  issuer = `${ENDPOINT}/${poolId}`;
  clientId = await makeClient(poolId);
  const answer = await cognito.send(
    new InitiateAuthCommand({
      ClientId: clientId,
      AuthFlow: "USER_PASSWORD_AUTH",
      AuthParameters: { USERNAME: await makeUser(poolId, { email: "a@example.com" }), PASSWORD },
    }),
  );
  tokens = answer.AuthenticationResult;
});

// aws-jwt-verify's own fetcher speaks https only; this one gets the same document over http.
const fetcher = {
  async fetch(uri) {
    const answer = await fetch(uri);
    assert.equal(answer.status, 200);
    return answer.arrayBuffer();
  },
};

function verifier(audience) {
  const jwksUri = `${issuer}/.well-known/jwks.json`;
  return JwtVerifier.create({ issuer, audience, jwksUri }, { jwksCache: new SimpleJwksCache({ fetcher }) });
}

test("aws-jwt-verify takes the ID token", async () => {
  const claims = await verifier(clientId).verify(tokens.IdToken);
  assert.equal(claims.token_use, "id");
  assert.equal(claims.email, "a@example.com");
});

test("aws-jwt-verify takes the access token", async () => {
  const claims = await verifier(null).verify(tokens.AccessToken);
  assert.equal(claims.token_use, "access");
  assert.equal(claims.client_id, clientId);
});

test("aws-jwt-verify refuses another audience", async () => {
  await assert.rejects(verifier("another").verify(tokens.IdToken));
});

test("jose takes both tokens", async () => {
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
  const id = await jwtVerify(tokens.IdToken, keys, { issuer, audience: clientId, algorithms: ["RS256"] });
  assert.equal(id.payload.token_use, "id");
  const access = await jwtVerify(tokens.AccessToken, keys, { issuer, algorithms: ["RS256"] });
  assert.equal(access.payload.token_use, "access");
});

test("jose refuses a changed token", async () => {
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
  const [header, , signature] = tokens.IdToken.split(".");
  const payload = Buffer.from(JSON.stringify({ iss: issuer, aud: clientId, sub: "admin" })).toString("base64url");
  await assert.rejects(jwtVerify(`${header}.${payload}.${signature}`, keys, { issuer, audience: clientId }));
});

test("the keys are found by discovery", async () => {
  const document = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  const keys = createRemoteJWKSet(new URL(document.jwks_uri));
  await jwtVerify(tokens.IdToken, keys, { issuer: document.issuer, audience: clientId });
});
