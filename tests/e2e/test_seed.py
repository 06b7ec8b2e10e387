"""A seed file: accounts, pools, clients and users as declared, with fixed ids, applied as often as one likes."""

import json

import boto3
import pytest
import requests

from cluster import Cluster, conclave, must
from harness import srp
from harness.cognito import PASSWORD, as_dict, boto_client, refused
from harness.server import ROOT, Server

POOL_ID = "eu-west-1_Abc123XYZ"
CLIENT_ID = "3n4b5urk1ft4fl3mg5e62d9ado"
SECRET = "a_secret_for_the_tests_of_developers"
SUB = "5dcc1b88-0a6a-4b25-a4a6-96ca2d9b6d0f"
OTHER_ACCOUNT = "111122223333"

SEED = f"""
[[Accounts]]
AccountId = "{OTHER_ACCOUNT}"
Name = "tenant"

[[Accounts.AccessKeys]]
AccessKeyId = "tenant"
SecretAccessKey = "tenant-secret"
UserName = "ci"

[[UserPools]]
Id = "{POOL_ID}"
PoolName = "web"
AutoVerifiedAttributes = ["email"]
UserPoolTags = {{ team = "blue" }}
Schema = [{{ Name = "team", AttributeDataType = "String", Mutable = true }}]
AdminCreateUserConfig = {{ AllowAdminCreateUserOnly = true }}

[UserPools.VerificationMessageTemplate]
EmailMessage = "Your code is {{####}}"

[UserPools.Policies.PasswordPolicy]
MinimumLength = 10
RequireNumbers = true

[[UserPools.ResourceServers]]
Identifier = "https://api.example.com"
Name = "api"
Scopes = [{{ ScopeName = "read", ScopeDescription = "Read" }}]

[[UserPools.IdentityProviders]]
ProviderName = "Google"
ProviderType = "Google"
ProviderDetails = {{ client_id = "id", client_secret = "secret", authorize_scopes = "email" }}
AttributeMapping = {{ email = "email" }}

[[UserPools.Groups]]
GroupName = "admins"
Precedence = 1

[[UserPools.Groups]]
GroupName = "readers"

[[UserPools.Clients]]
ClientId = "{CLIENT_ID}"
ClientSecret = "{SECRET}"
ClientName = "server"
ExplicitAuthFlows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
AllowedOAuthFlowsUserPoolClient = true
AllowedOAuthFlows = ["code"]
AllowedOAuthScopes = ["openid", "https://api.example.com/read"]
CallbackURLs = ["https://app.example.com/callback"]
SupportedIdentityProviders = ["COGNITO", "Google"]

[[UserPools.Clients]]
ClientName = "browser"
ExplicitAuthFlows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]

[[UserPools.Domains]]
Domain = "seeded"

[[UserPools.Users]]
Username = "ada"
Sub = "{SUB}"
Password = "{PASSWORD}"
Groups = ["admins", "readers"]
UserAttributes = [
  {{ Name = "email", Value = "ada@example.com" }},
  {{ Name = "email_verified", Value = "true" }},
  {{ Name = "custom:team", Value = "blue" }},
]

[[UserPools.Users]]
Username = "new"
TemporaryPassword = "{PASSWORD}"

[[UserPools.Users]]
Username = "gone"
Enabled = false

[[UserPools]]
AccountId = "{OTHER_ACCOUNT}"
Region = "us-east-1"
PoolName = "tenants"
UsernameAttributes = ["email"]

[[UserPools.Users]]
Username = "bob@example.com"
Password = "{PASSWORD}"
"""
THINGS = 15


def apply(server, text, content_type="application/toml"):
    url = f"{server.endpoint}/_conclave/seed"
    return requests.post(url, data=text.encode(), headers={"Content-Type": content_type}, timeout=60)


def applied(server, text):
    answer = apply(server, text)
    assert answer.status_code == 200, answer.text
    return answer.json()


def errors(server, text):
    answer = apply(server, text)
    assert answer.status_code == 400, answer.text
    return [(error["line"], error["message"]) for error in answer.json()["errors"]]


