"""Devices: the keys that sign-ins give them, how they prove themselves, and what their users do with them. The
arithmetic is pycognito's; in node/ it is that of amazon-cognito-identity-js."""

import time

import pyotp
import pytest
from pycognito.aws_srp import AWSSRP, generate_hash_device

from harness.cognito import PASSWORD, Pool, refused

NO_DEVICE = "Device does not exist."
INVALID_KEY = "Invalid device key given."
INVALID_SESSION = "Invalid session for the user."
INVALID_REFRESH = "Invalid Refresh Token"
ALWAYS = {"ChallengeRequiredOnNewDevice": True, "DeviceOnlyRememberedOnUserPrompt": False}


@pytest.fixture(scope="module")
def pool(server, cognito):
    return Pool(server, cognito, DeviceConfiguration=ALWAYS)


@pytest.fixture
def username(pool):
    return pool.user()


class Device:
    """One that has signed in and confirmed the key that it was given."""

    def __init__(self, app, username, name="telephone"):
        self.app, self.username = app, username
        self.tokens = app.tokens(username)
        metadata = self.tokens["NewDeviceMetadata"]
        self.key, self.group = metadata["DeviceKey"], metadata["DeviceGroupKey"]
        self.password, self.verifier = generate_hash_device(self.group, self.key)
        self.confirmed = app.cognito.confirm_device(
            AccessToken=self.tokens["AccessToken"],
            DeviceKey=self.key,
            DeviceName=name,
            DeviceSecretVerifierConfig=self.verifier,
        )

    def srp(self, **other):
        settings = {
            "username": self.username,
            "password": PASSWORD,
            "pool_id": self.app.pool.id,
            "client_id": self.app.id,
            "client": self.app.cognito,
            "device_key": self.key,
            "device_group_key": self.group,
            "device_password": self.password,
            **other,
        }
        return AWSSRP(**settings)

    def sign_in(self):
        """With the password, and then by the device."""
        answer = self.app.initiate(
            "USER_PASSWORD_AUTH", **self.app.parameters(self.username, PASSWORD=PASSWORD, DEVICE_KEY=self.key)
        )
        return self.prove(answer)

    def prove(self, answer):
        assert answer["ChallengeName"] == "DEVICE_SRP_AUTH"
        srp = self.srp()
        answer = self.app.respond(
            "DEVICE_SRP_AUTH",
            answer["Session"],
            USERNAME=self.username,
            DEVICE_KEY=self.key,
            SRP_A=f"{srp.large_a_value:x}",
        )
        assert answer["ChallengeName"] == "DEVICE_PASSWORD_VERIFIER"
        assert answer["ChallengeParameters"].keys() == {"DEVICE_KEY", "SALT", "SECRET_BLOCK", "SRP_B", "USERNAME"}
        claim = srp.process_device_challenge(answer["ChallengeParameters"])
        return self.app.respond("DEVICE_PASSWORD_VERIFIER", answer.get("Session"), **claim)["AuthenticationResult"]


@pytest.fixture
def app(pool):
    return pool.app_client()


def test_the_configuration_is_described_and_switched_off(make_pool, cognito):
    pool = make_pool(DeviceConfiguration={"DeviceOnlyRememberedOnUserPrompt": True})
    settings = {"ChallengeRequiredOnNewDevice": False, "DeviceOnlyRememberedOnUserPrompt": True}
    assert pool.description["DeviceConfiguration"] == settings
    app, username = pool.app_client(), pool.user()
    assert "NewDeviceMetadata" in app.tokens(username)
    cognito.update_user_pool(UserPoolId=pool.id)
    assert "DeviceConfiguration" not in cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]
    assert "NewDeviceMetadata" not in app.tokens(username)


def test_a_confirmed_device_is_described(app, username, cognito):
    device = Device(app, username)
    assert device.confirmed["UserConfirmationNecessary"] is False
    token = device.tokens["AccessToken"]
    described = cognito.get_device(AccessToken=token, DeviceKey=device.key)["Device"]
    assert described.keys() == {
        "DeviceKey", "DeviceAttributes", "DeviceCreateDate", "DeviceLastModifiedDate", "DeviceLastAuthenticatedDate",
    }  # fmt: skip
    assert {"Name": "device_name", "Value": "telephone"} in described["DeviceAttributes"]
    assert cognito.list_devices(AccessToken=token)["Devices"] == [described]


