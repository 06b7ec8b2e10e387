// amazon-cognito-identity-js signs in by a custom challenge: by itself, and after the password. The functions are
// those of harness/functions.py, which ask for 6 * 7.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { AuthenticationDetails, CognitoUser, CognitoUserPool } from "amazon-cognito-identity-js";

import { ENDPOINT, PASSWORD, makeClient, makePool, makeUser } from "./harness.mjs";

const arn = (name) => `arn:aws:lambda:us-east-1:000000000000:function:ask-${name}`;

let pool;

before(async () => {
  const poolId = await makePool({
    LambdaConfig: {
      DefineAuthChallenge: arn("define"),
      CreateAuthChallenge: arn("create"),
      VerifyAuthChallengeResponse: arn("verify"),
    },
  });
  const ClientId = await makeClient(poolId, { ExplicitAuthFlows: ["ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"] });
  pool = new CognitoUserPool({ UserPoolId: poolId, ClientId, endpoint: ENDPOINT });
});

// The session of whoever answers with `answers`, one after the other, and the questions that were asked.
async function signIn(details, begin, answers) {
  const username = await makeUser(pool.getUserPoolId());
  const user = new CognitoUser({ Username: username, Pool: pool });
  const questions = [];
  return new Promise((resolve, reject) => {
    const callbacks = {
      customChallenge: (parameters) => {
        questions.push(parameters.question);
        user.sendCustomChallengeAnswer(answers.shift(), callbacks);
      },
      onSuccess: (session) => resolve({ session, questions, username }),
      onFailure: reject,
    };
    user.setAuthenticationFlowType("CUSTOM_AUTH");
    user[begin](new AuthenticationDetails({ Username: username, ...details }), callbacks);
  });
}

test("a custom challenge alone", async () => {
  const { session, questions, username } = await signIn({}, "initiateAuth", ["41", "42"]);
  assert.ok(session.isValid());
  assert.deepEqual(questions, ["6 * 7", "6 * 7"]);
  assert.equal(session.getAccessToken().decodePayload().username, username);
});

test("a custom challenge after the password", async () => {
  const { session, questions } = await signIn({ Password: PASSWORD }, "authenticateUser", ["42"]);
  assert.ok(session.isValid());
  assert.deepEqual(questions, ["6 * 7"]);
});

test("the password is checked before the question is asked", async () => {
  await assert.rejects(signIn({ Password: "Wrong-horse-7" }, "authenticateUser", ["42"]), {
    code: "NotAuthorizedException",
    message: "Incorrect username or password.",
  });
});

test("three wrong answers end it", async () => {
  await assert.rejects(signIn({}, "initiateAuth", ["1", "2", "3"]), { code: "NotAuthorizedException" });
});
