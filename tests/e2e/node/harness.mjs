// What the Node tests share: the administrator's client, pools, app clients and users.

import {
  AdminCreateUserCommand,
  AdminSetUserPasswordCommand,
  CognitoIdentityProviderClient,
  CreateUserPoolClientCommand,
  CreateUserPoolCommand,
} from "@aws-sdk/client-cognito-identity-provider";

export const ENDPOINT = process.env.CONCLAVE_ENDPOINT;
export const PASSWORD = "Correct-horse-7";
export const NEW_PASSWORD = "Battery-staple-8";

export const cognito = new CognitoIdentityProviderClient({
  endpoint: ENDPOINT,
  region: "us-east-1",
  credentials: { accessKeyId: "test", secretAccessKey: "test" },
  maxAttempts: 1,
});

let number = 0;
export const unique = (prefix) => `${prefix}-${process.pid}-${++number}`;

export async function makePool(settings = {}) {
  const answer = await cognito.send(new CreateUserPoolCommand({ PoolName: unique("node"), ...settings }));
  return answer.UserPool.Id;
}

export async function makeClient(poolId, settings = {}) {
  const answer = await cognito.send(
    new CreateUserPoolClientCommand({
      UserPoolId: poolId,
      ClientName: unique("client"),
      ExplicitAuthFlows: ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
      ...settings,
    }),
  );
  return answer.UserPoolClient.ClientId;
}

// A user with a temporary password, who has to set a new one.
export async function inviteUser(poolId, attributes = {}) {
  const username = unique("user");
  await cognito.send(
    new AdminCreateUserCommand({
      UserPoolId: poolId,
      Username: username,
      TemporaryPassword: PASSWORD,
      MessageAction: "SUPPRESS",
      UserAttributes: Object.entries(attributes).map(([Name, Value]) => ({ Name, Value })),
    }),
  );
  return username;
}

// A user who can sign in with PASSWORD.
export async function makeUser(poolId, attributes = {}) {
  const username = await inviteUser(poolId, attributes);
  await cognito.send(
    new AdminSetUserPasswordCommand({ UserPoolId: poolId, Username: username, Password: PASSWORD, Permanent: true }),
  );
  return username;
}

// The newest code that was sent to an address.
export async function newestCode(to) {
  const answer = await fetch(`${ENDPOINT}/_conclave/inbox?to=${encodeURIComponent(to)}`);
  return (await answer.json())[0].code;
}
