"""What becomes of tokens: rotation, revocation, sign-out everywhere."""

import concurrent.futures
import time

import jwt
import pytest

from harness import wire
from harness.cognito import NEW_PASSWORD, PASSWORD, AppClient, boto_client, refused

ACCESS_REVOKED = "Access Token has been revoked"
REFRESH_REVOKED = "Refresh Token has been revoked"
FLOWS = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"]


@pytest.fixture
def username(pool):
    return pool.user(email="a@example.com")


def rotating(pool, grace, **settings):
    rotation = {"Feature": "ENABLED", "RetryGracePeriodSeconds": grace}
    return pool.app_client(ExplicitAuthFlows=FLOWS, RefreshTokenRotation=rotation, **settings)


def get_tokens(app, token, cognito=None, **more):
    answer = (cognito or app.cognito).get_tokens_from_refresh_token(ClientId=app.id, RefreshToken=token, **more)
    return answer["AuthenticationResult"]


# ---- GetTokensFromRefreshToken ------------------------------------------------------------------


def test_without_rotation_the_refresh_token_stays(app, username):
    first = app.tokens(username)
    for _ in range(2):
        renewed = get_tokens(app, first["RefreshToken"])
        assert renewed.keys() == {"AccessToken", "ExpiresIn", "IdToken", "TokenType"}
        app.cognito.get_user(AccessToken=renewed["AccessToken"])


def test_a_rotating_client_gets_a_new_refresh_token_each_time(pool, username):
    app = rotating(pool, 0)
    tokens = first = app.tokens(username)
    seen = {first["RefreshToken"]}
    for _ in range(3):
        tokens = get_tokens(app, tokens["RefreshToken"])
        assert tokens["RefreshToken"] not in seen
        seen.add(tokens["RefreshToken"])
        old, new = (jwt.decode(t["AccessToken"], options={"verify_signature": False}) for t in (first, tokens))
        assert (old["origin_jti"], old["auth_time"]) == (new["origin_jti"], new["auth_time"])


def test_s35_a_replaced_token_is_reuse_and_ends_the_session(pool, username, cognito):
    app = rotating(pool, 0)
    stolen = app.tokens(username)["RefreshToken"]
    current = get_tokens(app, stolen)
    with refused("RefreshTokenReuseException", "Refresh Token has been used already and is not valid any more."):
        get_tokens(app, stolen)
    with refused("NotAuthorizedException", REFRESH_REVOKED):
        get_tokens(app, current["RefreshToken"])
    with refused("NotAuthorizedException", ACCESS_REVOKED):
        cognito.get_user(AccessToken=current["AccessToken"])


def test_within_the_grace_period_a_client_can_repeat_itself(pool, username):
    app = rotating(pool, 60)
    first = app.tokens(username)["RefreshToken"]
    second = get_tokens(app, first)["RefreshToken"]
    assert get_tokens(app, first)["RefreshToken"] == second
    assert get_tokens(app, second)["RefreshToken"] not in (first, second)


def test_after_the_grace_period_a_token_is_used_up(pool, username):
    app = rotating(pool, 1)
    first = app.tokens(username)["RefreshToken"]
    get_tokens(app, first)
    end = time.monotonic() + 10
    with refused("RefreshTokenReuseException"):
        while time.monotonic() < end:
            get_tokens(app, first)


def test_s35_refresh_token_auth_is_refused_with_rotation(pool, username):
    app = rotating(pool, 60)
    token = app.tokens(username)["RefreshToken"]
    for flow in ("REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"):
        with refused("InvalidParameterException", f"{flow} flow not enabled for this client"):
            app.refresh(token, flow)


def test_rotation_and_the_flow_exclude_each_other(pool, cognito):
    app = pool.app_client()
    rotation = {"Feature": "ENABLED", "RetryGracePeriodSeconds": 10}
    text = "ALLOW_REFRESH_TOKEN_AUTH is not supported when refresh token rotation is enabled."
    with refused("InvalidParameterException", text):
        pool.app_client(RefreshTokenRotation=rotation)
    ids = {"UserPoolId": pool.id, "ClientId": app.id}
    flows = ["ALLOW_REFRESH_TOKEN_AUTH"]
    with refused("InvalidParameterException", text):
        cognito.update_user_pool_client(**ids, ExplicitAuthFlows=flows, RefreshTokenRotation=rotation)
    cognito.update_user_pool_client(**ids, ExplicitAuthFlows=FLOWS, RefreshTokenRotation=rotation)
    described = cognito.describe_user_pool_client(**ids)["UserPoolClient"]
    assert described["RefreshTokenRotation"] == rotation


@pytest.mark.parametrize("seconds", [-1, 61])
def test_the_grace_period_has_a_range(pool, seconds):
    with refused("InvalidParameterException"):
        rotating(pool, seconds)


