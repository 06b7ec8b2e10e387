// amazon-cognito-identity-js, the library inside Amplify's older versions: SRP as browsers compute it.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { AuthenticationDetails, CognitoUser, CognitoUserAttribute, CognitoUserPool } from "amazon-cognito-identity-js";

import {
  ENDPOINT,
  NEW_PASSWORD,
  PASSWORD,
  inviteUser,
  makeClient,
  makePool,
  makeUser,
  newestCode,
  unique,
} from "./harness.mjs";

let poolId;
let pool;

before(async () => {
  poolId = await makePool({ AutoVerifiedAttributes: ["email"] });
  pool = new CognitoUserPool({ UserPoolId: poolId, ClientId: await makeClient(poolId), endpoint: ENDPOINT });
});

const userCalled = (username) => new CognitoUser({ Username: username, Pool: pool });

// The outcome of a sign-in: a session, or what else the user has to do.
function authenticate(user, password, flow = "USER_SRP_AUTH") {
  user.setAuthenticationFlowType(flow);
  const details = new AuthenticationDetails({ Username: user.getUsername(), Password: password });
  return new Promise((resolve, reject) =>
    user.authenticateUser(details, {
      onSuccess: (session) => resolve({ session }),
      onFailure: reject,
      newPasswordRequired: (known, required) => resolve({ known, required }),
    }),
  );
}

const promised = (call) =>
  new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));

test("signs in with SRP", async () => {
  const user = userCalled(await makeUser(poolId));
  const { session } = await authenticate(user, PASSWORD);
  assert.ok(session.isValid());
  const attributes = await promised((done) => user.getUserAttributes(done));
  assert.ok(attributes.some((attribute) => attribute.getName() === "sub"));
});

test("signs in with the password itself", async () => {
  const { session } = await authenticate(userCalled(await makeUser(poolId)), PASSWORD, "USER_PASSWORD_AUTH");
  assert.ok(session.isValid());
});

test("signs in many users, whatever bytes their salts begin with", async () => {
  for (let i = 0; i < 6; i++) {
    const { session } = await authenticate(userCalled(await makeUser(poolId)), PASSWORD);
    assert.ok(session.isValid());
  }
});

test("is refused with a wrong password", async () => {
  const user = userCalled(await makeUser(poolId));
  await assert.rejects(authenticate(user, "Wrong-horse-7"), {
    name: "NotAuthorizedException",
    message: "Incorrect username or password.",
  });
});

test("signs up, confirms and signs in", async () => {
  const username = unique("user");
  const email = `${username}@example.com`;
  const attributes = [new CognitoUserAttribute({ Name: "email", Value: email })];
  const signedUp = await promised((done) => pool.signUp(username, PASSWORD, attributes, [], done));
  assert.equal(signedUp.userConfirmed, false);
  const user = userCalled(username);
  await assert.rejects(authenticate(user, PASSWORD), { name: "UserNotConfirmedException" });
  await promised((done) => user.resendConfirmationCode(done));
  const code = await newestCode(email);
  await promised((done) => user.confirmRegistration(code, false, done));
  assert.ok((await authenticate(user, PASSWORD)).session.isValid());
});

test("sets the new password that an invited user needs", async () => {
  const user = userCalled(await inviteUser(poolId, { email: "a@example.com" }));
  const { known, required } = await authenticate(user, PASSWORD);
  assert.equal(known.email, "a@example.com");
  assert.deepEqual(required, []);
  const session = await new Promise((resolve, reject) =>
    user.completeNewPasswordChallenge(NEW_PASSWORD, {}, { onSuccess: resolve, onFailure: reject }),
  );
  assert.ok(session.isValid());
  assert.ok((await authenticate(user, NEW_PASSWORD)).session.isValid());
});

test("refreshes the session", async () => {
  const user = userCalled(await makeUser(poolId));
  const { session } = await authenticate(user, PASSWORD);
  const refreshed = await promised((done) => user.refreshSession(session.getRefreshToken(), done));
  assert.ok(refreshed.isValid());
  assert.notEqual(refreshed.getAccessToken().getJwtToken(), session.getAccessToken().getJwtToken());
});