def test_a_remembered_device_signs_in(app, username, cognito):
    device = Device(app, username)
    tokens = device.sign_in()
    assert "NewDeviceMetadata" not in tokens
    cognito.get_user(AccessToken=tokens["AccessToken"])


def test_pycognito_signs_in_on_a_device(app, username, cognito):
    device = Device(app, username)
    for _ in range(3):
        tokens = device.srp().authenticate_user()["AuthenticationResult"]
        assert "NewDeviceMetadata" not in tokens
        cognito.get_user(AccessToken=tokens["AccessToken"])
    with refused("NotAuthorizedException", "Incorrect username or password."):
        device.srp(device_password="another").authenticate_user()


def test_a_client_with_a_secret_and_devices(pool, username):
    app = pool.app_client(secret=True)
    device = Device(app, username)
    answer = app.initiate(
        "USER_PASSWORD_AUTH", **app.parameters(username, PASSWORD=PASSWORD, DEVICE_KEY=device.key)
    )
    with refused("NotAuthorizedException"):
        app.respond("DEVICE_SRP_AUTH", answer["Session"], USERNAME=username, DEVICE_KEY=device.key, SRP_A="5")
    answer = app.respond(
        "DEVICE_SRP_AUTH", answer["Session"], **app.parameters(username, DEVICE_KEY=device.key, SRP_A="5")
    )
    assert answer["ChallengeName"] == "DEVICE_PASSWORD_VERIFIER"


def test_a_user_says_what_is_remembered(make_pool, cognito):
    pool = make_pool(DeviceConfiguration={**ALWAYS, "DeviceOnlyRememberedOnUserPrompt": True})
    app, username = pool.app_client(), pool.user()
    device = Device(app, username)
    assert device.confirmed["UserConfirmationNecessary"] is True
    ids = {"AccessToken": device.tokens["AccessToken"], "DeviceKey": device.key}
    parameters = app.parameters(username, PASSWORD=PASSWORD, DEVICE_KEY=device.key)
    assert "AuthenticationResult" in app.initiate("USER_PASSWORD_AUTH", **parameters)
    cognito.update_device_status(**ids, DeviceRememberedStatus="remembered")
    assert device.sign_in()["AccessToken"]
    cognito.update_device_status(**ids, DeviceRememberedStatus="not_remembered")
    assert "AuthenticationResult" in app.initiate("USER_PASSWORD_AUTH", **parameters)
    with refused("InvalidParameterException"):
        cognito.update_device_status(**ids, DeviceRememberedStatus="perhaps")


def test_administrators_manage_devices(pool, app, username, cognito):
    devices = [Device(app, username, name) for name in ("one", "two", "three")]
    ids = {"UserPoolId": pool.id, "Username": username}
    first = cognito.admin_list_devices(**ids, Limit=2)
    second = cognito.admin_list_devices(**ids, Limit=2, PaginationToken=first["PaginationToken"])
    assert "PaginationToken" not in second
    listed = {d["DeviceKey"] for page in (first, second) for d in page["Devices"]}
    assert listed == {device.key for device in devices}
    one = devices[0]
    attributes = cognito.admin_get_device(**ids, DeviceKey=one.key)["Device"]["DeviceAttributes"]
    assert {"Name": "dev:device_remembered_status", "Value": "remembered"} in attributes
    cognito.admin_update_device_status(**ids, DeviceKey=one.key, DeviceRememberedStatus="not_remembered")
    attributes = cognito.admin_get_device(**ids, DeviceKey=one.key)["Device"]["DeviceAttributes"]
    assert {"Name": "dev:device_remembered_status", "Value": "not_remembered"} in attributes
    cognito.admin_forget_device(**ids, DeviceKey=one.key)
    with refused("ResourceNotFoundException", NO_DEVICE):
        cognito.admin_get_device(**ids, DeviceKey=one.key)
    assert len(cognito.admin_list_devices(**ids)["Devices"]) == 2


def test_s36_a_refresh_names_the_device(app, username, cognito):
    device = Device(app, username)
    token = device.tokens["RefreshToken"]
    for key in ({}, {"DEVICE_KEY": "us-east-1_0"}):
        with refused("NotAuthorizedException", INVALID_REFRESH):
            app.refresh(token, **key)
    assert app.refresh(token, DEVICE_KEY=device.key)["AuthenticationResult"]
    ids = {"ClientId": app.id, "RefreshToken": token}
    with refused("NotAuthorizedException", INVALID_REFRESH):
        cognito.get_tokens_from_refresh_token(**ids)
    cognito.get_tokens_from_refresh_token(**ids, DeviceKey=device.key)
    # whoever has lost a device forgets it
    other = app.tokens(username)
    cognito.forget_device(AccessToken=other["AccessToken"], DeviceKey=device.key)
    with refused("NotAuthorizedException", INVALID_REFRESH):
        app.refresh(token, DEVICE_KEY=device.key)
    app.refresh(other["RefreshToken"])


