"""A pool of one cluster, exported and imported into another one that has other keys: `conclave export`, `conclave import`."""

import json
import os
import random
import re
import signal
import subprocess
import time

import botocore.exceptions
import pytest
import requests
from cluster import ClusterPool, conclave, must
from harness import passkeys, s3
from harness.cognito import PASSWORD, AppClient, Pool, refused, unique
from harness.second_factors import FLOWS, set_mfa, user_with_app
from harness.server import binary, until
from harness.srp import Exchange
from test_backup import Backed, Keys, import_users, run

pytestmark = pytest.mark.timeout(300)

DONE, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
REVOKED = "Access Token has been revoked"
SEED = int(os.environ.get("CONCLAVE_SEED", "1"))
# Users of the pool whose figures are taken.
USERS = int(os.environ.get("CONCLAVE_MOVE_USERS", "2000"))
POINTS = ["import.after_directory", "import.rows", "import.before_root", "import.after_root"]
BEFORE_THE_ROOT = POINTS[:3]
# A pool may be made within two seconds, and is a leftover after four; a look every 200 ms.
SHORT = {"CONCLAVE_TIMES": "make.within=2000;reconcile.every=200"}


class Moving(Backed):
    """A cluster that pools come from, and go to."""

    def export(self, pool_id, destination, *more, environment=None, via=1):
        arguments = ["export", pool_id, "--to", destination, "--config", self.node(via).config_path, "--json", *more]
        return run(*arguments, environment=environment)

    def arguments(self, export, keys, *more, account=None):
        account = account or self.account
        more = ["--account", account, "--identity", keys.path, "--config", self.node(1).config_path, *more]
        return ["import", export, *more]

    def bring_unfrozen(self, export, keys, *more, account=None, environment=None):
        """The pool could change after its export."""
        return self.bring(export, keys, "--incomplete", *more, account=account, environment=environment)

    def bring(self, export, keys, *more, account=None, environment=None):
        return run(*self.arguments(export, keys, *more, account=account), environment=environment)

    def has(self, pool_id):
        client = self.client(1)
        try:
            return client.describe_user_pool(UserPoolId=pool_id)["UserPool"]["Id"] == pool_id
        except client.exceptions.ResourceNotFoundException:
            return False


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("offline") / "identity")


@pytest.fixture(scope="module")
def here(tmp_path_factory, keys):
    with Moving(tmp_path_factory.mktemp("here"), keys, cluster_id="here") as cluster:
        until(lambda: cluster.status()["settled"], 60, "the cluster is settled")
        yield cluster


@pytest.fixture(scope="module")
def there(tmp_path_factory, keys):
    with Moving(tmp_path_factory.mktemp("there"), keys, cluster_id="there", numbers=(1,)) as cluster:
        yield cluster


def exported(cluster, pool_id, destination, *more, **options):
    return json.loads(must(cluster.export(pool_id, destination, *more, **options)))


class Elsewhere:
    """A pool of another cluster, as `harness.cognito.Pool` has it."""

    def __init__(self, pool, cluster):
        self.server, self.cognito, self.id = cluster.node(1), cluster.client(1), pool.id

    def app(self, client):
        return AppClient(self, client.description)