def test_a_secret_is_sent_as_it_is(pool, username):
    app = pool.app_client(secret=True)
    token = app.tokens(username)["RefreshToken"]
    missing = f"Client {app.id} is configured for secret but secret was not received"
    wrong = f"Unable to verify secret for client {app.id}"
    with refused("NotAuthorizedException", missing):
        get_tokens(app, token)
    with refused("NotAuthorizedException", wrong):
        get_tokens(app, token, ClientSecret="wrong" * 6)
    assert get_tokens(app, token, ClientSecret=app.secret)["AccessToken"]
    ids = {"ClientId": app.id, "Token": token}
    with refused("UnauthorizedException", missing):
        app.cognito.revoke_token(**ids)
    with refused("UnauthorizedException", wrong):
        app.cognito.revoke_token(**ids, ClientSecret="wrong" * 6)
    app.cognito.revoke_token(**ids, ClientSecret=app.secret)
    with refused("NotAuthorizedException", REFRESH_REVOKED):
        get_tokens(app, token, ClientSecret=app.secret)


def test_s36_a_token_of_another_client_is_refused(pool, username):
    ours, theirs = rotating(pool, 0), rotating(pool, 0)
    token = ours.tokens(username)["RefreshToken"]
    with refused("NotAuthorizedException", "Refresh Token has different Client"):
        get_tokens(theirs, token)
    assert get_tokens(ours, token)["RefreshToken"]


# ---- RevokeToken --------------------------------------------------------------------------------


def test_a_revoked_session_is_over_and_the_others_go_on(app, username, cognito):
    ended, other = app.tokens(username), app.tokens(username)
    renewed = app.refresh(ended["RefreshToken"])["AuthenticationResult"]
    answer = cognito.revoke_token(ClientId=app.id, Token=ended["RefreshToken"])
    assert answer.keys() == {"ResponseMetadata"}
    for tokens in (ended, renewed):
        with refused("NotAuthorizedException", ACCESS_REVOKED):
            cognito.get_user(AccessToken=tokens["AccessToken"])
    with refused("NotAuthorizedException", REFRESH_REVOKED):
        app.refresh(ended["RefreshToken"])
    cognito.revoke_token(ClientId=app.id, Token=ended["RefreshToken"])
    cognito.get_user(AccessToken=other["AccessToken"])
    app.refresh(other["RefreshToken"])


def test_s33_only_refresh_tokens_of_one_s_own_are_revoked(pool, app, username, cognito):
    tokens = app.tokens(username)
    with refused("UnauthorizedException", "Refresh Token has different Client"):
        cognito.revoke_token(ClientId=pool.app_client().id, Token=tokens["RefreshToken"])
    text = "The token type is not supported. Only refresh tokens can be revoked."
    for kind in ("AccessToken", "IdToken"):
        with refused("UnsupportedTokenTypeException", text):
            cognito.revoke_token(ClientId=app.id, Token=tokens[kind])
    cognito.revoke_token(ClientId=app.id, Token="rubbish")
    app.refresh(tokens["RefreshToken"])


def test_a_client_without_revocation_refuses_it(pool, username, cognito):
    app = pool.app_client(EnableTokenRevocation=False)
    tokens = app.tokens(username)
    with refused("UnsupportedOperationException", "Token revocation is not enabled for the client."):
        cognito.revoke_token(ClientId=app.id, Token=tokens["RefreshToken"])
    # a sign-out everywhere holds for it all the same
    cognito.global_sign_out(AccessToken=tokens["AccessToken"])
    with refused("NotAuthorizedException", ACCESS_REVOKED):
        cognito.get_user(AccessToken=tokens["AccessToken"])
    cognito.get_user(AccessToken=app.tokens(username)["AccessToken"])


# ---- sign-out everywhere ------------------------------------------------------------------------


@pytest.mark.parametrize("by_admin", [False, True])
def test_s32_a_sign_out_ends_every_session(server, pool, app, username, cognito, by_admin):
    sessions = [app.tokens(username) for _ in range(3)]
    if by_admin:
        cognito.admin_user_global_sign_out(UserPoolId=pool.id, Username=username)
    else:
        cognito.global_sign_out(AccessToken=sessions[0]["AccessToken"])
    for tokens in sessions:
        with refused("NotAuthorizedException", ACCESS_REVOKED):
            cognito.get_user(AccessToken=tokens["AccessToken"])
        with refused("NotAuthorizedException", REFRESH_REVOKED):
            app.refresh(tokens["RefreshToken"])
        with refused("NotAuthorizedException", REFRESH_REVOKED):
            get_tokens(app, tokens["RefreshToken"])
    cognito.get_user(AccessToken=app.tokens(username)["AccessToken"])
    # whoever checks a token alone does not learn of it, as with Cognito
    issuer = f"{server.endpoint}/{pool.id}"
    token = sessions[0]["AccessToken"]
    key = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    assert jwt.decode(token, key.key, algorithms=["RS256"], issuer=issuer)["username"] == username


