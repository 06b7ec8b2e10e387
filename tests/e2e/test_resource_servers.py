"""Resource servers, and the OAuth 2.0 settings of clients that name their scopes."""

import pytest

from harness.cognito import boto_client, refused, unique

URL = "https://app.example.com/callback"
SCOPES = [
    {"ScopeName": "read", "ScopeDescription": "Read orders"},
    {"ScopeName": "write", "ScopeDescription": "Change orders"},
]


@pytest.fixture(scope="module")
def api(pool, cognito):
    """The identifier of a resource server in the module's pool."""
    identifier = "https://api.example.com/v1"
    cognito.create_resource_server(UserPoolId=pool.id, Identifier=identifier, Name="orders", Scopes=SCOPES)
    return identifier


def describe(cognito, pool, identifier):
    return cognito.describe_resource_server(UserPoolId=pool.id, Identifier=identifier)["ResourceServer"]


def test_a_resource_server_from_beginning_to_end(make_pool, cognito):
    pool = make_pool()
    expected = {"UserPoolId": pool.id, "Identifier": "api", "Name": "orders", "Scopes": SCOPES}
    made = cognito.create_resource_server(UserPoolId=pool.id, Identifier="api", Name="orders", Scopes=SCOPES)
    assert made["ResourceServer"] == expected
    assert describe(cognito, pool, "api") == expected
    with refused("InvalidParameterException", f"api already exists in user pool {pool.id}."):
        cognito.create_resource_server(UserPoolId=pool.id, Identifier="api", Name="orders")
    changed = {**expected, "Name": "more", "Scopes": SCOPES[:1]}
    update = cognito.update_resource_server(
        UserPoolId=pool.id, Identifier="api", Name="more", Scopes=SCOPES[:1]
    )
    assert update["ResourceServer"] == changed
    assert cognito.list_resource_servers(UserPoolId=pool.id)["ResourceServers"] == [changed]
    cognito.delete_resource_server(UserPoolId=pool.id, Identifier="api")
    with refused("ResourceNotFoundException"):
        describe(cognito, pool, "api")
    assert cognito.list_resource_servers(UserPoolId=pool.id)["ResourceServers"] == []


def test_a_pool_has_at_most_twenty_five(make_pool, cognito):
    pool = make_pool()
    for number in range(25):
        cognito.create_resource_server(UserPoolId=pool.id, Identifier=f"api{number}", Name="api")
    with refused("LimitExceededException"):
        cognito.create_resource_server(UserPoolId=pool.id, Identifier="one-more", Name="api")
    pages = cognito.get_paginator("list_resource_servers").paginate(UserPoolId=pool.id, MaxResults=10)
    listed = [server["Identifier"] for page in pages for server in page["ResourceServers"]]
    assert sorted(listed) == sorted(f"api{number}" for number in range(25))


def test_a_client_s_oauth_settings_are_described_back(pool, cognito, api):
    settings = {
        "AllowedOAuthFlowsUserPoolClient": True,
        "AllowedOAuthFlows": ["code"],
        "AllowedOAuthScopes": ["openid", "email", f"{api}/read"],
        "CallbackURLs": [URL, "http://localhost:3000"],
        "LogoutURLs": ["https://app.example.com"],
        "DefaultRedirectURI": URL,
        "SupportedIdentityProviders": ["COGNITO"],
    }
    app = pool.app_client(**settings)
    assert {name: app.description[name] for name in settings} == settings
    got = cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=app.id)["UserPoolClient"]
    assert got == app.description
    settings["AllowedOAuthScopes"] = [f"{api}/write"]
    settings["AllowedOAuthFlows"] = ["implicit"]
    got = cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id, **settings)["UserPoolClient"]
    assert {name: got[name] for name in settings} == settings


def client(**changes):
    return {
        "AllowedOAuthFlowsUserPoolClient": True,
        "AllowedOAuthFlows": ["code"],
        "AllowedOAuthScopes": ["openid"],
        "CallbackURLs": [URL],
        **changes,
    }