def furnished(cluster):
    """A pool with something of every kind."""
    cognito = cluster.client(1)
    pool = Pool(
        cluster.node(1),
        cognito,
        AutoVerifiedAttributes=["email"],
        AliasAttributes=["email"],
        UserPoolTags={"team": "blue"},
        Schema=[{"Name": "shoe", "AttributeDataType": "Number", "Mutable": True}],
        Policies={"SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "WEB_AUTHN"]}},
        LambdaConfig={"PostConfirmation": "arn:aws:lambda:us-east-1:111122223333:function:welcome"},
    )
    set_mfa(pool, "OPTIONAL", email=False)
    cognito.set_user_pool_mfa_config(
        UserPoolId=pool.id,
        WebAuthnConfiguration={"RelyingPartyId": passkeys.RP_ID, "UserVerification": "preferred"},
    )
    ids = {"UserPoolId": pool.id}
    cognito.create_group(**ids, GroupName="staff", Precedence=3, RoleArn="arn:aws:iam::111122223333:role/staff")
    cognito.create_resource_server(
        **ids, Identifier="https://api", Name="api", Scopes=[{"ScopeName": "read", "ScopeDescription": "reads"}]
    )
    cognito.create_identity_provider(
        **ids,
        ProviderName="corp",
        ProviderType="OIDC",
        ProviderDetails={
            "client_id": "c",
            "client_secret": "provider-secret",
            "attributes_request_method": "GET",
            "oidc_issuer": "https://idp.example.com",
            "authorize_scopes": "openid",
            "authorize_url": "https://idp.example.com/a",
            "token_url": "https://idp.example.com/t",
            "attributes_url": "https://idp.example.com/u",
            "jwks_uri": "https://idp.example.com/j",
        },
    )
    return pool


def description(cognito, pool_id, apps):
    """All that is told of a pool, but what names its account."""
    ids = {"UserPoolId": pool_id}
    told = cognito.describe_user_pool(**ids)["UserPool"]
    arn = told.pop("Arn")
    tell = {
        "pool": told,
        "tags": cognito.list_tags_for_resource(ResourceArn=arn)["Tags"],
        "mfa": cognito.get_user_pool_mfa_config(**ids),
        "groups": cognito.list_groups(**ids)["Groups"],
        "servers": cognito.list_resource_servers(**ids, MaxResults=10)["ResourceServers"],
        "provider": cognito.describe_identity_provider(**ids, ProviderName="corp")["IdentityProvider"],
        "clients": [cognito.describe_user_pool_client(**ids, ClientId=app.id)["UserPoolClient"] for app in apps],
        "certificate": cognito.get_signing_certificate(**ids)["Certificate"],
        "users": sorted(cognito.list_users(**ids)["Users"], key=lambda user: user["Username"]),
        "domain": cognito.describe_user_pool_domain(Domain=told["Domain"])["DomainDescription"]["UserPoolId"],
    }
    tell["mfa"].pop("ResponseMetadata")
    return tell


def jwks(cluster, pool):
    return requests.get(f"{cluster.node(1).endpoint}/{pool.id}/.well-known/jwks.json", timeout=5).json()


def test_a_pool_signs_its_users_in_elsewhere_with_all_that_they_have_set_up(here, there, keys, tmp_path):
    pool = furnished(here)
    domain = unique("moving-domain")
    here.client(1).create_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    app = pool.app_client(ExplicitAuthFlows=FLOWS)
    confidential = pool.app_client(secret=True, ExplicitAuthFlows=FLOWS)
    ada = pool.user("ada", email="ada@example.com", email_verified="true", **{"custom:shoe": "38"})
    here.client(1).admin_add_user_to_group(UserPoolId=pool.id, Username=ada, GroupName="staff")
    bob, authenticator_app = user_with_app(pool, app)
    carol, passkey, _ = passkeys.user_with_passkey(pool, app)
    eve = pool.user("eve")
    for _ in range(6):
        with refused("NotAuthorizedException"):
            app.password_sign_in(eve, "Wrong-password-1")
    before = app.tokens(ada)
    told = description(here.client(1), pool.id, [app, confidential])
    keys_before = jwks(here, pool)

    done = exported(here, pool.id, tmp_path / "moves", via=3)
    assert done["pool_id"] == pool.id and done["cluster_id"] == "here" and done["account_id"] == here.account
    assert (done["users"], done["clients"]) == (4, 2)
    files = sorted((tmp_path / "moves" / done["export_id"]).iterdir())
    assert [file.name for file in files] == ["keys.age", "pool.age", "pool.json"]
    # nothing of anybody is to be read without the identity
    for file in files[:2]:
        content = file.read_bytes()
        assert not any(word in content for word in (pool.id.encode(), app.id.encode(), b"ada@example.com")), file
    # and what is made afterwards is not in it
    pool.user("late")

    looked = json.loads(must(there.bring_unfrozen(done["export"], keys, "--dry-run", "--json")))
    assert looked["dry_run"] and looked["users"] == 4 and not there.has(pool.id)
    more = ["--manifest-sha256", done["manifest_sha256"], "--json"]
    brought = json.loads(must(there.bring_unfrozen(done["export"], keys, *more)))
    assert brought["account_before"] == here.account and brought["account_id"] == there.account
    assert (brought["users"], brought["domains"]) == (4, [domain])
    assert sorted(brought["client_ids"]) == sorted([app.id, confidential.id])

    now = Elsewhere(pool, there)
    new_app, new_confidential = now.app(app), now.app(confidential)
    assert description(there.client(1), pool.id, [app, confidential]) == told
    arn = there.client(1).describe_user_pool(UserPoolId=pool.id)["UserPool"]["Arn"]
    assert arn == f"arn:aws:cognito-idp:us-east-1:{there.account}:userpool/{pool.id}"
    assert [p["Id"] for p in there.client(1).list_user_pools(MaxResults=10)["UserPools"]] == [pool.id]
    assert keys_before["keys"][0] in jwks(there, pool)["keys"]
    # the old password, by every flow, by every name
    for name in (ada, "ada@example.com"):
        tokens = new_app.tokens(name)
        assert there.client(1).get_user(AccessToken=tokens["AccessToken"])["Username"] == ada
    exchange = Exchange(pool.id, PASSWORD)
    challenge = new_app.initiate("USER_SRP_AUTH", **new_app.parameters(ada, SRP_A=exchange.srp_a))
    answered = new_app.respond("PASSWORD_VERIFIER", **exchange.responses(challenge["ChallengeParameters"]))
    assert answered["AuthenticationResult"]["AccessToken"]
    assert new_confidential.tokens(ada)
    with refused("NotAuthorizedException"):
        new_app.password_sign_in(ada, "Wrong-password-1")
    # the app, the passkey, the failed attempts
    asked = new_app.password_sign_in(bob)
    assert asked["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    code = new_app.parameters(bob, SOFTWARE_TOKEN_MFA_CODE=authenticator_app.code())
    assert new_app.respond("SOFTWARE_TOKEN_MFA", asked["Session"], **code)["AuthenticationResult"]
    assert passkeys.sign_in(new_app, carol, passkey)["AccessToken"]
    with refused("NotAuthorizedException", re.compile("Password attempts exceeded|Incorrect username or password.")):
        new_app.password_sign_in(eve, "Wrong-password-1")
    with refused("NotAuthorizedException", "Password attempts exceeded"):
        new_app.password_sign_in(eve)
    with refused("UserNotFoundException"):
        new_app.password_sign_in("late")
    # what was issued before is void
    with refused("NotAuthorizedException", REVOKED):
        there.client(1).get_user(AccessToken=before["AccessToken"])
    with refused("NotAuthorizedException"):
        new_app.refresh(before["RefreshToken"])

    # the old pool goes on until it is deleted; its domain has to go first
    assert app.tokens(ada)
    here.client(1).delete_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    here.client(1).delete_user_pool(UserPoolId=pool.id)
    # and the pool can come back, with what has happened to it meanwhile
    there.client(1).admin_set_user_password(UserPoolId=pool.id, Username=ada, Password="Another-1-word", Permanent=True)
    there.client(1).create_user_pool_client(UserPoolId=pool.id, ClientName="made there")
    back = exported(there, pool.id, tmp_path / "moves")
    must(here.bring_unfrozen(back["export"], keys))
    assert app.tokens(ada, "Another-1-word")
    assert len(here.client(3).list_user_pool_clients(UserPoolId=pool.id, MaxResults=10)["UserPoolClients"]) == 3
    here.check_histories()


def test_refresh_tokens_can_be_kept(here, there, keys, tmp_path):
    pool = ClusterPool(here)
    pool.make_user("kept")
    before = pool.sign_in("kept")
    done = exported(here, pool.id, tmp_path)
    must(there.bring_unfrozen(done["export"], keys, "--keep-refresh-tokens"))
    parameters = {"REFRESH_TOKEN": before["RefreshToken"]}
    renewed = there.client(1).initiate_auth(
        ClientId=pool.app_id, AuthFlow="REFRESH_TOKEN_AUTH", AuthParameters=parameters
    )
    token = renewed["AuthenticationResult"]["AccessToken"]
    assert there.client(1).get_user(AccessToken=token)["Username"] == "kept"
    with refused("NotAuthorizedException", REVOKED):
        there.client(1).get_user(AccessToken=before["AccessToken"])


def test_a_frozen_pool_takes_nothing_until_it_is_thawed(here, there, keys, tmp_path):
    pool, other = ClusterPool(here), ClusterPool(here)
    for each in (pool, other):
        each.make_user("ada")
    before = pool.sign_in("ada")
    early = exported(here, pool.id, tmp_path)
    assert early["complete"] is False
    fails(there.bring(early["export"], keys), FAILED, "the export is not complete")
    assert not there.has(pool.id)
    config = ["--config", here.node(2).config_path]
    frozen = json.loads(must(conclave("freeze", pool.id, *config, "--no-wait", "--json")))
    assert frozen["frozen"] and frozen["settled_ms"] == frozen["frozen_ms"] + 125_000
    # on every gateway, at once
    for via in (1, 2, 3):
        client = here.client(via)
        for attempt in (
            lambda via=via: pool.sign_in("ada", via=via),
            lambda via=via: pool.make_user("late", via=via),
            lambda client=client: client.update_user_pool(UserPoolId=pool.id, MfaConfiguration="OFF"),
            lambda client=client: client.create_user_pool_client(UserPoolId=pool.id, ClientName="late"),
        ):
            with pytest.raises(botocore.exceptions.ClientError) as caught:
                attempt()
            answer = caught.value.response
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 503, answer
            assert answer["Error"]["Message"] == "The user pool is being moved, and nothing can be changed in it now."
        assert client.get_user(AccessToken=before["AccessToken"])["Username"] == "ada"
        assert other.sign_in("ada", via=via)
    # it is not two minutes ago
    assert exported(here, pool.id, tmp_path)["complete"] is False
    thawed = json.loads(must(conclave("thaw", pool.id, *config, "--json")))
    assert thawed["frozen"] is False and thawed["frozen_ms"] is None
    assert pool.sign_in("ada", via=3)
    must(conclave("freeze", pool.id, *config, "--no-wait"))
    here.client(1).delete_user_pool(UserPoolId=pool.id)
    fails(conclave("freeze", pool.id, *config), FAILED, f"there is no pool {pool.id}")


def test_a_pool_moves_through_a_bucket(here, there, keys):
    pool = ClusterPool(here)
    pool.make_user("ada")
    with s3.Bucket() as bucket:
        url = f"s3://{s3.BUCKET}/moves"
        done = exported(here, pool.id, url, environment=bucket.environment)
        assert done["export"] == f"{url}/{done['export_id']}"
        must(there.bring_unfrozen(done["export"], keys, environment=bucket.environment))
    pool.cluster = there
    assert pool.sign_in("ada")["AccessToken"]


def fails(done, code, *words):
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    for word in words:
        assert word in text, text


def test_what_cannot_be_moved_is_refused_with_the_reason(here, there, keys, tmp_path):
    pool = ClusterPool(here)
    pool.make_user("ada")
    config = here.node(1).config_path
    fails(here.export("us-east-1_nothing00", tmp_path), FAILED, "there is no pool us-east-1_nothing00")
    fails(run("export", pool.id, "--config", config), USAGE, "--to")
    fails(run("export", pool.id, "--to", tmp_path), USAGE, "--config")
    fails(here.export(pool.id, "ftp://somewhere"), USAGE, "not ftp://")
    # a gateway's certificate may not ask for it
    certificate = ["--certificate", here.pki / "node-1.pem", "--key", here.pki / "node-1-key.pem"]
    fails(here.export(pool.id, tmp_path / "none", *certificate), FAILED, "refused", "role admin")
    assert not (tmp_path / "none").exists()

    done = exported(here, pool.id, tmp_path / "moves")
    export = done["export"]
    other = Keys(tmp_path / "other")
    fails(there.bring_unfrozen(export, other), FAILED, "the export cannot be used")
    fails(there.bring_unfrozen(export, keys, "--manifest-sha256", "00"), FAILED, "SHA-256")
    fails(there.bring_unfrozen(tmp_path / "moves", keys), FAILED, "pool.json")
    fails(there.bring_unfrozen(export, keys, account="000000000000"), FAILED, "there is no account 000000000000")
    fails(there.bring_unfrozen(export, keys, "--keep-tokens", "--keep-refresh-tokens"), USAGE, "cannot be used with")
    # a damaged file is found before the pool is there
    file = tmp_path / "moves" / done["export_id"] / "pool.age"
    whole = file.read_bytes()
    for damaged in (whole[:-20], whole[: len(whole) // 2], whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]):
        file.write_bytes(damaged)
        fails(there.bring_unfrozen(export, keys), FAILED, "pool.age", "Nothing of it is there")
        assert not there.has(pool.id)
    file.write_bytes(whole)
    must(there.bring_unfrozen(export, keys))
    fails(there.bring_unfrozen(export, keys), FAILED, f"there already: pool {pool.id}", "Nothing of it")
    pool.cluster = there
    assert pool.sign_in("ada")


def test_names_that_are_taken_are_named(here, there, keys, tmp_path):
    pool = ClusterPool(here)
    domain = unique("taken-domain")
    here.client(1).create_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    done = exported(here, pool.id, tmp_path)
    other = ClusterPool(there)
    there.client(1).create_user_pool_domain(UserPoolId=other.id, Domain=domain)
    seed = tmp_path / "seed.toml"
    seed.write_text(
        f"""
[[Accounts]]
AccountId = "555566667777"
Name = "seeded"

[[UserPools]]
AccountId = "555566667777"
Id = "us-east-1_Seeded"
PoolName = "seeded"

[[UserPools.Clients]]
ClientId = "{pool.app_id}"
ClientName = "app"
"""
    )
    must(run("seed", "apply", seed, "--config", there.node(1).config_path))
    expected = f"there already: client {pool.app_id}, domain {domain}"
    fails(there.bring_unfrozen(done["export"], keys), FAILED, expected)
    assert not there.has(pool.id)
    assert there.client(1).describe_user_pool_domain(Domain=domain)["DomainDescription"]["UserPoolId"] == other.id


def test_an_import_that_is_killed_leaves_nothing_and_is_begun_again(here, there, keys, tmp_path, capsys):
    pool = ClusterPool(here)
    here.client(1).update_user_pool(UserPoolId=pool.id, AutoVerifiedAttributes=["email"])
    pool.make_user("ada")
    import_users(pool, 1_000)
    done = exported(here, pool.id, tmp_path)
    rng = random.Random(SEED)
    arguments = [str(word) for word in there.arguments(done["export"], keys, "--incomplete")]
    killed, code = 0, None
    pool.cluster = there
    # later each time, until it gets to its end
    for n in range(60):
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen([binary(), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            process.wait(0.01 * 1.15**n * rng.uniform(0.7, 1.3))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        if (code := process.wait()) == DONE or there.has(pool.id):
            break
        assert code == -signal.SIGKILL, (tmp_path / "log").read_text()[-2_000:]
        killed += 1
        with refused("ResourceNotFoundException"):
            pool.sign_in("ada")
    with capsys.disabled():
        print(f"\n  killed {killed} times, and then {code}")
    assert killed > 0
    assert pool.sign_in("ada")["AccessToken"]
    names = pool.names()
    assert len(names) == len(set(names)) == 1_001
    fails(there.bring_unfrozen(done["export"], keys), FAILED, "there already")


@pytest.mark.skipif("CONCLAVE_FAILPOINTS_BIN" not in os.environ, reason="no fault points: run `make test-failpoints`")
@pytest.mark.parametrize("point", POINTS)
def test_an_import_that_ends_at_a_point_leaves_nothing_that_serves(keys, tmp_path, monkeypatch, point):
    monkeypatch.setenv("CONCLAVE_BIN", os.environ["CONCLAVE_FAILPOINTS_BIN"])
    with (
        Moving(tmp_path / "here", keys, cluster_id="here", numbers=(1,)) as here,
        Moving(tmp_path / "there", keys, cluster_id="there", numbers=(1,)) as there,
    ):
        pool = ClusterPool(here)
        pool.make_user("ada")
        done = exported(here, pool.id, tmp_path / "moves")
        for again in (False, True):
            crashed = there.bring_unfrozen(done["export"], keys, environment={"CONCLAVE_FAILPOINTS": f"{point}=abort"})
            assert crashed.returncode == (FAILED if again and point not in BEFORE_THE_ROOT else -signal.SIGABRT)
            assert there.has(pool.id) is (point not in BEFORE_THE_ROOT)
        pool.cluster = there
        if point in BEFORE_THE_ROOT:
            client = there.client(1)
            assert client.list_user_pools(MaxResults=10)["UserPools"] == [] or point == POINTS[2]
            # what has been left goes by itself
            node = there.node(1)
            node.kill()
            node.environment = SHORT
            node.start()
            until(lambda: "cleared away" in node.log_tail(), 60, "the reconciler has cleared it away")
            assert client.list_user_pools(MaxResults=10)["UserPools"] == []
            must(there.bring_unfrozen(done["export"], keys, environment=SHORT))
        assert pool.sign_in("ada")["AccessToken"]
        there.client(1).delete_user_pool(UserPoolId=pool.id)
        assert not there.has(pool.id)


def measured(*arguments):
    """Runs a command. What it printed, its seconds, and the most memory that it had, in MiB."""
    began = time.monotonic()
    process = subprocess.Popen(
        [binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == DONE, printed
    return printed, time.monotonic() - began, usage.ru_maxrss // 1024


@pytest.mark.timeout(1_800)
def test_a_large_pool_moves_with_little_memory(keys, tmp_path, capsys):
    """The figures: CONCLAVE_MOVE_USERS=100000."""
    with (
        Moving(tmp_path / "here", keys, cluster_id="here", numbers=(1,)) as here,
        Moving(tmp_path / "there", keys, cluster_id="there", numbers=(1,)) as there,
    ):
        pool = ClusterPool(here)
        here.client(1).update_user_pool(UserPoolId=pool.id, AutoVerifiedAttributes=["email"])
        pool.make_user("ada")
        import_users(pool, USERS)
        config = here.node(1).config_path
        more = ["--rate", 0, "--json"]
        printed, exporting, memory = measured("export", pool.id, "--to", tmp_path, "--config", config, *more)
        done = json.loads(printed)
        printed, importing, more_memory = measured(*there.arguments(done["export"], keys, "--json", "--incomplete"))
        assert json.loads(printed)["users"] == done["users"] == USERS + 1
        pool.cluster = there
        assert pool.sign_in("ada")["AccessToken"]
        for number in (0, USERS // 2, USERS - 1):
            users = there.client(1).list_users(UserPoolId=pool.id, Filter=f'email = "user{number}@example.com"')
            assert [user["Username"] for user in users["Users"]] == [f"import{number}"]
    with capsys.disabled():
        print(
            f"\n  {USERS} users, {done['rows']} rows, {done['bytes']} bytes: export {exporting:.1f} s in {memory} MiB, "
            f"import {importing:.1f} s in {more_memory} MiB"
        )
    assert max(memory, more_memory) < 256


def test_the_commands_have_help_and_complete():
    for command in ("export", "import", "freeze", "thaw"):
        assert "Exit codes" in must(conclave(command, "--help"))
    script = must(conclave("completions", "bash"))
    assert "--manifest-sha256" in script and "--to" in script
