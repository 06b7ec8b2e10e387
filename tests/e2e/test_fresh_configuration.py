"""No gateway acts on a configuration that has been changed: what one acknowledges, every other obeys at once.

Three nodes, and each change is made through another gateway than the one that is asked afterwards. Nothing waits in between.
Also here, because it needs two accounts: nothing of one is seen by the other.
"""

import itertools
import os
import time

import botocore.exceptions
import pytest
from cluster import Cluster, ClusterPool, error_name

from harness.cognito import ALL_FLOWS, PASSWORD, unique

CHANGES = int(os.environ.get("CONCLAVE_FRESH_CHANGES", "1000"))
OTHER_CHANGES = 60
# The gateways in an order in which each is changed through and asked after each other one.
PAIRS = list(itertools.permutations((1, 2, 3), 2))

pytestmark = pytest.mark.timeout(120 + CHANGES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("fresh")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def pool(cluster):
    return ClusterPool(cluster)


@pytest.fixture(autouse=True)
def logs(cluster):
    sizes = cluster.log_sizes()
    yield
    # pytest shows this when the test has failed
    print(cluster.logs(sizes))


def pairs(count):
    """Which gateway is changed through and which is asked, `count` times."""
    return enumerate(itertools.islice(itertools.cycle(PAIRS), count))


def outcome(operation, **values):
    """The answer, or the name of the exception."""
    try:
        return operation(**values)
    except botocore.exceptions.ClientError as error:
        return error_name(error)


def test_a_sign_in_obeys_the_change_before_it(cluster, pool, capsys):
    """A thousand changes of a client on one gateway, each followed by a sign-in through another: the life of the tokens is
    what was just set, and every tenth time the flow has just been switched off."""
    username = pool.make_user()
    app_id = pool.make_app()
    stale = []
    begin = time.monotonic()
    for number, (changed, asked) in pairs(CHANGES):
        is_off = number % 10 == 9
        minutes = 5 + number % 1_000
        flows = [flow for flow in ALL_FLOWS if flow != "ALLOW_USER_PASSWORD_AUTH"] if is_off else ALL_FLOWS
        cluster.client(changed).update_user_pool_client(
            UserPoolId=pool.id,
            ClientId=app_id,
            ExplicitAuthFlows=flows,
            AccessTokenValidity=minutes,
            TokenValidityUnits={"AccessToken": "minutes"},
        )
        got = outcome(
            cluster.client(asked).initiate_auth,
            ClientId=app_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD},
        )
        if not is_off and isinstance(got, dict):
            got = got["AuthenticationResult"]["ExpiresIn"]
        expected = "InvalidParameterException" if is_off else minutes * 60
        if got != expected:
            stale.append((number, changed, asked, expected, got))
    with capsys.disabled():
        print(f"\n  {CHANGES} changes, {len(stale)} stale, {time.monotonic() - begin:.0f} s")
    assert stale == []


def test_a_sign_up_obeys_the_change_of_the_pool_before_it(cluster):
    pool = ClusterPool(cluster)
    for number, (changed, asked) in pairs(OTHER_CHANGES):
        length = 8 + number % 20
        policy = {"MinimumLength": length, "RequireLowercase": True, "TemporaryPasswordValidityDays": 7}
        cluster.client(changed).update_user_pool(UserPoolId=pool.id, Policies={"PasswordPolicy": policy})
        sign_up = {"ClientId": pool.app_id, "Username": unique("fresh")}
        short, long = "a" * (length - 1), "a" * length
        asked = cluster.client(asked)
        assert outcome(asked.sign_up, **sign_up, Password=short) == "InvalidPasswordException"
        assert "UserSub" in outcome(asked.sign_up, **sign_up, Password=long)


