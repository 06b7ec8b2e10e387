"""UpdateUserPoolClient, and the secrets of a client."""

import pytest

from harness import wire
from harness.cognito import PASSWORD, AppClient, refused, secret_hash


def describe(cognito, app):
    return cognito.describe_user_pool_client(UserPoolId=app.pool.id, ClientId=app.id)["UserPoolClient"]


def test_what_an_update_leaves_out_goes_back_to_its_default(pool, cognito):
    plain = describe(cognito, pool.app_client(ExplicitAuthFlows=[]))
    app = pool.app_client(
        secret=True,
        ReadAttributes=["email"],
        WriteAttributes=["email"],
        AccessTokenValidity=10,
        TokenValidityUnits={"AccessToken": "minutes"},
        PreventUserExistenceErrors="ENABLED",
        EnableTokenRevocation=False,
        AuthSessionValidity=15,
    )
    answer = cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id)["UserPoolClient"]
    after = describe(cognito, app)
    assert after == answer
    expected = {**plain}
    for name in ("ClientId", "ClientName", "ClientSecret", "CreationDate"):
        expected[name] = app.description[name]
    assert after.pop("LastModifiedDate") >= expected.pop("LastModifiedDate")
    assert after == expected


def test_a_new_setting_counts_at_once(pool, cognito):
    app = pool.app_client()
    username = pool.user()
    app.tokens(username)
    cognito.update_user_pool_client(
        UserPoolId=pool.id, ClientId=app.id, ExplicitAuthFlows=["ALLOW_REFRESH_TOKEN_AUTH"]
    )
    with refused("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client"):
        app.password_sign_in(username)


def test_a_client_of_another_pool_is_not_found(make_pool, cognito):
    mine, other = make_pool(), make_pool()
    app = mine.app_client()
    for operation in (cognito.update_user_pool_client, cognito.add_user_pool_client_secret):
        with refused("ResourceNotFoundException", "User pool client does not exist."):
            operation(UserPoolId=other.id, ClientId=app.id)
    with refused("ResourceNotFoundException", "User pool client does not exist."):
        cognito.list_user_pool_client_secrets(UserPoolId=other.id, ClientId=app.id)


def test_an_app_goes_over_to_a_new_secret_without_a_pause(pool, cognito):
    app = pool.app_client(secret=True)
    username = pool.user()
    ids = {"UserPoolId": pool.id, "ClientId": app.id}
    (old,) = cognito.list_user_pool_client_secrets(**ids)["ClientSecrets"]
    assert old.keys() == {"ClientSecretId", "ClientSecretCreateDate"}
    new = cognito.add_user_pool_client_secret(**ids)["ClientSecretDescriptor"]
    app_with_new = AppClient(pool, {**app.description, "ClientSecret": new["ClientSecretValue"]})
    # both are accepted
    app.tokens(username)
    app_with_new.tokens(username)
    with refused("LimitExceededException"):
        cognito.add_user_pool_client_secret(**ids)
    cognito.delete_user_pool_client_secret(**ids, ClientSecretId=old["ClientSecretId"])
    with refused("NotAuthorizedException"):
        app.password_sign_in(username)
    app_with_new.tokens(username)
    assert describe(cognito, app)["ClientSecret"] == new["ClientSecretValue"]
    with refused("InvalidParameterException"):
        cognito.delete_user_pool_client_secret(**ids, ClientSecretId=new["ClientSecretId"])
    with refused("ResourceNotFoundException"):
        cognito.delete_user_pool_client_secret(**ids, ClientSecretId=old["ClientSecretId"])


def test_a_secret_of_the_administrators_choice_is_accepted_and_not_repeated(pool, cognito):
    app = pool.app_client(secret=True)
    username, secret = pool.user(), "chosen_by_the_administrator"
    added = cognito.add_user_pool_client_secret(UserPoolId=pool.id, ClientId=app.id, ClientSecret=secret)
    assert added["ClientSecretDescriptor"].keys() == {"ClientSecretId", "ClientSecretCreateDate"}
    answer = app.initiate(
        "USER_PASSWORD_AUTH",
        USERNAME=username,
        PASSWORD=PASSWORD,
        SECRET_HASH=secret_hash(username, app.id, secret),
    )
    assert "AuthenticationResult" in answer


def test_a_public_client_gets_no_secret(pool, cognito):
    app = pool.app_client()
    with refused("InvalidParameterException"):
        cognito.add_user_pool_client_secret(UserPoolId=pool.id, ClientId=app.id)
    assert cognito.list_user_pool_client_secrets(UserPoolId=pool.id, ClientId=app.id)["ClientSecrets"] == []


@pytest.mark.parametrize("member, value", [("AnalyticsConfiguration", {"ApplicationId": "a" * 32})])
def test_a_member_without_effect_is_refused_by_name(server, pool, app, member, value):
    answer = wire.call(
        server, "UpdateUserPoolClient", {"UserPoolId": pool.id, "ClientId": app.id, member: value}
    )
    assert answer.status == 501
    assert member in answer.message
