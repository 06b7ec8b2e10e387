"""InitiateAuth with REFRESH_TOKEN_AUTH and its synonym REFRESH_TOKEN."""

import jwt
import pytest

from harness.cognito import refused


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


@pytest.fixture
def signed_in(pool, app):
    username = pool.user(email="a@example.com")
    return username, app.tokens(username)


@pytest.mark.parametrize("flow", ["REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"])
def test_new_tokens_of_the_same_sign_in(app, signed_in, flow):
    username, first = signed_in
    answer = app.refresh(first["RefreshToken"], flow)
    assert answer["ChallengeParameters"] == {}
    result = answer["AuthenticationResult"]
    assert result.keys() == {"AccessToken", "ExpiresIn", "IdToken", "TokenType"}
    for kind in ("AccessToken", "IdToken"):
        old, new = claims(first[kind]), claims(result[kind])
        for same in ("sub", "iss", "origin_jti", "event_id", "auth_time", "token_use"):
            assert new[same] == old[same]
        assert new["jti"] != old["jti"]
        assert new["iat"] >= old["iat"]
        assert old.keys() == new.keys()


def test_a_refresh_token_is_good_more_than_once(app, signed_in):
    for _ in range(3):
        assert app.refresh(signed_in[1]["RefreshToken"])["AuthenticationResult"]


@pytest.mark.parametrize("damage", ["rubbish", "shorter", "longer", "changed", "access token"])
def test_a_damaged_token_is_refused(app, signed_in, damage):
    token = signed_in[1]["RefreshToken"]
    middle = len(token) // 2
    bad = {
        "rubbish": "rubbish",
        "shorter": token[:-4],
        "longer": token + "AAAA",
        "changed": token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :],
        "access token": signed_in[1]["AccessToken"],
    }[damage]
    with refused("NotAuthorizedException", "Invalid Refresh Token"):
        app.refresh(bad)


def test_a_token_belongs_to_its_client(pool, signed_in):
    with refused("NotAuthorizedException", "Refresh Token has different Client"):
        pool.app_client().refresh(signed_in[1]["RefreshToken"])


def test_a_token_belongs_to_its_pool(make_pool, signed_in):
    with refused("NotAuthorizedException", "Invalid Refresh Token"):
        make_pool().app_client().refresh(signed_in[1]["RefreshToken"])


def test_the_flow_has_to_be_enabled(pool):
    app = pool.app_client(ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])
    tokens = app.tokens(pool.user())
    with refused("InvalidParameterException"):
        app.refresh(tokens["RefreshToken"])


def test_a_missing_token_is_named(app):
    with refused("InvalidParameterException", "Missing required parameter REFRESH_TOKEN"):
        app.initiate("REFRESH_TOKEN_AUTH", USERNAME="somebody")


def test_a_client_with_a_secret_proves_it(pool):
    app = pool.app_client(secret=True)
    username = pool.user()
    token = app.tokens(username)["RefreshToken"]
    with refused(
        "NotAuthorizedException", f"Client {app.id} is configured with secret but SECRET_HASH was not received"
    ):
        app.refresh(token)
    with refused("NotAuthorizedException", f"Unable to verify secret hash for client {app.id}"):
        app.refresh(token, SECRET_HASH=app.parameters("somebody else")["SECRET_HASH"])
    assert app.refresh(token, SECRET_HASH=app.parameters(username)["SECRET_HASH"])["AuthenticationResult"]


def test_the_claims_are_read_again(pool, app, signed_in, cognito):
    """No built operation changes an attribute of a confirmed user yet; the status of the password does not matter."""
    username, tokens = signed_in
    cognito.admin_set_user_password(
        UserPoolId=pool.id, Username=username, Password="Battery-staple-8", Permanent=False
    )
    assert app.refresh(tokens["RefreshToken"])["AuthenticationResult"]["IdToken"]