def test_a_deleted_client_is_gone_everywhere(cluster, pool):
    username = pool.make_user()
    sign_in = {"AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": {"USERNAME": username, "PASSWORD": PASSWORD}}
    for _, (changed, asked) in pairs(OTHER_CHANGES // 2):
        app_id = pool.make_app(via=changed)
        assert "AuthenticationResult" in cluster.client(asked).initiate_auth(ClientId=app_id, **sign_in)
        cluster.client(changed).delete_user_pool_client(UserPoolId=pool.id, ClientId=app_id)
        gone = outcome(cluster.client(asked).initiate_auth, ClientId=app_id, **sign_in)
        assert gone == "ResourceNotFoundException"


def test_every_other_configuration_is_seen_at_once(cluster, pool):
    """What later pages and tokens are made from: each is changed through one gateway and described by another."""
    via = cluster.client
    via(1).create_user_pool_domain(UserPoolId=pool.id, Domain=unique("fresh"))
    via(1).create_resource_server(UserPoolId=pool.id, Identifier="api", Name="api")
    details = {"client_id": "id", "client_secret": "secret", "authorize_scopes": "email"}
    via(1).create_identity_provider(
        UserPoolId=pool.id, ProviderName="Google", ProviderType="Google", ProviderDetails=details
    )
    whose = {"UserPoolId": pool.id, "ClientId": pool.app_id}
    style = via(1).create_managed_login_branding(**whose, Settings={})["ManagedLoginBranding"]
    style = {"UserPoolId": pool.id, "ManagedLoginBrandingId": style["ManagedLoginBrandingId"]}
    links = {"cognito:default": "https://example.com"}
    terms = {"TermsName": "terms-of-use", "TermsSource": "LINK", "Enforcement": "NONE", "Links": links}
    terms = via(1).create_terms(**whose, **terms)["Terms"]
    terms = {"UserPoolId": pool.id, "TermsId": terms["TermsId"]}
    for number, (changed, asked) in pairs(OTHER_CHANGES // 2):
        to, ask = via(changed), via(asked)
        to.update_resource_server(UserPoolId=pool.id, Identifier="api", Name=f"api {number}")
        server = ask.describe_resource_server(UserPoolId=pool.id, Identifier="api")["ResourceServer"]
        assert server["Name"] == f"api {number}"
        to.update_identity_provider(UserPoolId=pool.id, ProviderName="Google", IdpIdentifiers=[f"id-{number}"])
        provider = ask.get_identity_provider_by_identifier(UserPoolId=pool.id, IdpIdentifier=f"id-{number}")
        assert provider["IdentityProvider"]["ProviderName"] == "Google"
        image = {"Category": "FORM_LOGO", "ColorMode": "LIGHT", "Extension": "SVG", "Bytes": b"%d" % number}
        to.update_managed_login_branding(**style, Settings={"number": number}, Assets=[image])
        got = ask.describe_managed_login_branding_by_client(**whose)["ManagedLoginBranding"]
        assert (got["Settings"], got["Assets"]) == ({"number": number}, [image])
        to.update_terms(**terms, Links={"cognito:default": f"https://example.com/{number}"})
        assert ask.describe_terms(**terms)["Terms"]["Links"] == {"cognito:default": f"https://example.com/{number}"}
        css = f".label-customizable {{font-weight: {number};}}"
        to.set_ui_customization(**whose, CSS=css)
        assert ask.get_ui_customization(**whose)["UICustomization"]["CSS"] == css


def test_nothing_of_an_account_is_seen_by_another(cluster, pool):
    stranger = cluster.create_credentials(cluster.create_account(unique("other")), "admin")
    via, other = cluster.client(1), cluster.client(2, stranger)
    app_id = pool.make_app()
    whose = {"UserPoolId": pool.id, "ClientId": app_id}
    style = via.create_managed_login_branding(**whose, Settings={})["ManagedLoginBranding"]["ManagedLoginBrandingId"]
    links = {"cognito:default": "https://example.com"}
    new = {"TermsSource": "LINK", "Enforcement": "NONE", "Links": links}
    terms = via.create_terms(**whose, TermsName="terms-of-use", **new)["Terms"]["TermsId"]
    calls = [
        (other.create_managed_login_branding, {**whose, "UseCognitoProvidedValues": True}),
        (other.describe_managed_login_branding, {"ManagedLoginBrandingId": style}),
        (other.describe_managed_login_branding_by_client, whose),
        (other.update_managed_login_branding, {"ManagedLoginBrandingId": style, "UseCognitoProvidedValues": True}),
        (other.delete_managed_login_branding, {"ManagedLoginBrandingId": style}),
        (other.get_ui_customization, whose),
        (other.set_ui_customization, whose),
        (other.create_terms, {**whose, "TermsName": "privacy-policy", **new}),
        (other.describe_terms, {"TermsId": terms}),
        (other.update_terms, {"TermsId": terms}),
        (other.delete_terms, {"TermsId": terms}),
        (other.list_terms, {}),
    ]
    for pool_id in (pool.id, pool.id[:-1] + ("a" if pool.id[-1] != "a" else "b")):
        for operation, values in calls:
            with pytest.raises(other.exceptions.ResourceNotFoundException) as refusal:
                operation(**{**values, "UserPoolId": pool_id})
            # a pool of somebody else's and one that never was are told apart by nothing
            assert refusal.value.response["Error"]["Message"] == f"User pool {pool_id} does not exist."
    assert via.describe_terms(UserPoolId=pool.id, TermsId=terms)["Terms"]["Links"] == links