def client_of(server, region="eu-west-1"):
    return boto_client(server, region=region)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("seed")
    (directory / "seed.toml").write_text(SEED)
    server = Server(directory, options=["--seed", str(directory / "seed.toml")]).start()
    yield server
    server.kill()


def everything(server):
    """All that is described, dates included."""
    cognito = client_of(server)
    pool = {"UserPoolId": POOL_ID}
    clients = cognito.list_user_pool_clients(**pool, MaxResults=60)["UserPoolClients"]
    described = [
        cognito.describe_user_pool(**pool)["UserPool"],
        [cognito.describe_user_pool_client(**pool, ClientId=c["ClientId"])["UserPoolClient"] for c in clients],
        cognito.list_resource_servers(**pool, MaxResults=50)["ResourceServers"],
        cognito.describe_identity_provider(**pool, ProviderName="Google")["IdentityProvider"],
        cognito.list_groups(**pool)["Groups"],
        cognito.describe_user_pool_domain(Domain="seeded")["DomainDescription"],
        cognito.list_users(**pool)["Users"],
    ]
    return json.dumps(described, default=str, sort_keys=True)


def test_what_is_declared_is_there_with_its_fixed_ids(seeded):
    cognito = client_of(seeded)
    pool = cognito.describe_user_pool(UserPoolId=POOL_ID)["UserPool"]
    assert (pool["Name"], pool["UserPoolTags"]) == ("web", {"team": "blue"})
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] == 10
    assert "custom:team" in {attribute["Name"] for attribute in pool["SchemaAttributes"]}
    client = cognito.describe_user_pool_client(UserPoolId=POOL_ID, ClientId=CLIENT_ID)["UserPoolClient"]
    assert (client["ClientName"], client["ClientSecret"]) == ("server", SECRET)
    user = cognito.admin_get_user(UserPoolId=POOL_ID, Username="ada")
    assert as_dict(user["UserAttributes"])["sub"] == SUB
    assert user["UserStatus"] == "CONFIRMED"
    groups = cognito.admin_list_groups_for_user(UserPoolId=POOL_ID, Username="ada")["Groups"]
    assert {group["GroupName"] for group in groups} == {"admins", "readers"}
    assert cognito.admin_get_user(UserPoolId=POOL_ID, Username="new")["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    assert cognito.admin_get_user(UserPoolId=POOL_ID, Username="gone")["Enabled"] is False
    # a developer finds the ids where the server says that it is ready
    for text in (POOL_ID, CLIENT_ID):
        assert text in seeded.log()
    for secret in (SECRET, PASSWORD, "tenant-secret"):
        assert secret not in seeded.log()


def test_users_of_a_seed_sign_in(seeded):
    cognito = client_of(seeded)
    browser = next(
        client["ClientId"]
        for client in cognito.list_user_pool_clients(UserPoolId=POOL_ID, MaxResults=60)["UserPoolClients"]
        if client["ClientName"] == "browser"
    )
    answer = cognito.initiate_auth(
        ClientId=browser,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ada", "PASSWORD": PASSWORD},
    )
    token = answer["AuthenticationResult"]["AccessToken"]
    assert cognito.get_user(AccessToken=token)["Username"] == "ada"
    exchange = srp.Exchange(POOL_ID, PASSWORD)
    started = cognito.initiate_auth(
        ClientId=browser, AuthFlow="USER_SRP_AUTH", AuthParameters={"USERNAME": "ada", "SRP_A": exchange.srp_a}
    )
    answer = cognito.respond_to_auth_challenge(
        ClientId=browser,
        ChallengeName="PASSWORD_VERIFIER",
        ChallengeResponses=exchange.responses(started["ChallengeParameters"]),
    )
    assert "AuthenticationResult" in answer
    keys = requests.get(f"{seeded.endpoint}/{POOL_ID}/.well-known/jwks.json", timeout=10)
    assert len(keys.json()["keys"]) == 2


def test_an_account_of_a_seed_signs_and_sees_its_own(seeded):
    tenant = boto_client(seeded, key="tenant", secret="tenant-secret")
    (pool,) = tenant.list_user_pools(MaxResults=10)["UserPools"]
    assert pool["Name"] == "tenants"
    assert len(tenant.list_users(UserPoolId=pool["Id"])["Users"]) == 1
    with refused("ResourceNotFoundException"):
        boto_client(seeded, key="tenant", secret="tenant-secret", region="eu-west-1").describe_user_pool(
            UserPoolId=POOL_ID
        )


def test_a_second_time_changes_nothing(seeded):
    before = everything(seeded)
    report = applied(seeded, SEED)
    assert (report["created"], report["updated"], report["unchanged"]) == (0, 0, THINGS), report["changes"]
    assert everything(seeded) == before


def test_what_is_declared_otherwise_is_changed_and_nothing_else(start_server, tmp_path):
    server = start_server()
    assert applied(server, SEED)["created"] == THINGS
    cognito = client_of(server)
    # somebody else's change, which the file says nothing of
    cognito.create_group(UserPoolId=POOL_ID, GroupName="others")
    cognito.admin_add_user_to_group(UserPoolId=POOL_ID, Username="ada", GroupName="others")
    for old, new in [
        ("MinimumLength = 10", "MinimumLength = 12"),
        ('Name = "team", Attr', 'Name = "role", AttributeDataType = "String" }, { Name = "team", Attr'),
        ('ScopeDescription = "Read"', 'ScopeDescription = "Read it"'),
        ("Precedence = 1", "Precedence = 7"),
        ('client_secret = "secret"', 'client_secret = "changed"'),
        ("https://app.example.com/callback", "https://app.example.com/other"),
        ('Value = "ada@example.com"', 'Value = "lovelace@example.com"'),
        (f'Password = "{PASSWORD}"\nGroups', 'Password = "Another-horse-9"\nGroups'),
        ("Enabled = false", "Enabled = true"),
        ('SecretAccessKey = "tenant-secret"', 'SecretAccessKey = "other-secret"'),
    ]:
        changed = SEED.replace(old, new, 1)
        assert changed != SEED
        report = applied(server, changed)
        assert (report["created"], report["updated"]) == (0, 1), (new, report)
        assert applied(server, changed)["updated"] == 0, new
        assert applied(server, SEED)["updated"] == (0 if "role" in new else 1), new
    pool = cognito.describe_user_pool(UserPoolId=POOL_ID)["UserPool"]
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] == 10
    assert pool["VerificationMessageTemplate"]["EmailMessage"] == "Your code is {####}"
    assert pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"] is True
    assert {"custom:role", "custom:team"} <= {attribute["Name"] for attribute in pool["SchemaAttributes"]}
    groups = cognito.admin_list_groups_for_user(UserPoolId=POOL_ID, Username="ada")["Groups"]
    assert {group["GroupName"] for group in groups} == {"admins", "readers", "others"}
    user = as_dict(cognito.admin_get_user(UserPoolId=POOL_ID, Username="ada")["UserAttributes"])
    assert (user["email"], user["email_verified"]) == ("ada@example.com", "true")


