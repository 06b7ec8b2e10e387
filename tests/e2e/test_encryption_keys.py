"""The keys that everything is sealed with are exchanged while the cluster works. K6 and K7 are rows of the specification."""

import json
import re
import secrets
import time

import pytest

from cluster import ALL_FLOWS, PASSWORD, Cluster, ClusterPool, Load, conclave, issue, must
from harness.second_factors import set_up_app, switch_on_app
from harness.server import until

SETTLE_SECONDS = 3
KEEP_SECONDS = 3
pytestmark = pytest.mark.timeout(300)


class Wrapped(Cluster):
    """A cluster whose key-encryption key is a directory with versions, as a mounted secret is one."""

    def __init__(self, directory):
        super().__init__(directory)
        issue(self.pki, 0, "admin", role="admin")
        self.resealed = 0
        self.keks = self.directory / "keks"
        self.keks.mkdir()
        self.add_kek(1)
        for node in self.nodes:
            text = node.config_path.read_text()
            kek = f'[kek]\ndirectory = "{self.keks}"\ncheck_seconds = 1\nfor_tests = true\nsettle_seconds = {SETTLE_SECONDS}\n'
            kek += f"keep_seconds = {KEEP_SECONDS}\n"
            text, found = re.subn(r'\[kek\]\nfile = "[^"]*"\n', kek, text)
            assert found == 1
            node.config_path.write_text(text)

    def add_kek(self, version):
        draft = self.directory / "draft"
        draft.write_text(secrets.token_hex(32) + "\n")
        draft.rename(self.keks / f"kek-{version}")

    def keys(self, *arguments, via=1):
        return conclave("keys", *arguments, "--config", self.node(via).config_path, seconds=120)

    def status(self):
        return json.loads(must(self.keys("status", "--json")))

    def reseal(self):
        """How far the exchange of the keys of pools is."""
        status = self.status()
        now = status["reseal"] or {}
        finished = not status["reseal_asked"] and not now and status["last_resealed_ms"] is not None
        self.resealed = max(self.resealed, now.get("resealed", 0))
        return {"finished": finished, "looked_at": finished or now.get("looked_at", 0), "resealed": self.resealed}

    def restart(self):
        for node in self.nodes:
            node.kill()
            node.start()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Wrapped(tmp_path_factory.mktemp("wrapped")) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture(scope="module")
def pool(cluster):
    return ClusterPool(cluster)


def test_k6_another_key_encryption_key_wraps_without_a_restart_and_the_old_one_is_deleted(cluster, pool):
    user = pool.make_user()
    (before,) = cluster.status()["keys"]
    with Load(pool, threads=3) as load:
        cluster.add_kek(2)
        # by itself, at the next look
        until(lambda: cluster.status()["keys"][0]["wrapped_by"] != before["wrapped_by"], 30, "it is wrapped again")
        told = must(cluster.keys("rotate-kek"))
        assert cluster.status()["keys"][0]["wrapped_by"] in told
    assert not load.failures and not load.wrong
    load.check()
    (cluster.keks / "kek-1").unlink()
    cluster.restart()
    assert pool.sign_in(user)["AccessToken"]


def test_k6_the_key_of_the_cluster_is_rotated_under_load_and_the_old_version_is_deleted(cluster, pool):
    user = pool.make_user()
    others = [cluster.client(via).create_user_pool(PoolName=f"pool-{via}")["UserPool"]["Id"] for via in (1, 2, 3)]
    credentials = cluster.make_credentials()
    first = [key["version"] for key in cluster.status()["keys"]]
    with Load(pool, threads=3) as load:
        must(cluster.keys("rotate-cluster-key", "--no-wait"))
        done = cluster.keys("rotate-cluster-key")
        # one at a time: either it has begun, or it is one order
        assert done.returncode == 0 or "is being rotated already" in done.stderr, done.stderr
        # pools are made all the while
        while True:
            now = cluster.status()
            if not now["rotation"] and not now["rotation_asked"]:
                break
            others.append(cluster.client(1 + len(others) % 3).create_user_pool(PoolName="more")["UserPool"]["Id"])
            time.sleep(0.2)
    assert not load.failures and not load.wrong
    load.check()
    (key,) = cluster.status()["keys"]
    assert [key["version"]] == [first[0] + 1] and key["seals"]
    cluster.restart()
    assert pool.sign_in(user)["AccessToken"]
    for pool_id in others:
        # opens the pool's keys
        cluster.client(1).create_user_pool_client(UserPoolId=pool_id, ClientName="app", GenerateSecret=True)
    account = cluster.client(2, credentials)
    assert account.list_user_pools(MaxResults=10)["UserPools"] == []