REFUSED = {
    "scope": (
        client(AllowedOAuthScopes=["openid", "api/none"]),
        "ScopeDoesNotExistException",
        "Invalid scope requested: api/none",
    ),
    "no callback": (
        client(CallbackURLs=[]),
        "InvalidOAuthFlowException",
        "CallbackUrls can not be empty when code flow or implicit flow is selected",
    ),
    "no flow": (
        client(AllowedOAuthFlows=[]),
        "InvalidOAuthFlowException",
        "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.",
    ),
    "machine without secret": (
        client(AllowedOAuthFlows=["client_credentials"]),
        "InvalidOAuthFlowException",
        "client_credentials flow can not be selected if client does not have a client secret.",
    ),
    "machine and user": (
        client(AllowedOAuthFlows=["client_credentials", "code"]),
        "InvalidOAuthFlowException",
        "client_credentials flow can not be selected along with code flow or implicit flow.",
    ),
    "http": (
        client(CallbackURLs=["http://app.example.com"]),
        "InvalidParameterException",
        "http://app.example.com cannot use the HTTP protocol.",
    ),
    "provider": (client(SupportedIdentityProviders=["Google"]), "InvalidParameterException", None),
    "default": (client(DefaultRedirectURI="https://app.example.com/other"), "InvalidParameterException", None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_do_not_go_together_are_refused(pool, cognito, name):
    settings, error, text = REFUSED[name]
    with refused(error, text):
        pool.app_client(**settings)
    app = pool.app_client()
    with refused(error, text):
        cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id, **settings)


def test_a_machine_has_a_secret_and_scopes_of_its_own(pool, api):
    machine = {"AllowedOAuthFlowsUserPoolClient": True, "AllowedOAuthFlows": ["client_credentials"]}
    pool.app_client(secret=True, **machine, AllowedOAuthScopes=[f"{api}/read"])
    with refused("InvalidOAuthFlowException", "openid is not supported with client_credentials flow."):
        pool.app_client(secret=True, **machine, AllowedOAuthScopes=["openid"])


def test_a_deleted_server_leaves_its_scopes_in_clients_to_no_effect(make_pool, cognito):
    """Nothing is documented. It is reported that a server, or a scope, that a client has can be deleted "without breaking
    anything" (cloudformation-coverage-roadmap, issue 173); that the client goes on naming it until it is next changed is
    judgement: its description stays what its owner has set, and nothing is allowed by a name that stands for nothing."""
    pool = make_pool()
    cognito.create_resource_server(UserPoolId=pool.id, Identifier="api", Name="api", Scopes=SCOPES)
    settings = client(AllowedOAuthScopes=["openid", "api/read"])
    app = pool.app_client(**settings)
    cognito.delete_resource_server(UserPoolId=pool.id, Identifier="api")
    got = cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=app.id)["UserPoolClient"]
    assert got == app.description
    app.tokens(pool.user())
    with refused("ScopeDoesNotExistException", "Invalid scope requested: api/read"):
        cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id, **settings)
    # what is made again under the name is meant again
    cognito.create_resource_server(UserPoolId=pool.id, Identifier="api", Name="api", Scopes=SCOPES)
    cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id, **settings)


def test_a_pool_elsewhere_looks_like_none(server, pool, api):
    other = boto_client(server, region="eu-west-1")
    gone = f"User pool {pool.id} does not exist."
    for operation, more in [
        (other.create_resource_server, {"Identifier": unique("api"), "Name": "api"}),
        (other.describe_resource_server, {"Identifier": api}),
        (other.update_resource_server, {"Identifier": api, "Name": "api"}),
        (other.delete_resource_server, {"Identifier": api}),
        (other.list_resource_servers, {}),
    ]:
        with refused("ResourceNotFoundException", gone):
            operation(UserPoolId=pool.id, **more)
