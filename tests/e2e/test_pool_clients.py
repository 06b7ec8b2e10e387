"""CreateUserPoolClient, DescribeUserPoolClient, ListUserPoolClients, DeleteUserPoolClient."""

import re

import pytest

from harness import wire
from harness.cognito import refused, unique

MISSING_CLIENT = "0123456789abcdefghijklmnop"


def test_a_new_client_has_cognitos_defaults(pool, cognito):
    name = unique("client")
    got = cognito.create_user_pool_client(UserPoolId=pool.id, ClientName=name)["UserPoolClient"]
    assert re.fullmatch(r"[0-9a-z]{25,26}", got["ClientId"])
    dates = got.pop("CreationDate"), got.pop("LastModifiedDate")
    assert dates[0] == dates[1]
    assert got == {
        "AllowedOAuthFlowsUserPoolClient": False,
        "AuthSessionValidity": 3,
        "ClientId": got["ClientId"],
        "ClientName": name,
        "EnablePropagateAdditionalUserContextData": False,
        "EnableTokenRevocation": True,
        "RefreshTokenValidity": 30,
        "TokenValidityUnits": {},
        "UserPoolId": pool.id,
    }


def test_describe_says_what_create_said(pool, cognito):
    app = pool.app_client(
        secret=True,
        ReadAttributes=["email", "name"],
        WriteAttributes=["name"],
        AccessTokenValidity=10,
        IdTokenValidity=20,
        RefreshTokenValidity=2,
        TokenValidityUnits={"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"},
        PreventUserExistenceErrors="ENABLED",
    )
    got = cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=app.id)["UserPoolClient"]
    assert got == app.description
    assert re.fullmatch(r"[0-9a-z]{50,64}", got["ClientSecret"])
    assert got["PreventUserExistenceErrors"] == "ENABLED"
    assert got["AccessTokenValidity"] == 10


def test_auth_flows_are_answered_in_cognitos_order(pool):
    app = pool.app_client(
        ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_PASSWORD_AUTH"]
    )
    assert app.description["ExplicitAuthFlows"] == [
        "ALLOW_USER_PASSWORD_AUTH",
        "ALLOW_USER_SRP_AUTH",
        "ALLOW_REFRESH_TOKEN_AUTH",
    ]


def test_clients_are_listed_page_by_page(make_pool, cognito):
    pool = make_pool()
    made = {pool.app_client().id for _ in range(5)}
    listed, token = [], None
    for _ in range(5):
        more = {"NextToken": token} if token else {}
        page = cognito.list_user_pool_clients(UserPoolId=pool.id, MaxResults=2, **more)
        listed += page["UserPoolClients"]
        token = page.get("NextToken")
        if token is None:
            break
    assert [c["ClientId"] for c in listed] == sorted(made)
    for entry in listed:
        assert entry.keys() == {"ClientId", "ClientName", "UserPoolId"}
        assert entry["UserPoolId"] == pool.id


def test_a_page_token_of_another_pool_is_refused(make_pool, cognito):
    mine, other = make_pool(), make_pool()
    for owner in (mine, mine, other, other):
        owner.app_client()
    token = cognito.list_user_pool_clients(UserPoolId=mine.id, MaxResults=1)["NextToken"]
    with refused("InvalidParameterException"):
        cognito.list_user_pool_clients(UserPoolId=other.id, MaxResults=1, NextToken=token)


def test_a_deleted_client_signs_nobody_in(pool, cognito, server):
    app = pool.app_client()
    username = pool.user()
    tokens = app.tokens(username)
    answer = wire.call(server, "DeleteUserPoolClient", {"UserPoolId": pool.id, "ClientId": app.id})
    assert (answer.status, answer.body) == (200, b"")
    gone = f"User pool client {app.id} does not exist."
    with refused("ResourceNotFoundException", gone):
        app.password_sign_in(username)
    with refused("ResourceNotFoundException", gone):
        app.sign_up()
    with refused("ResourceNotFoundException", gone):
        app.refresh(tokens["RefreshToken"])
    with refused("ResourceNotFoundException", gone):
        cognito.get_user(AccessToken=tokens["AccessToken"])
    with refused("ResourceNotFoundException"):
        cognito.delete_user_pool_client(UserPoolId=pool.id, ClientId=app.id)


@pytest.mark.parametrize("operation", ["describe_user_pool_client", "delete_user_pool_client"])
def test_a_missing_client_is_not_named_to_administrators(pool, cognito, operation):
    with refused("ResourceNotFoundException", "User pool client does not exist."):
        getattr(cognito, operation)(UserPoolId=pool.id, ClientId=MISSING_CLIENT)


def test_a_client_belongs_to_one_pool(make_pool, cognito):
    mine, other = make_pool(), make_pool()
    app = mine.app_client()
    with refused("ResourceNotFoundException"):
        cognito.describe_user_pool_client(UserPoolId=other.id, ClientId=app.id)
    with refused("ResourceNotFoundException"):
        cognito.delete_user_pool_client(UserPoolId=other.id, ClientId=app.id)
    assert cognito.describe_user_pool_client(UserPoolId=mine.id, ClientId=app.id)


@pytest.mark.parametrize(
    "settings",
    [
        {"WriteAttributes": ["custom:nowhere"]},
        {"ReadAttributes": ["custom:nowhere"]},
        {"AccessTokenValidity": 4, "TokenValidityUnits": {"AccessToken": "minutes"}},
        {"IdTokenValidity": 25, "TokenValidityUnits": {"IdToken": "hours"}},
        {"RefreshTokenValidity": 30, "TokenValidityUnits": {"RefreshToken": "minutes"}},
        {"ExplicitAuthFlows": ["USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH"]},
    ],
    ids=["write unknown", "read unknown", "access 4 min", "id 25 h", "refresh 30 min", "old and new flow names"],
)
def test_impossible_client_settings_are_refused(pool, cognito, settings):
    with refused("InvalidParameterException"):
        cognito.create_user_pool_client(UserPoolId=pool.id, ClientName="impossible", **settings)


def test_write_attributes_must_hold_every_required_one(make_pool, cognito):
    pool = make_pool(Schema=[{"Name": "family_name", "AttributeDataType": "String", "Required": True, "Mutable": True}])
    with refused("InvalidParameterException", "Invalid write attributes specified while creating a client"):
        cognito.create_user_pool_client(UserPoolId=pool.id, ClientName="lacking", WriteAttributes=["email"])
