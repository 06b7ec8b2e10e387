"""Identities at providers: linked to users, shown with them, taken away. Sign-in through providers is not here."""

import json

import jwt
import pytest

from harness import wire
from harness.cognito import PASSWORD, Pool, as_dict, boto_client, refused, unique

GOOGLE = {"client_id": "our-id", "client_secret": "our-secret", "authorize_scopes": "openid email"}
SAML = {"MetadataURL": "https://idp.example.com/metadata"}
NOBODY = "User does not exist."


def provider(pool, name, kind, details):
    pool.cognito.create_identity_provider(
        UserPoolId=pool.id,
        ProviderName=name,
        ProviderType=kind,
        ProviderDetails=details,
        AttributeMapping={"email": "mail"},
    )


@pytest.fixture
def linkable(server, cognito):
    """A pool with a social provider and one that speaks SAML."""
    pool = Pool(server, cognito)
    provider(pool, "Google", "Google", GOOGLE)
    provider(pool, "Corp", "SAML", SAML)
    return pool


def identity(provider, value, attribute="Cognito_Subject"):
    return {"ProviderName": provider, "ProviderAttributeName": attribute, "ProviderAttributeValue": value}


def link(pool, username, source):
    pool.cognito.admin_link_provider_for_user(
        UserPoolId=pool.id,
        DestinationUser={"ProviderName": "Cognito", "ProviderAttributeValue": username},
        SourceUser=source,
    )


def disable(pool, user):
    pool.cognito.admin_disable_provider_for_user(UserPoolId=pool.id, User=user)


def identities(pool, username):
    shown = as_dict(pool.get(username)["UserAttributes"]).get("identities")
    return json.loads(shown) if shown else []


def test_a_link_is_shown_wherever_the_user_is(linkable, cognito):
    username = linkable.user(email="a@example.com")
    link(linkable, username, identity("Google", "1234"))
    (shown,) = identities(linkable, username)
    created = shown.pop("dateCreated")
    assert abs(created / 1000 - linkable.get(username)["UserLastModifiedDate"].timestamp()) < 1
    assert shown == {
        "userId": "1234",
        "providerName": "Google",
        "providerType": "Google",
        "issuer": None,
        "primary": False,
    }
    raw = as_dict(linkable.get(username)["UserAttributes"])["identities"]
    (listed,) = cognito.list_users(UserPoolId=linkable.id, Filter=f'username = "{username}"')["Users"]
    assert as_dict(listed["Attributes"])["identities"] == raw
    app = linkable.app_client()
    tokens = app.tokens(username)
    own = as_dict(cognito.get_user(AccessToken=tokens["AccessToken"])["UserAttributes"])
    assert own["identities"] == raw
    (claim,) = jwt.decode(tokens["IdToken"], options={"verify_signature": False})["identities"]
    assert claim == {**shown, "primary": "false", "dateCreated": str(created)}
    # a client that may not read them does not see them
    blind = linkable.app_client(ReadAttributes=["email"])
    tokens = blind.tokens(username)
    assert "identities" not in as_dict(cognito.get_user(AccessToken=tokens["AccessToken"])["UserAttributes"])
    assert "identities" not in jwt.decode(tokens["IdToken"], options={"verify_signature": False})


def test_the_answers_are_empty(server, linkable):
    username = linkable.user()
    local = {"ProviderName": "Cognito", "ProviderAttributeValue": username}
    body = {"UserPoolId": linkable.id, "DestinationUser": local, "SourceUser": identity("Google", "1")}
    answer = wire.call(server, "AdminLinkProviderForUser", body)
    assert (answer.status, answer.json) == (200, {})
    body = {"UserPoolId": linkable.id, "User": identity("Google", "1")}
    answer = wire.call(server, "AdminDisableProviderForUser", body)
    assert (answer.status, answer.json) == (200, {})


def test_an_identity_is_of_one_user(linkable):
    first, second = linkable.user(), linkable.user()
    link(linkable, first, identity("Google", "1"))
    with refused("InvalidParameterException", "SourceUser is already linked to DestinationUser"):
        link(linkable, first, identity("Google", "1"))
    with refused("AliasExistsException", "SourceUser is already linked to another DestinationUser"):
        link(linkable, second, identity("Google", "1"))
    disable(linkable, identity("Google", "1"))
    assert identities(linkable, first) == []
    link(linkable, second, identity("Google", "1"))


def test_a_deleted_user_leaves_its_identity_free(linkable, cognito):
    username, other = linkable.user(), linkable.user()
    link(linkable, username, identity("Google", "1"))
    cognito.admin_delete_user(UserPoolId=linkable.id, Username=username)
    link(linkable, other, identity("Google", "1"))


def test_a_provider_made_anew_is_another(linkable, cognito):
    username, other = linkable.user(), linkable.user()
    link(linkable, username, identity("Google", "1"))
    cognito.delete_identity_provider(UserPoolId=linkable.id, ProviderName="Google")
    with refused("ResourceNotFoundException"):
        disable(linkable, identity("Google", "1"))
    provider(linkable, "Google", "Google", GOOGLE)
    with refused("UserNotFoundException", NOBODY):
        disable(linkable, identity("Google", "1"))
    link(linkable, other, identity("Google", "1"))


