// amazon-cognito-identity-js with second factors: SRP and then an authenticator app, a text message, a choice, or the
// set-up. It knows no challenge of codes by e-mail.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { before, test } from "node:test";

import { SetUserPoolMfaConfigCommand } from "@aws-sdk/client-cognito-identity-provider";
import { AuthenticationDetails, CognitoUser, CognitoUserPool } from "amazon-cognito-identity-js";

import { ENDPOINT, PASSWORD, cognito, makeClient, makePool, makeUser, newestCode } from "./harness.mjs";

let optional;
let required;
let texting;

async function poolThatAsks(MfaConfiguration, factors = {}) {
  const poolId = await makePool({ AutoVerifiedAttributes: ["email"] });
  await cognito.send(
    new SetUserPoolMfaConfigCommand({
      UserPoolId: poolId,
      MfaConfiguration,
      SoftwareTokenMfaConfiguration: { Enabled: true },
      ...factors,
    }),
  );
  const pool = new CognitoUserPool({ UserPoolId: poolId, ClientId: await makeClient(poolId), endpoint: ENDPOINT });
  return { poolId, pool };
}

before(async () => {
  optional = await poolThatAsks("OPTIONAL");
  required = await poolThatAsks("ON");
  const SmsConfiguration = { SnsCallerArn: "arn:aws:iam::111122223333:role/sms" };
  texting = await poolThatAsks("ON", { SmsMfaConfiguration: { SmsConfiguration } });
});

// RFC 6238, of the step that is `ahead` of now.
function totp(secret, ahead = 0) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + ahead));
  const tag = createHmac("sha1", key).update(step).digest();
  const word = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(word % 1_000_000).padStart(6, "0");
}

const userCalled = ({ pool }, username) => new CognitoUser({ Username: username, Pool: pool });

// What a sign-in comes to: a session, or the name of the callback that wants more.
function authenticate(user) {
  const details = new AuthenticationDetails({ Username: user.getUsername(), Password: PASSWORD });
  return new Promise((resolve, reject) =>
    user.authenticateUser(details, {
      onSuccess: (session) => resolve({ session }),
      onFailure: reject,
      totpRequired: (name, parameters) => resolve({ wants: "totp", parameters }),
      mfaRequired: (name, parameters) => resolve({ wants: "mfa", parameters }),
      selectMFAType: (name, parameters) => resolve({ wants: "select", parameters }),
      mfaSetup: (name, parameters) => resolve({ wants: "setup", parameters }),
    }),
  );
}

const answer = (user, code, challenge) =>
  new Promise((onSuccess, onFailure) => user.sendMFACode(code, { onSuccess, onFailure }, challenge));
const secretFor = (user) =>
  new Promise((associateSecretCode, onFailure) => user.associateSoftwareToken({ associateSecretCode, onFailure }));
const verify = (user, code) =>
  new Promise((onSuccess, onFailure) => user.verifySoftwareToken(code, "my phone", { onSuccess, onFailure }));
const promised = (call) =>
  new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));

async function userWithApp() {
  const username = await makeUser(optional.poolId);
  const user = userCalled(optional, username);
  assert.ok((await authenticate(user)).session.isValid());
  const secret = await secretFor(user);
  await verify(user, totp(secret, -1));
  await promised((done) => user.setUserMfaPreference(null, { Enabled: true, PreferredMfa: true }, done));
  return { username, secret };
}

test("signs in with SRP and an authenticator app", async () => {
  const { username, secret } = await userWithApp();
  const user = userCalled(optional, username);
  const { wants, parameters } = await authenticate(user);
  assert.equal(wants, "totp");
  assert.equal(parameters.FRIENDLY_DEVICE_NAME, "my phone");
  const session = await answer(user, totp(secret), "SOFTWARE_TOKEN_MFA");
  assert.ok(session.isValid());
  const data = await promised((done) => user.getUserData(done, { bypassCache: true }));
  assert.equal(data.PreferredMfaSetting, "SOFTWARE_TOKEN_MFA");
});

test("is refused with a wrong code", async () => {
  const { username, secret } = await userWithApp();
  const user = userCalled(optional, username);
  await authenticate(user);
  const wrong = String((Number(totp(secret)) + 500_000) % 1_000_000).padStart(6, "0");
  await assert.rejects(answer(user, wrong, "SOFTWARE_TOKEN_MFA"), { name: "CodeMismatchException" });
});

test("sets an app up in the middle of a sign-in where everybody is asked", async () => {
  const user = userCalled(required, await makeUser(required.poolId));
  const { wants } = await authenticate(user);
  assert.equal(wants, "setup");
  const secret = await secretFor(user);
  const session = await verify(user, totp(secret));
  assert.ok(session.isValid());
});

test("signs in with a code by text message, and with the one that is chosen", async () => {
  const number = `+1206555${String(process.pid % 10_000).padStart(4, "0")}`;
  const username = await makeUser(texting.poolId, { phone_number: number });
  const user = userCalled(texting, username);
  const { wants, parameters } = await authenticate(user);
  assert.equal(wants, "mfa");
  assert.equal(parameters.CODE_DELIVERY_DELIVERY_MEDIUM, "SMS");
  assert.ok((await answer(user, await newestCode(number), "SMS_MFA")).isValid());

  const secret = await secretFor(user);
  await verify(user, totp(secret, -1));
  const again = userCalled(texting, username);
  assert.equal((await authenticate(again)).wants, "select");
  const chosen = await new Promise((resolve, reject) =>
    again.sendMFASelectionAnswer("SOFTWARE_TOKEN_MFA", {
      onFailure: reject,
      totpRequired: resolve,
      mfaRequired: () => reject(new Error("not what was chosen")),
    }),
  );
  assert.equal(chosen, "SOFTWARE_TOKEN_MFA");
  assert.ok((await answer(again, totp(secret), "SOFTWARE_TOKEN_MFA")).isValid());
});
