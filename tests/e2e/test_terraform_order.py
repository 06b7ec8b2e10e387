"""The calls of Terraform's AWS provider, in its order, in boto3: make, read back, no difference; change; destroy.

The order is that of the provider's resources aws_cognito_user_pool, _domain, _resource_server, _identity_provider,
_user_pool_client, _user_pool_ui_customization and _managed_login_branding. Terraform itself is not needed.
"""

from harness.cognito import refused, unique


def difference(wanted, got):
    """What Terraform would show as a change: every setting that was given and reads back as something else."""
    changed = {}
    for name, value in wanted.items():
        read = got.get(name)
        if isinstance(value, dict) and isinstance(read, dict):
            inner = difference(value, read)
            if inner:
                changed[name] = inner
        elif isinstance(value, list) and isinstance(read, list) and all(isinstance(v, str) for v in value):
            # the provider keeps these as sets
            if sorted(value) != sorted(read):
                changed[name] = read
        elif read != value:
            changed[name] = read
    return changed


POOL = {
    "Policies": {
        "PasswordPolicy": {
            "MinimumLength": 12,
            "RequireLowercase": True,
            "RequireNumbers": True,
            "RequireSymbols": False,
            "RequireUppercase": True,
            "TemporaryPasswordValidityDays": 3,
        }
    },
    "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True},
    "AutoVerifiedAttributes": ["email"],
    "VerificationMessageTemplate": {
        "DefaultEmailOption": "CONFIRM_WITH_CODE",
        "EmailMessage": "Your code is {####}",
        "EmailSubject": "Welcome",
    },
    "AccountRecoverySetting": {"RecoveryMechanisms": [{"Name": "verified_email", "Priority": 1}]},
    "DeletionProtection": "ACTIVE",
    "UserPoolTags": {"team": "blue"},
    "UserPoolTier": "ESSENTIALS",
}


def test_a_pool_is_made_changed_and_destroyed(cognito):
    name = unique("terraform-")
    schema = [{"Name": "team", "AttributeDataType": "String", "Mutable": True, "DeveloperOnlyAttribute": False}]
    pool_id = cognito.create_user_pool(
        PoolName=name, UsernameAttributes=["email"], Schema=schema, **POOL
    )["UserPool"]["Id"]

    def read_pool():
        return cognito.describe_user_pool(UserPoolId=pool_id)["UserPool"]

    assert difference({**POOL, "UsernameAttributes": ["email"]}, read_pool()) == {}
    # every read asks for this as well
    mfa = cognito.get_user_pool_mfa_config(UserPoolId=pool_id)
    assert mfa.keys() == {"MfaConfiguration", "ResponseMetadata"}
    assert mfa["MfaConfiguration"] == "OFF"

    domain = unique("terraform-")
    cognito.create_user_pool_domain(Domain=domain, UserPoolId=pool_id)
    got = cognito.describe_user_pool_domain(Domain=domain)["DomainDescription"]
    assert difference({"Domain": domain, "UserPoolId": pool_id, "Status": "ACTIVE"}, got) == {}

    server = {
        "Identifier": "https://api.example.com",
        "Name": "api",
        "Scopes": [{"ScopeName": "read", "ScopeDescription": "Read"}],
    }
    cognito.create_resource_server(UserPoolId=pool_id, **server)
    got = cognito.describe_resource_server(UserPoolId=pool_id, Identifier=server["Identifier"])
    assert difference(server, got["ResourceServer"]) == {}

    provider = {
        "ProviderName": "Google",
        "ProviderType": "Google",
        "ProviderDetails": {"authorize_scopes": "email", "client_id": "id", "client_secret": "secret"},
        "AttributeMapping": {"email": "email", "username": "sub"},
    }
    cognito.create_identity_provider(UserPoolId=pool_id, **provider)
    got = cognito.describe_identity_provider(UserPoolId=pool_id, ProviderName="Google")["IdentityProvider"]
    assert difference(provider, got) == {}
    # the next plan has the computed details in its state, and an apply sends them back
    cognito.update_identity_provider(
        UserPoolId=pool_id, ProviderName="Google", ProviderDetails=got["ProviderDetails"]
    )
    again = cognito.describe_identity_provider(UserPoolId=pool_id, ProviderName="Google")["IdentityProvider"]
    assert difference(got["ProviderDetails"], again["ProviderDetails"]) == {}

    client = {
        "ClientName": "app",
        "AllowedOAuthFlowsUserPoolClient": True,
        "AllowedOAuthFlows": ["code"],
        "AllowedOAuthScopes": ["openid", "https://api.example.com/read"],
        "CallbackURLs": ["https://app.example.com/callback"],
        "LogoutURLs": ["https://app.example.com"],
        "SupportedIdentityProviders": ["COGNITO", "Google"],
        "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        "AccessTokenValidity": 15,
        "IdTokenValidity": 15,
        "RefreshTokenValidity": 7,
        "TokenValidityUnits": {"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"},
        "PreventUserExistenceErrors": "ENABLED",
        "EnableTokenRevocation": True,
        "ReadAttributes": ["email"],
        "WriteAttributes": ["email"],
    }
    client_id = cognito.create_user_pool_client(UserPoolId=pool_id, GenerateSecret=True, **client)[
        "UserPoolClient"
    ]["ClientId"]

    def read_client():
        return cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client_id)["UserPoolClient"]

    assert difference(client, read_client()) == {}
    secret = read_client()["ClientSecret"]

    # a change of one setting sends all of them
    client["CallbackURLs"] = ["https://app.example.com/other"]
    cognito.update_user_pool_client(UserPoolId=pool_id, ClientId=client_id, **client)
    assert difference({**client, "ClientSecret": secret}, read_client()) == {}
    wanted = {**POOL, "DeletionProtection": "INACTIVE", "UserPoolTags": {"team": "green"}}
    cognito.update_user_pool(UserPoolId=pool_id, **wanted)
    assert difference(wanted, read_pool()) == {}
    cognito.add_custom_attributes(
        UserPoolId=pool_id, CustomAttributes=[{"Name": "role", "AttributeDataType": "String"}]
    )
    assert {"custom:team", "custom:role"} <= {a["Name"] for a in read_pool()["SchemaAttributes"]}
    assert difference(wanted, read_pool()) == {}

    cognito.delete_user_pool_client(UserPoolId=pool_id, ClientId=client_id)
    cognito.delete_identity_provider(UserPoolId=pool_id, ProviderName="Google")
    cognito.delete_resource_server(UserPoolId=pool_id, Identifier=server["Identifier"])
    cognito.delete_user_pool_domain(UserPoolId=pool_id, Domain=domain)
    assert cognito.describe_user_pool_domain(Domain=domain)["DomainDescription"] == {}
    cognito.delete_user_pool(UserPoolId=pool_id)
    with refused("ResourceNotFoundException"):
        read_pool()