def test_at_most_five(linkable):
    username = linkable.user()
    for number in range(5):
        link(linkable, username, identity("Corp", f"{number}@corp.example"))
    with refused("LimitExceededException"):
        link(linkable, username, identity("Google", "1"))
    assert [one["userId"] for one in identities(linkable, username)] == [f"{n}@corp.example" for n in range(5)]


@pytest.mark.parametrize(
    "source, name, text",
    [
        (
            identity("Cognito", "somebody"),
            "InvalidParameterException",
            "Invalid SourceUser: Cognito users with a username/password may not be passed in as a SourceUser, "
            "only as a DestinationUser",
        ),
        (identity("Okta", "1"), "ResourceNotFoundException", None),
        (identity("Google", "1", "email"), "InvalidParameterException", None),
        (identity("Corp", "1", "nickname"), "InvalidParameterException", None),
        (identity("Corp", ""), "InvalidParameterException", None),
        ({}, "InvalidParameterException", None),
    ],
)
def test_what_is_no_identity_is_refused(linkable, source, name, text):
    username = linkable.user()
    with refused(name, text):
        link(linkable, username, source)
    assert identities(linkable, username) == []


def test_a_mapped_attribute_links_a_saml_user(linkable):
    username = linkable.user()
    link(linkable, username, identity("Corp", "ada@corp.example", "email"))
    with refused("UserNotFoundException", NOBODY):
        disable(linkable, identity("Corp", "ada@corp.example"))
    disable(linkable, identity("Corp", "ada@corp.example", "email"))
    assert identities(linkable, username) == []


def test_nobody_is_linked_by_an_address(server, cognito):
    pool = Pool(server, cognito, AliasAttributes=["email"])
    provider(pool, "Google", "Google", GOOGLE)
    username = pool.user(email="ada@example.com", email_verified="true")
    assert pool.get("ada@example.com")["Username"] == username
    with refused("UserNotFoundException", NOBODY):
        link(pool, "ada@example.com", identity("Google", "1"))


def test_a_password_is_taken_away_until_an_administrator_sets_one(linkable, cognito):
    username, app = linkable.user(email="a@example.com", email_verified="true"), linkable.app_client()
    link(linkable, username, identity("Google", "1"))
    with refused("InvalidParameterException"):
        disable(linkable, identity("Cognito", username, "email"))
    disable(linkable, identity("Cognito", username))
    assert linkable.status(username) == "EXTERNAL_PROVIDER"
    for flow in ("USER_PASSWORD_AUTH",):
        with refused("NotAuthorizedException", "Incorrect username or password."):
            app.initiate(flow, USERNAME=username, PASSWORD=PASSWORD)
    with refused("NotAuthorizedException", "User password cannot be reset in the current state."):
        cognito.forgot_password(ClientId=app.id, Username=username)
    with refused("NotAuthorizedException", "User password cannot be reset in the current state."):
        cognito.admin_reset_user_password(UserPoolId=linkable.id, Username=username)
    cognito.admin_set_user_password(UserPoolId=linkable.id, Username=username, Password=PASSWORD, Permanent=True)
    assert linkable.status(username) == "CONFIRMED"
    assert app.tokens(username)
    assert len(identities(linkable, username)) == 1


@pytest.mark.parametrize("operation", ["AdminLinkProviderForUser", "AdminDisableProviderForUser"])
def test_who_is_not_there_and_who_may_not(server, linkable, operation):
    nobody = {"ProviderName": "Cognito", "ProviderAttributeName": "Cognito_Subject", "ProviderAttributeValue": "nobody"}
    body = {"UserPoolId": linkable.id, "User": nobody, "DestinationUser": nobody, "SourceUser": identity("Google", "1")}
    assert wire.call(server, operation, body).error == "UserNotFoundException"
    body["UserPoolId"] = "us-east-1_AAAAAAAAA"
    assert wire.call(server, operation, body).error == "ResourceNotFoundException"
    assert wire.call(server, operation, body, signed=False).error == "MissingAuthenticationTokenException"
    stranger = wire.call(server, operation, body, secret="wrong")
    assert stranger.error in ("InvalidSignatureException", "UnrecognizedClientException")


def test_a_user_does_not_write_identities(linkable, cognito):
    username, app = linkable.user(), linkable.app_client()
    token = app.tokens(username)["AccessToken"]
    with refused("NotAuthorizedException", "A client attempted to write unauthorized attribute"):
        cognito.update_user_attributes(
            AccessToken=token, UserAttributes=[{"Name": "identities", "Value": "[]"}]
        )


def test_links_outlive_the_process(start_server):
    server = start_server()
    pool = Pool(server, boto_client(server))
    provider(pool, "Google", "Google", GOOGLE)
    username = pool.user(unique("user"))
    link(pool, username, identity("Google", "1"))
    server.kill()
    server.start()
    assert [one["userId"] for one in identities(pool, username)] == ["1"]
    with refused("InvalidParameterException", "SourceUser is already linked to DestinationUser"):
        link(pool, username, identity("Google", "1"))