def test_a_rotation_of_the_cluster_s_key_goes_on_after_every_node_was_killed(cluster, pool):
    user = pool.make_user()
    before = cluster.status()["keys"][0]["version"]
    must(cluster.keys("rotate-cluster-key", "--no-wait"))
    for _ in range(2):
        for node in cluster.nodes:
            node.kill()
            node.start()
    until(lambda: [key["version"] for key in cluster.status()["keys"]] == [before + 1], 90, "it is completed")
    assert pool.sign_in(user)["AccessToken"]


def test_the_keys_of_pools_are_exchanged_under_load_while_nodes_are_killed_and_the_older_ones_are_deleted(cluster):
    pool = ClusterPool(cluster)
    users = [pool.make_user() for _ in range(30)]
    client = cluster.client(1)
    app = client.create_user_pool_client(
        UserPoolId=pool.id, ClientName="confidential", GenerateSecret=True, ExplicitAuthFlows=ALL_FLOWS
    )["UserPoolClient"]
    details = {"client_id": "1", "client_secret": "of a provider", "authorize_scopes": "openid"}
    provider = {"UserPoolId": pool.id, "ProviderName": "Google"}
    client.create_identity_provider(**provider, ProviderType="Google", ProviderDetails=details)
    client.set_user_pool_mfa_config(
        UserPoolId=pool.id, MfaConfiguration="OPTIONAL", SoftwareTokenMfaConfiguration={"Enabled": True}
    )
    tokens = pool.sign_in(users[0])
    phone_user = pool.make_user()
    access_token = pool.sign_in(phone_user)["AccessToken"]
    phone = set_up_app(client, access_token)
    switch_on_app(client, access_token)

    # by a gateway that is killed, and the next one, and the one after
    with Load(pool, threads=3) as load:
        must(cluster.keys("reseal", "--no-wait"))
        for node in cluster.nodes:
            until(lambda: cluster.reseal()["looked_at"], 60, "it is under way")
            before = cluster.reseal()
            node.kill()
            node.start()
            if before["finished"]:
                break
        until(lambda: cluster.reseal()["finished"], 120, "it is completed")
    assert not load.wrong
    load.check()
    assert cluster.reseal()["resealed"] >= len(users)

    def check():
        for number, username in enumerate(users):
            assert pool.sign_in(username, via=1 + number % 3)["AccessToken"]
        for via in (1, 2, 3):
            client = cluster.client(via)
            shown = client.describe_user_pool_client(UserPoolId=pool.id, ClientId=app["ClientId"])
            assert shown["UserPoolClient"]["ClientSecret"] == app["ClientSecret"]
            shown = client.describe_identity_provider(**provider)["IdentityProvider"]["ProviderDetails"]
            assert shown["client_secret"] == details["client_secret"]
            refreshed = client.initiate_auth(
                ClientId=pool.app_id,
                AuthFlow="REFRESH_TOKEN_AUTH",
                AuthParameters={"REFRESH_TOKEN": tokens["RefreshToken"]},
            )
            assert client.get_user(AccessToken=refreshed["AuthenticationResult"]["AccessToken"])
        challenge = client.initiate_auth(
            ClientId=pool.app_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": phone_user, "PASSWORD": PASSWORD},
        )
        answer = {"USERNAME": phone_user, "SOFTWARE_TOKEN_MFA_CODE": phone.code()}
        assert client.respond_to_auth_challenge(
            ClientId=pool.app_id,
            ChallengeName=challenge["ChallengeName"],
            Session=challenge["Session"],
            ChallengeResponses=answer,
        )["AuthenticationResult"]

    check()
    cluster.restart()
    check()
    cluster.check_histories()


def test_k7_a_wrong_or_missing_key_encryption_key_ends_the_start_and_harms_nothing(cluster, pool):
    user = pool.make_user()
    (good,) = cluster.keks.glob("kek-*")
    kept = good.read_text()
    node = cluster.node(3)
    for content, said in [
        (secrets.token_hex(32), "wrapped under another key-encryption key"),
        ("not a key", "64 hexadecimal digits"),
        (None, "holds no key"),
    ]:
        node.kill()
        if content is None:
            good.unlink()
        else:
            good.write_text(content)
        before = node.log_path.stat().st_size
        node.spawn()
        assert node.wait_end(60) not in (0, None)
        assert said in node.log_tail(before)
        assert kept.strip() not in node.log_tail(before)
        good.write_text(kept)
    node.start()
    assert pool.sign_in(user, via=3)["AccessToken"]
    cluster.check_histories()