def test_what_is_for_good_is_refused_with_its_line(start_server):
    server = start_server()
    pool = '[[UserPools]]\nId = "eu-west-1_one"\nPoolName = "one"\n{}\n'
    client = '[[UserPools.Clients]]\nClientId = "one"\nClientName = "one"\n{}\n'
    user = '[[UserPools.Users]]\nUsername = "ada"\n{}\n'
    applied(server, pool.format('AliasAttributes = ["email"]') + client.format("") + user.format(""))
    for text, line, member in [
        (pool.format('AliasAttributes = ["phone_number"]'), 4, "AliasAttributes"),
        (pool.format("UsernameConfiguration = { CaseSensitive = false }"), 4, "UsernameConfiguration"),
        (
            pool.format('Schema = [\n{ Name = "email", AttributeDataType = "String", Required = true }\n]'),
            5,
            "Required",
        ),
        (pool.format("") + client.format("GenerateSecret = true"), 8, "GenerateSecret"),
        (pool.format("") + user.format(f'Sub = "{SUB}"'), 7, "Sub"),
    ]:
        ((found, message),) = errors(server, text)
        assert message == f"{member} cannot be changed any more: it is there with another value"
        assert found == line, text


def test_nobody_gets_what_another_has(seeded):
    account = f'AccountId = "{OTHER_ACCOUNT}"\n'
    ((line, message),) = errors(seeded, f'[[UserPools]]\nId = "{POOL_ID}"\nPoolName = "mine"\n{account}')
    assert (line, message) == (1, f"InvalidParameterException: The pool ID {POOL_ID} is in use.")
    pool = '[[UserPools]]\nId = "eu-west-1_mine"\nPoolName = "mine"\n'
    ((line, message),) = errors(seeded, f'{pool}[[UserPools.Clients]]\nClientName = "x"\nClientId = "{CLIENT_ID}"\n')
    assert (line, message) == (4, f"InvalidParameterException: The client ID {CLIENT_ID} is in use.")
    ((line, message),) = errors(seeded, f'{pool}[[UserPools.Domains]]\nDomain = "seeded"\n')
    assert (line, message) == (
        4,
        "InvalidParameterException: Domain already associated with another user pool.",
    )
    key = f'[[Accounts]]\nAccountId = "{OTHER_ACCOUNT}"\n[[Accounts.AccessKeys]]\nAccessKeyId = "test"\n'
    ((line, message),) = errors(seeded, key + 'SecretAccessKey = "x"\n')
    assert (line, message) == (3, "InvalidParameterException: there is an access key with this id")