def test_s50_a_device_key_alone_is_nothing(pool, app, username, cognito):
    device = Device(app, username)
    eve = pool.user()
    stranger = Device(app, eve)
    with refused("InvalidParameterException", INVALID_KEY):
        cognito.confirm_device(
            AccessToken=stranger.tokens["AccessToken"],
            DeviceKey=device.key,
            DeviceSecretVerifierConfig=device.verifier,
        )
    with refused("DeviceKeyExistsException", "Device key already exists."):
        cognito.confirm_device(
            AccessToken=device.tokens["AccessToken"],
            DeviceKey=device.key,
            DeviceSecretVerifierConfig=stranger.verifier,
        )
    for key in (stranger.key, "us-east-1_00000000-0000-0000-0000-000000000000", "x"):
        with refused("ResourceNotFoundException", NO_DEVICE):
            app.initiate("USER_PASSWORD_AUTH", USERNAME=username, PASSWORD=PASSWORD, DEVICE_KEY=key)
    # without the password there is no session to answer with
    responses = {"USERNAME": username, "DEVICE_KEY": device.key, "SRP_A": f"{device.srp().large_a_value:x}"}
    for session in (None, "x" * 100):
        with refused("NotAuthorizedException", INVALID_SESSION):
            app.respond("DEVICE_SRP_AUTH", session, **responses)
    # with it, the device still has to prove itself
    start = {"USERNAME": username, "PASSWORD": PASSWORD, "DEVICE_KEY": device.key}
    device.password = "something else"
    with refused("NotAuthorizedException", "Incorrect username or password."):
        device.prove(app.initiate("USER_PASSWORD_AUTH", **start))


@pytest.mark.parametrize("stands_for_it", [True, False])
def test_s50_a_second_factor_and_a_device(make_pool, cognito, stands_for_it):
    pool = make_pool(DeviceConfiguration={**ALWAYS, "ChallengeRequiredOnNewDevice": stands_for_it})
    app, username = pool.app_client(), pool.user()
    cognito.set_user_pool_mfa_config(
        UserPoolId=pool.id, MfaConfiguration="OPTIONAL", SoftwareTokenMfaConfiguration={"Enabled": True}
    )
    device = Device(app, username)
    token = device.tokens["AccessToken"]
    totp = pyotp.TOTP(cognito.associate_software_token(AccessToken=token)["SecretCode"])
    cognito.verify_software_token(AccessToken=token, UserCode=totp.now())
    settings = {"Enabled": True, "PreferredMfa": True}
    cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings=settings)
    assert app.password_sign_in(username)["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    parameters = app.parameters(username, PASSWORD=PASSWORD, DEVICE_KEY=device.key)
    begun = app.initiate("USER_PASSWORD_AUTH", **parameters)
    if not stands_for_it:
        assert begun["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
        # the code of the present step is used
        code = totp.at(time.time() + 30)
        begun = app.respond("SOFTWARE_TOKEN_MFA", begun["Session"], USERNAME=username, SOFTWARE_TOKEN_MFA_CODE=code)
    assert "AuthenticationResult" not in begun
    tokens = device.prove(begun)
    cognito.get_user(AccessToken=tokens["AccessToken"])
    if stands_for_it:
        device.srp().authenticate_user()
        cognito.update_device_status(
            AccessToken=tokens["AccessToken"], DeviceKey=device.key, DeviceRememberedStatus="not_remembered"
        )
        assert app.initiate("USER_PASSWORD_AUTH", **parameters)["ChallengeName"] == "SOFTWARE_TOKEN_MFA"


def test_a_device_that_is_forgotten_is_a_new_one(app, username, cognito):
    device = Device(app, username)
    cognito.forget_device(AccessToken=device.tokens["AccessToken"], DeviceKey=device.key)
    with refused("ResourceNotFoundException", NO_DEVICE):
        device.sign_in()
    with refused("ResourceNotFoundException", NO_DEVICE):
        cognito.forget_device(AccessToken=device.tokens["AccessToken"], DeviceKey=device.key)
    assert Device(app, username).key != device.key