def test_the_classic_pages_are_customized(make_pool, cognito):
    """aws_cognito_user_pool_ui_customization: it is set, read, set again whole, and set to nothing to be destroyed."""
    pool = make_pool()
    cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=unique("terraform-"))
    app = pool.app_client()
    css = ".label-customizable {font-weight: 400;}"
    for client_id in ("ALL", app.id):
        whose = {"UserPoolId": pool.id, "ClientId": client_id}

        def read(whose=whose):
            return cognito.get_ui_customization(**whose)["UICustomization"]

        for wanted in ({"CSS": css}, {"CSS": css.replace("400", "100")}):
            cognito.set_ui_customization(**whose, **wanted)
            assert difference({**whose, **wanted}, read()) == {}
            assert {"CreationDate", "CSSVersion", "LastModifiedDate"} <= read().keys()
        cognito.set_ui_customization(**whose, CSS=css, ImageFile=b"\xff\xd8\xff")
        assert read()["ImageUrl"]
        cognito.set_ui_customization(**whose, ImageFile=b"\xff\xd8\xff")
        assert "CSS" not in read()
        cognito.set_ui_customization(**whose)
        # an empty description is what the provider takes for "not there"
        assert read() == {}


def test_a_managed_login_style_is_made_changed_and_destroyed(make_pool, cognito):
    """aws_cognito_managed_login_branding: it is read by its id, own values and all; an import finds the client by asking each."""
    pool = make_pool()
    app, other = pool.app_client(), pool.app_client()
    settings = {"categories": {"form": {"displayGraphics": True, "instructions": {"enabled": False}}}}

    def read(style_id, merged):
        answer = cognito.describe_managed_login_branding(
            UserPoolId=pool.id, ManagedLoginBrandingId=style_id, ReturnMergedResources=merged
        )
        return answer["ManagedLoginBranding"]

    def client_of(style_id):
        clients = cognito.list_user_pool_clients(UserPoolId=pool.id)["UserPoolClients"]
        for client_id in [client["ClientId"] for client in clients]:
            try:
                style = cognito.describe_managed_login_branding_by_client(UserPoolId=pool.id, ClientId=client_id)
            except cognito.exceptions.ResourceNotFoundException:
                continue
            if style["ManagedLoginBranding"]["ManagedLoginBrandingId"] == style_id:
                return client_id
        return None

    whose = {"UserPoolId": pool.id, "ClientId": app.id}
    cognito.create_managed_login_branding(UserPoolId=pool.id, ClientId=other.id, UseCognitoProvidedValues=True)
    # the provider sends the flag at its zero value beside settings
    wanted = {"Settings": settings, "UseCognitoProvidedValues": False, "Assets": []}
    style_id = cognito.create_managed_login_branding(**whose, **wanted)["ManagedLoginBranding"]["ManagedLoginBrandingId"]
    assert difference({"UserPoolId": pool.id, **wanted}, read(style_id, False)) == {}
    assert difference(settings, read(style_id, True)["Settings"]) == {}
    assert client_of(style_id) == app.id

    style = {"UserPoolId": pool.id, "ManagedLoginBrandingId": style_id}
    settings["categories"]["form"]["displayGraphics"] = False
    cognito.update_managed_login_branding(**style, Settings=settings, UseCognitoProvidedValues=False)
    assert read(style_id, False)["Settings"] == settings
    cognito.update_managed_login_branding(**style, UseCognitoProvidedValues=True)
    got = read(style_id, False)
    assert got["UseCognitoProvidedValues"]
    assert "Settings" not in got
    cognito.delete_managed_login_branding(**style)
    with refused("ResourceNotFoundException"):
        read(style_id, False)

    # images are replaced by another style
    for mode in ("DARK", "LIGHT"):
        image = {"Category": "PAGE_FOOTER_BACKGROUND", "ColorMode": mode, "Extension": "SVG", "Bytes": b"<svg/>"}
        wanted = {"UseCognitoProvidedValues": True, "Assets": [image]}
        style_id = cognito.create_managed_login_branding(**whose, **wanted)["ManagedLoginBranding"]["ManagedLoginBrandingId"]
        assert difference(wanted, read(style_id, False)) == {}
        cognito.delete_managed_login_branding(UserPoolId=pool.id, ManagedLoginBrandingId=style_id)