def test_a_made_up_id_is_nothing(seeded):
    cognito = client_of(seeded)
    with refused("ResourceNotFoundException", "User pool eu-west-1_Abc123XYA does not exist."):
        cognito.describe_user_pool(UserPoolId="eu-west-1_Abc123XYA")
    with refused("ResourceNotFoundException"):
        cognito.initiate_auth(
            ClientId="made_up", AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": "a", "PASSWORD": "b"}
        )


def test_a_pool_under_an_id_that_was_used_before_is_another(start_server):
    server = start_server()
    cognito = client_of(server)
    seed = (
        '[[UserPools]]\nId = "eu-west-1_again"\nPoolName = "again"\n'
        '[[UserPools.Clients]]\nClientId = "again"\nClientName = "a"\n'
        'ExplicitAuthFlows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]\n'
        f'[[UserPools.Users]]\nUsername = "ada"\nSub = "{SUB}"\nPassword = "{PASSWORD}"\n'
    )
    applied(server, seed)

    def sign_in():
        parameters = {"USERNAME": "ada", "PASSWORD": PASSWORD}
        answer = cognito.initiate_auth(ClientId="again", AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
        return answer["AuthenticationResult"]

    before = sign_in()
    cognito.delete_user_pool(UserPoolId="eu-west-1_again")
    with refused("ResourceNotFoundException"):
        sign_in()
    applied(server, seed)
    with refused("NotAuthorizedException"):
        cognito.get_user(AccessToken=before["AccessToken"])
    with refused("NotAuthorizedException"):
        cognito.initiate_auth(
            ClientId="again",
            AuthFlow="REFRESH_TOKEN_AUTH",
            AuthParameters={"REFRESH_TOKEN": before["RefreshToken"]},
        )
    assert cognito.get_user(AccessToken=sign_in()["AccessToken"])["Username"] == "ada"


def test_it_survives_a_restart_and_a_repetition(start_server, tmp_path):
    seed = tmp_path / "seed.json"
    pool = {"Id": "us-east-1_json", "PoolName": "json", "Clients": [{"ClientId": "json", "ClientName": "json"}]}
    seed.write_text(json.dumps({"UserPools": [pool]}))
    server = start_server(options=["--seed", str(seed)])
    server.kill()
    server.start()
    assert "0 created, 0 updated, 2 unchanged" in server.log()
    pools = boto_client(server).list_user_pools(MaxResults=10)["UserPools"]
    assert [pool["Id"] for pool in pools] == ["us-east-1_json"]


def test_an_error_names_file_and_line_before_anything_starts(tmp_path):
    seed = tmp_path / "seed.toml"
    seed.write_text('[[UserPools]]\nPoolName = "a"\n\nMfa = "ON"\n')
    done = conclave("dev", "--data-dir", tmp_path / "data", "--seed", seed)
    assert done.returncode != 0
    assert f"{seed}:4: a user pool has no member Mfa" in done.stderr
    assert not (tmp_path / "data").exists()


def test_what_is_refused_by_name_is_refused_in_a_seed(seeded):
    ((line, message),) = errors(
        seeded, '[[UserPools]]\nPoolName = "a"\nIssuerConfiguration = { Type = "UPDATED" }\n'
    )
    assert line == 3
    assert message.startswith("NotImplemented: CreateUserPool.IssuerConfiguration.Type = UPDATED is not supported")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_page_of_another_origin_gets_nothing_in(seeded, content_type):
    """What a browser sends without asking."""
    assert apply(seeded, SEED, content_type).status_code == 415
    asked = requests.options(
        f"{seeded.endpoint}/_conclave/seed",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
        timeout=10,
    )
    assert "access-control-allow-origin" not in asked.headers


def test_the_command_applies_to_a_running_server(seeded, tmp_path):
    seed = tmp_path / "seed.toml"
    seed.write_text('[[UserPools]]\nId = "eu-west-1_command"\nPoolName = "command"\n')
    arguments = ["seed", "apply", seed, "--endpoint", seeded.endpoint]
    assert must(conclave(*arguments)) == (
        "created user pool eu-west-1_command (command)\n1 created, 0 updated, 0 unchanged"
    )
    assert must(conclave(*arguments)) == "0 created, 0 updated, 1 unchanged"
    seed.write_text('[[UserPools]]\nPoolName = "x"\nRegion = "eu-west-1"\nAccountId = "999999999999"\n')
    done = conclave(*arguments)
    assert done.returncode == 1
    assert f"{seed}:4: there is no account 999999999999: declare it under Accounts" in done.stderr
    done = conclave("seed", "apply", seed)
    assert done.returncode == 2
    assert "where is the server?" in done.stderr


def test_the_schema_is_the_one_in_the_documentation():
    kept = (ROOT / "docs" / "seed.schema.json").read_text()
    assert json.loads(must(conclave("seed", "schema"))) == json.loads(kept)


def test_the_example_is_good(start_server):
    server = start_server()
    example = (ROOT / "deploy" / "seed.toml").read_text()
    assert applied(server, example)["created"] > 5
    assert applied(server, example)["updated"] == 0


def test_a_cluster_is_seeded_with_the_operators_configuration(tmp_path):
    with Cluster(tmp_path / "cluster") as cluster:
        seed = tmp_path / "seed.toml"
        seed.write_text(
            f'[[Accounts]]\nAccountId = "{OTHER_ACCOUNT}"\nName = "tenant"\n'
            '[[Accounts.AccessKeys]]\nAccessKeyId = "tenant"\nSecretAccessKey = "tenant-secret"\n'
            f'[[UserPools]]\nAccountId = "{OTHER_ACCOUNT}"\nId = "{POOL_ID}"\nPoolName = "web"\n'
            '[[UserPools.Clients]]\nClientId = "web"\nClientName = "web"\n'
            'ExplicitAuthFlows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]\n'
            f'[[UserPools.Users]]\nUsername = "ada"\nSub = "{SUB}"\nPassword = "{PASSWORD}"\n'
        )
        assert "5 created" in must(cluster.command("seed", "apply", seed))
        assert must(cluster.command("seed", "apply", seed, via=2)) == "0 created, 0 updated, 5 unchanged"
        # the id leads every gateway to the pool
        for number in (1, 2, 3):
            cognito = boto3.client(
                "cognito-idp",
                endpoint_url=cluster.node(number).endpoint,
                region_name="eu-west-1",
                aws_access_key_id="tenant",
                aws_secret_access_key="tenant-secret",
            )
            assert cognito.describe_user_pool(UserPoolId=POOL_ID)["UserPool"]["Name"] == "web"
            answer = cognito.initiate_auth(
                ClientId="web",
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": "ada", "PASSWORD": PASSWORD},
            )
            assert "AuthenticationResult" in answer
        # a cluster has no such door
        assert apply(cluster.node(1), SEED).status_code == 404
