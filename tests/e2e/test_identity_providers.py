"""Identity providers: made, described, changed and deleted. Sign-in through them is not here."""

import pytest

from harness import wire
from harness.cognito import boto_client, refused

OIDC = {
    "client_id": "our-id",
    "client_secret": "our-secret",
    "attributes_request_method": "GET",
    "oidc_issuer": "https://idp.example.com",
    "authorize_scopes": "openid email",
}
GOOGLE = {"client_id": "our-id", "client_secret": "our-secret", "authorize_scopes": "openid email"}


def describe(cognito, pool, name):
    return cognito.describe_identity_provider(UserPoolId=pool.id, ProviderName=name)["IdentityProvider"]


def test_a_provider_from_beginning_to_end(make_pool, cognito):
    pool = make_pool()
    made = cognito.create_identity_provider(
        UserPoolId=pool.id,
        ProviderName="Corporate",
        ProviderType="OIDC",
        ProviderDetails=OIDC,
        AttributeMapping={"email": "mail"},
        IdpIdentifiers=["example.com"],
    )["IdentityProvider"]
    dates = made.pop("CreationDate"), made.pop("LastModifiedDate")
    assert dates[0] == dates[1]
    assert made == {
        "UserPoolId": pool.id,
        "ProviderName": "Corporate",
        "ProviderType": "OIDC",
        "ProviderDetails": {**OIDC, "attributes_url_add_attributes": "false"},
        "AttributeMapping": {"email": "mail", "username": "sub"},
        "IdpIdentifiers": ["example.com"],
    }
    got = describe(cognito, pool, "Corporate")
    assert {name: got[name] for name in made} == made
    found = cognito.get_identity_provider_by_identifier(UserPoolId=pool.id, IdpIdentifier="example.com")
    assert found["IdentityProvider"] == got
    (entry,) = cognito.list_identity_providers(UserPoolId=pool.id)["Providers"]
    assert entry.keys() == {"ProviderName", "ProviderType", "CreationDate", "LastModifiedDate"}
    with refused("DuplicateProviderException"):
        cognito.create_identity_provider(
            UserPoolId=pool.id, ProviderName="Corporate", ProviderType="OIDC", ProviderDetails=OIDC
        )
    # absent: as it is; empty: none
    cognito.update_identity_provider(UserPoolId=pool.id, ProviderName="Corporate")
    assert describe(cognito, pool, "Corporate")["IdpIdentifiers"] == ["example.com"]
    cognito.update_identity_provider(UserPoolId=pool.id, ProviderName="Corporate", IdpIdentifiers=[])
    assert "IdpIdentifiers" not in describe(cognito, pool, "Corporate")
    with refused("ResourceNotFoundException"):
        cognito.get_identity_provider_by_identifier(UserPoolId=pool.id, IdpIdentifier="example.com")
    cognito.delete_identity_provider(UserPoolId=pool.id, ProviderName="Corporate")
    with refused("ResourceNotFoundException"):
        describe(cognito, pool, "Corporate")
    assert cognito.list_identity_providers(UserPoolId=pool.id)["Providers"] == []


def test_a_social_provider_is_described_with_its_endpoints(make_pool, cognito):
    pool = make_pool()
    cognito.create_identity_provider(
        UserPoolId=pool.id, ProviderName="Google", ProviderType="Google", ProviderDetails=GOOGLE
    )
    got = describe(cognito, pool, "Google")
    assert got["ProviderDetails"]["oidc_issuer"] == "https://accounts.google.com"
    # what is described can be sent back
    update = cognito.update_identity_provider(
        UserPoolId=pool.id, ProviderName="Google", ProviderDetails=got["ProviderDetails"]
    )["IdentityProvider"]
    assert update["ProviderDetails"] == got["ProviderDetails"]