# What operations that take an access token need besides. Whoever builds one more adds it here.
NEEDS = {
    "AssociateSoftwareToken": {},
    "ChangePassword": {"PreviousPassword": PASSWORD, "ProposedPassword": NEW_PASSWORD},
    "ConfirmDevice": {"DeviceKey": "us-east-1_0"},
    "DeleteUser": {},
    "DeleteUserAttributes": {"UserAttributeNames": ["email"]},
    "ForgetDevice": {"DeviceKey": "us-east-1_0"},
    "GetDevice": {"DeviceKey": "us-east-1_0"},
    "GetUser": {},
    "GetUserAuthFactors": {},
    "GetUserAttributeVerificationCode": {"AttributeName": "email"},
    "CompleteWebAuthnRegistration": {"Credential": {}},
    "DeleteWebAuthnCredential": {"CredentialId": "a"},
    "GlobalSignOut": {},
    "ListDevices": {},
    "SetUserMFAPreference": {},
    "SetUserSettings": {"MFAOptions": [{"DeliveryMedium": "SMS", "AttributeName": "phone_number"}]},
    "UpdateDeviceStatus": {"DeviceKey": "us-east-1_0", "DeviceRememberedStatus": "remembered"},
    "UpdateUserAttributes": {"UserAttributes": [{"Name": "name", "Value": "A"}]},
    "VerifySoftwareToken": {"UserCode": "123456"},
    "VerifyUserAttribute": {"AttributeName": "email", "Code": "123456"},
}


def test_a_revoked_token_is_good_for_no_operation(server, app, username, cognito):
    tokens = app.tokens(username)
    cognito.revoke_token(ClientId=app.id, Token=tokens["RefreshToken"])
    model = cognito.meta.service_model
    members = {name: model.operation_model(name).input_shape.members for name in model.operation_names}
    taking = [name for name in members if "AccessToken" in members[name]]
    assert set(NEEDS) <= set(taking)
    accepted = []
    for name in taking:
        body = {"AccessToken": tokens["AccessToken"], **NEEDS.get(name, {})}
        answer = wire.call(server, name, body)
        if answer.status == 501:
            continue
        if (answer.status, answer.error, answer.message) != (400, "NotAuthorizedException", ACCESS_REVOKED):
            accepted.append((name, answer.error, answer.message))
    assert accepted == []
    cognito.get_user(AccessToken=app.tokens(username)["AccessToken"])


# ---- races --------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [0, 60])
def test_refreshes_at_once_end_in_one_line(server, pool, username, grace):
    """However many requests present a token at once, there is one successor; without a grace period the others
    are reuse."""
    app = rotating(pool, grace)
    clients = [boto_client(server) for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as threads:
        for _ in range(5):
            token = app.tokens(username)["RefreshToken"]

            def refresh(client, token=token):
                try:
                    return get_tokens(app, token, client)["RefreshToken"]
                except client.exceptions.RefreshTokenReuseException:
                    return None

            got = list(threads.map(refresh, clients))
            successors = {token for token in got if token}
            assert len(successors) == 1
            (successor,) = successors
            if grace:
                assert None not in got
                assert get_tokens(app, successor)["RefreshToken"]
            else:
                assert got.count(successor) == 1
                with refused("NotAuthorizedException", REFRESH_REVOKED):
                    get_tokens(app, successor)


@pytest.mark.parametrize("grace", [None, 0])
def test_no_token_after_the_sign_out_was_acknowledged(server, pool, username, grace):
    """Clients refresh without pause while the user is signed out. What begins after the acknowledgement gets
    nothing, and what was handed out before is good for nothing."""
    app = pool.app_client() if grace is None else rotating(pool, 60)
    tokens = [app.tokens(username) for _ in range(4)]
    acknowledged = []

    def refresh(start):
        client, token, answers = boto_client(server), start["RefreshToken"], []
        for _ in range(200):
            begun_after = bool(acknowledged)
            try:
                got = get_tokens(app, token, client)
                assert not begun_after, "a refresh that began after the sign-out got tokens"
                answers.append(got["AccessToken"])
                token = got.get("RefreshToken", token)
            except client.exceptions.NotAuthorizedException as error:
                assert error.response["Error"]["Message"] == REFRESH_REVOKED
                return answers
        raise AssertionError("the sign-out has never come")

    def sign_out():
        boto_client(server).admin_user_global_sign_out(UserPoolId=pool.id, Username=username)
        acknowledged.append(True)

    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        refreshing = [threads.submit(refresh, start) for start in tokens]
        threads.submit(sign_out).result()
        handed_out = [token for future in refreshing for token in future.result()]
    for token in [start["AccessToken"] for start in tokens] + handed_out:
        with refused("NotAuthorizedException", ACCESS_REVOKED):
            app.cognito.get_user(AccessToken=token)


def test_tokens_end_with_their_client(pool, username, cognito):
    app = pool.app_client()
    tokens = app.tokens(username)
    cognito.delete_user_pool_client(UserPoolId=pool.id, ClientId=app.id)
    text = f"User pool client {app.id} does not exist."
    with refused("ResourceNotFoundException", text):
        cognito.get_user(AccessToken=tokens["AccessToken"])
    with refused("ResourceNotFoundException", text):
        get_tokens(AppClient(pool, app.description), tokens["RefreshToken"])
