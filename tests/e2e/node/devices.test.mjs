// amazon-cognito-identity-js remembers devices: it confirms the key that a sign-in gives, keeps a secret of its own
// making, and proves it in the next sign-in.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { AdminForgetDeviceCommand, AdminListDevicesCommand } from "@aws-sdk/client-cognito-identity-provider";
import { AuthenticationDetails, CognitoUser, CognitoUserPool } from "amazon-cognito-identity-js";

import { ENDPOINT, PASSWORD, cognito, makeClient, makePool, makeUser } from "./harness.mjs";

async function trackingPool(prompt) {
  const poolId = await makePool({
    DeviceConfiguration: { ChallengeRequiredOnNewDevice: true, DeviceOnlyRememberedOnUserPrompt: prompt },
  });
  return new CognitoUserPool({ UserPoolId: poolId, ClientId: await makeClient(poolId), endpoint: ENDPOINT });
}

// The session, and whether the user is to be asked about the device.
function authenticate(pool, username, flow = "USER_SRP_AUTH") {
  const user = new CognitoUser({ Username: username, Pool: pool });
  user.setAuthenticationFlowType(flow);
  const details = new AuthenticationDetails({ Username: username, Password: PASSWORD });
  return new Promise((resolve, reject) =>
    user.authenticateUser(details, {
      onSuccess: (session, ask) => resolve({ user, session, ask }),
      onFailure: reject,
    }),
  );
}

const promised = (call) => new Promise((resolve, reject) => call({ onSuccess: resolve, onFailure: reject }));

const devicesOf = async (pool, username) => {
  const command = new AdminListDevicesCommand({ UserPoolId: pool.getUserPoolId(), Username: username });
  return (await cognito.send(command)).Devices;
};

let pool;

before(async () => {
  pool = await trackingPool(false);
});

test("a device is confirmed at its first sign-in and proves itself in the others", async () => {
  const username = await makeUser(pool.getUserPoolId());
  const { user } = await authenticate(pool, username);
  const [device] = await devicesOf(pool, username);
  assert.equal(device.DeviceKey, user.deviceKey);
  for (let i = 0; i < 4; i++) {
    const { session } = await authenticate(pool, username);
    assert.ok(session.isValid());
    assert.equal(session.getAccessToken().decodePayload().device_key, device.DeviceKey);
  }
  assert.equal((await devicesOf(pool, username)).length, 1);
});

test("a session on a device is refreshed", async () => {
  const username = await makeUser(pool.getUserPoolId());
  await authenticate(pool, username);
  const { user, session } = await authenticate(pool, username);
  const renewed = await new Promise((resolve, reject) =>
    user.refreshSession(session.getRefreshToken(), (error, value) => (error ? reject(error) : resolve(value))),
  );
  assert.ok(renewed.isValid());
});

test("a device that is forgotten elsewhere becomes a new one", async () => {
  const username = await makeUser(pool.getUserPoolId());
  const { user } = await authenticate(pool, username);
  const command = { UserPoolId: pool.getUserPoolId(), Username: username, DeviceKey: user.deviceKey };
  await cognito.send(new AdminForgetDeviceCommand(command));
  const { session } = await authenticate(pool, username);
  assert.ok(session.isValid());
  const [device] = await devicesOf(pool, username);
  assert.notEqual(device.DeviceKey, command.DeviceKey);
});

test("the user says whether a device is remembered, lists and forgets it", async () => {
  const asking = await trackingPool(true);
  const username = await makeUser(asking.getUserPoolId());
  const { user, ask } = await authenticate(asking, username);
  assert.equal(ask, true);
  await promised((callback) => user.setDeviceStatusRemembered(callback));
  const again = await authenticate(asking, username);
  assert.ok(again.session.isValid());
  assert.ok(await promised((callback) => again.user.getDevice(callback)));
  const listed = await promised((callback) => again.user.listDevices(10, null, callback));
  assert.equal(listed.Devices.length, 1);
  await promised((callback) => again.user.forgetDevice(callback));
  assert.equal((await devicesOf(asking, username)).length, 0);
});