@pytest.mark.parametrize(
    "name, kind, details, text",
    [
        ("Saml", "SAML", {}, "At least one of the MetadataURL or MetadataFile should be provided."),
        ("Saml", "SAML", {"MetadataFile": "<html/>"}, None),
        ("Oidc", "OIDC", {**OIDC, "oidc_issuer": "http://idp.example.com"}, None),
        ("Oidc", "OIDC", {k: v for k, v in OIDC.items() if k != "client_id"}, None),
        ("MyGoogle", "Google", GOOGLE, None),
    ],
)
def test_what_is_not_good_is_refused(pool, cognito, name, kind, details, text):
    with refused("InvalidParameterException", text):
        cognito.create_identity_provider(
            UserPoolId=pool.id, ProviderName=name, ProviderType=kind, ProviderDetails=details
        )


def test_a_secret_is_not_on_the_disk_nor_in_the_log(start_server):
    server = start_server()
    cognito = boto_client(server)
    pool_id = cognito.create_user_pool(PoolName="pool")["UserPool"]["Id"]
    secret = "very-special-provider-secret"
    cognito.create_identity_provider(
        UserPoolId=pool_id,
        ProviderName="Corporate",
        ProviderType="OIDC",
        ProviderDetails={**OIDC, "client_secret": secret},
    )
    answer = wire.call(
        server,
        "CreateIdentityProvider",
        {
            "UserPoolId": pool_id,
            "ProviderName": "Second",
            "ProviderType": "OIDC",
            "ProviderDetails": {"client_secret": secret},
        },
    )
    assert answer.status == 400
    assert secret not in answer.message
    server.stop()
    files = [server.log_path, *(path for path in server.data.rglob("*") if path.is_file())]
    assert len(files) > 3
    for path in files:
        assert secret.encode() not in path.read_bytes(), path


def test_a_client_names_providers_that_are_there(make_pool, cognito):
    pool = make_pool()
    with refused(
        "InvalidParameterException", f"The provider Google does not exist for User Pool {pool.id}."
    ):
        pool.app_client(SupportedIdentityProviders=["COGNITO", "Google"])
    cognito.create_identity_provider(
        UserPoolId=pool.id, ProviderName="Google", ProviderType="Google", ProviderDetails=GOOGLE
    )
    app = pool.app_client(SupportedIdentityProviders=["COGNITO", "Google"])
    assert app.description["SupportedIdentityProviders"] == ["COGNITO", "Google"]


def test_a_deleted_provider_leaves_its_name_in_clients_to_no_effect(make_pool, cognito):
    """Nothing is documented or reported: as with resource servers, the client goes on naming it until it is next changed."""
    pool = make_pool()
    cognito.create_identity_provider(
        UserPoolId=pool.id, ProviderName="Google", ProviderType="Google", ProviderDetails=GOOGLE
    )
    providers = ["COGNITO", "Google"]
    app = pool.app_client(SupportedIdentityProviders=providers)
    cognito.delete_identity_provider(UserPoolId=pool.id, ProviderName="Google")
    got = cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=app.id)["UserPoolClient"]
    assert got["SupportedIdentityProviders"] == providers
    app.tokens(pool.user())
    with refused("InvalidParameterException", f"The provider Google does not exist for User Pool {pool.id}."):
        cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id, SupportedIdentityProviders=providers)
    cognito.update_user_pool_client(UserPoolId=pool.id, ClientId=app.id, SupportedIdentityProviders=["COGNITO"])


def test_a_pool_elsewhere_looks_like_none(server, pool):
    other = boto_client(server, region="eu-west-1")
    gone = f"User pool {pool.id} does not exist."
    for operation, more in [
        (other.create_identity_provider, {"ProviderName": "Oidc", "ProviderType": "OIDC", "ProviderDetails": OIDC}),
        (other.describe_identity_provider, {"ProviderName": "Oidc"}),
        (other.update_identity_provider, {"ProviderName": "Oidc"}),
        (other.delete_identity_provider, {"ProviderName": "Oidc"}),
        (other.list_identity_providers, {}),
        (other.get_identity_provider_by_identifier, {"IdpIdentifier": "example.com"}),
    ]:
        with refused("ResourceNotFoundException", gone):
            operation(UserPoolId=pool.id, **more)
