"""Signing keys rotate while tokens are issued and checked. K1 to K10 are the rows of the specification; those that need no
cluster are unit tests of `identity`."""

import base64
import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import signal
import threading
import time

import botocore.exceptions
import jwt
import pytest
import requests

from cluster import NO_ANSWER, Cluster, ClusterPool, conclave, issue, must
from harness.cognito import unique
from harness.server import until

ROTATIONS = int(os.environ.get("CONCLAVE_KEY_ROTATIONS", "4"))
TOKENS = int(os.environ.get("CONCLAVE_KEY_TOKENS", "1000"))
SEED = int(os.environ.get("CONCLAVE_SEED", "1"))
PUBLISH_SECONDS = 3
RETIRE_SECONDS = 120
LEASE_SECONDS = 2
TABLES = f"""[signing_keys]
rotate_after_days = 0
publish_seconds = {PUBLISH_SECONDS}
retire_seconds = {RETIRE_SECONDS}
lease_seconds = {LEASE_SECONDS}
check_seconds = 1
"""
POINTS = ["keys.after_pool_before_order"]
UNVERIFIED = "Could not verify signature for Access Token"
pytestmark = pytest.mark.timeout(300)


class Keys(Cluster):
    """A cluster whose keys live fast, with an administrator."""

    def __init__(self, directory, tables=TABLES):
        super().__init__(directory, tables=tables)
        issue(self.pki, 0, "admin", role="admin")

    def keys(self, command, pool_id, *arguments, via=1):
        config = self.node(via).config_path
        return conclave("keys", command, "--config", config, "--pool", pool_id, *arguments, seconds=60)

    def list(self, pool_id, via=1):
        return json.loads(must(self.keys("list", pool_id, "--json", via=via)))

    def of_state(self, pool_id, state, via=1):
        keys = self.list(pool_id, via)["keys"]
        return {key["use"]: key["kid"] for key in keys if key["state"] == state}

    def wait_spare(self, pool_id):
        until(lambda: len(self.of_state(pool_id, "PENDING")) == 2, 60, "both uses have a pending key")
        # and it may sign
        pending = [key for key in self.list(pool_id)["keys"] if key["state"] == "PENDING"]
        due = max(key["created_ms"] for key in pending) + PUBLISH_SECONDS * 1_000
        until(lambda: self.list(pool_id)["now_ms"] >= due, PUBLISH_SECONDS + 5, "the pending keys are published")

    def jwks(self, pool_id, via=1):
        return requests.get(f"{self.node(via).endpoint}/{pool_id}/.well-known/jwks.json", timeout=10)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Keys(tmp_path_factory.mktemp("keys")) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def pool(cluster):
    return ClusterPool(cluster)


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def verify(token, jwks):
    """By a library that knows nothing of us."""
    keys = {key["kid"]: key for key in jwks["keys"]}
    key = jwt.PyJWK(keys[kid(token)])
    return jwt.decode(token, key, ["RS256"], options={"verify_aud": False})


def refusal(call, **request):
    try:
        call(**request)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Message"]
    return "ok"


def test_a_rotation_by_order_changes_what_signs_and_breaks_nothing(cluster, pool):
    user = pool.make_user()
    cluster.wait_spare(pool.id)
    before = pool.sign_in(user)
    pending, active = (cluster.of_state(pool.id, state) for state in ("PENDING", "ACTIVE"))
    assert kid(before["IdToken"]) == active["id"] and kid(before["AccessToken"]) == active["access"]
    first = cluster.jwks(pool.id)
    assert [key["kid"] for key in first.json()["keys"][:2]] == [active["id"], active["access"]]
    assert {key["kid"] for key in first.json()["keys"]} == {*active.values(), *pending.values()}
    assert first.headers["Cache-Control"] == "public, max-age=300"

    told = must(cluster.keys("rotate", pool.id))
    assert "RETIRING" in told and "ACTIVE" in told
    after = pool.sign_in(user, via=2)
    # who has read the JWKS before the rotation knows the new keys
    for token in (before, after):
        for name in ("IdToken", "AccessToken"):
            verify(token[name], first.json())
    assert kid(after["AccessToken"]) == pending["access"] and kid(after["IdToken"]) == pending["id"]
    for via, token in itertools.product((1, 2, 3), (before, after)):
        cluster.client(via).get_user(AccessToken=token["AccessToken"])
    # all gateways answer the same bytes, and say when they have changed
    cluster.wait_spare(pool.id)
    answers = [cluster.jwks(pool.id, via) for via in (1, 2, 3)]
    assert len({(answer.content, answer.headers["ETag"]) for answer in answers}) == 1
    assert answers[0].headers["ETag"] != first.headers["ETag"]
    etag = answers[0].headers["ETag"]
    url = f"{cluster.node(3).endpoint}/{pool.id}/.well-known/jwks.json"
    assert requests.get(url, headers={"If-None-Match": etag}, timeout=10).status_code == 304


def test_k3_of_two_orders_for_one_version_one_wins(cluster, pool):
    cluster.wait_spare(pool.id)
    version = cluster.list(pool.id)["version"]
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        orders = [
            executor.submit(cluster.keys, "rotate", pool.id, "--expect", version, "--no-wait", via=via) for via in (1, 2)
        ]
        done = sorted((order.result() for order in orders), key=lambda done: done.returncode)
    assert [one.returncode for one in done] == [0, 1]
    assert f"the keys have changed meanwhile: they are at version {version + 1}" in done[1].stderr
    until(lambda: len(cluster.of_state(pool.id, "RETIRING")) == 2, 30, "the order is carried out")
    states = collections.Counter(key["state"] for key in cluster.list(pool.id)["keys"])
    assert states["RETIRING"] == states["ACTIVE"] == 2


def test_k4_a_revoked_key_is_refused_by_every_gateway_within_a_second(cluster, pool):
    user = pool.make_user()
    cluster.wait_spare(pool.id)
    tokens = pool.sign_in(user)
    bad = kid(tokens["AccessToken"])
    for via in (1, 2, 3):
        cluster.client(via).get_user(AccessToken=tokens["AccessToken"])
    began = time.monotonic()
    must(cluster.keys("revoke", pool.id, "--kid", bad, "--json", via=2))
    answers = {refusal(cluster.client(via).get_user, AccessToken=tokens["AccessToken"]) for via in (1, 2, 3)}
    took = time.monotonic() - began
    assert answers == {UNVERIFIED}
    assert took < 1 + 2, f"the command and three requests took {took:.2f} s"
    for via in (1, 2, 3):
        assert bad not in {key["kid"] for key in cluster.jwks(pool.id, via).json()["keys"]}
        # there was a spare, so nothing stands still
        renewed = pool.sign_in(user, via=via)
        assert kid(renewed["AccessToken"]) != bad
        cluster.client(via).get_user(AccessToken=renewed["AccessToken"])
    assert cluster.of_state(pool.id, "REVOKED") == {"access": bad}
    cluster.wait_spare(pool.id)


def test_orders_that_cannot_be_carried_out_are_refused_by_name(cluster, pool):
    for command, arguments, text in [
        ("list", [], "there is no pool us-east-1_nothing"),
        ("rotate", ["--expect", 0], "there is no pool us-east-1_nothing"),
        ("revoke", ["--kid", "x"], "there is no pool us-east-1_nothing"),
    ]:
        done = cluster.keys(command, "us-east-1_nothing", *arguments)
        assert done.returncode == 1 and text in done.stderr, done.stderr
    done = cluster.keys("revoke", pool.id, "--kid", "../../etc/passwd")
    assert done.returncode == 1 and "has no signing key ../../etc/passwd" in done.stderr
    done = cluster.keys("list", "directory")
    assert done.returncode == 1 and "there is no pool directory" in done.stderr


def test_k5_a_gateway_that_was_stopped_past_its_lease_signs_with_no_key_that_was_revoked(cluster, pool):
    """Requests are under way at a gateway when it stands still; the keys are revoked meanwhile, through the others."""
    user = pool.make_user()
    cluster.wait_spare(pool.id)
    refresh = pool.sign_in(user, via=3)["RefreshToken"]
    held = cluster.node(3)
    got, stopped = [], threading.Event()

    def work():
        client = cluster.client(3)
        while not stopped.is_set():
            try:
                answer = client.initiate_auth(
                    ClientId=pool.app_id, AuthFlow="REFRESH_TOKEN_AUTH", AuthParameters={"REFRESH_TOKEN": refresh}
                )
            except (botocore.exceptions.ClientError, *NO_ANSWER):
                continue
            got.append((time.monotonic(), answer["AuthenticationResult"]))

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        workers = [executor.submit(work) for _ in range(8)]
        until(lambda: len(got) > 50, 30, "tokens are issued")
        bad = cluster.of_state(pool.id, "ACTIVE")
        held.process.send_signal(signal.SIGSTOP)
        try:
            for one in bad.values():
                done = cluster.keys("revoke", pool.id, "--kid", one)
                assert done.returncode == 0, done.stderr
            revoked = time.monotonic()
            until(lambda: time.monotonic() - revoked > LEASE_SECONDS + 1, 10, "the lease has run out")
            # what was on its way has arrived
            before = len(got)
        finally:
            held.process.send_signal(signal.SIGCONT)
        until(lambda: len(got) > before + 50, 30, "tokens are issued again")
        stopped.set()
        for worker in workers:
            worker.result()
    for when, tokens in got[before:]:
        assert when > revoked
        assert kid(tokens["AccessToken"]) != bad["access"]
        assert kid(tokens["IdToken"]) != bad["id"]


def test_a_worker_that_dies_in_the_middle_leaves_it_to_another(cluster, pool):
    """Every node is killed in turn while a rotation waits to be carried out."""
    cluster.wait_spare(pool.id)
    old = cluster.of_state(pool.id, "ACTIVE")
    must(cluster.keys("rotate", pool.id, "--no-wait"))
    for node in cluster.nodes:
        node.kill()
        node.start()
    until(lambda: set(cluster.of_state(pool.id, "RETIRING").values()) == set(old.values()), 60, "it is carried out")
    cluster.wait_spare(pool.id)


@pytest.mark.skipif(
    "CONCLAVE_FAILPOINTS_BIN" not in os.environ, reason="no fault points: run `make test-failpoints`"
)
def test_an_order_stands_when_the_node_that_took_it_dies_before_it_could_tell(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCLAVE_BIN", os.environ["CONCLAVE_FAILPOINTS_BIN"])
    with Keys(tmp_path) as cluster:
        pool = ClusterPool(cluster)
        cluster.wait_spare(pool.id)
        old = cluster.of_state(pool.id, "ACTIVE")
        taker = cluster.node(1)
        taker.kill()
        taker.environment = {"CONCLAVE_FAILPOINTS": f"{POINTS[0]}=abort"}
        taker.start()
        config = f"127.0.0.1:{taker.internal[1]}"
        tls = ["--ca", cluster.pki / "ca.pem", "--certificate", cluster.pki / "admin.pem"]
        tls += ["--key", cluster.pki / "admin-key.pem"]
        done = conclave("keys", "rotate", "--address", config, *tls, "--pool", pool.id, "--no-wait")
        assert done.returncode != 0
        until(lambda: not taker.running, 20, "the node has ended at the point")
        taker.kill()
        taker.environment = {}
        taker.start()
        until(lambda: set(cluster.of_state(pool.id, "RETIRING").values()) == set(old.values()), 60, "it is carried out")


def leader_is_killed(cluster, pool, chooser):
    leader = cluster.leader(pool.group)
    leader.kill()
    time.sleep(chooser.uniform(0, 1))
    leader.start()


def leader_stands_still(cluster, pool, chooser):
    leader = cluster.leader(pool.group)
    leader.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(chooser.choice([0.2, 1, 2, 5]))
    finally:
        leader.process.send_signal(signal.SIGCONT)


@pytest.mark.timeout(1_200)
def test_k1_every_token_verifies_everywhere_while_keys_rotate_under_faults(cluster, pool):
    """With a JWKS that is as old as others may keep it, with the present one of every gateway, and at GetUser."""
    chooser = random.Random(SEED)
    user = pool.make_user()
    cluster.wait_spare(pool.id)
    refresh = pool.sign_in(user)["RefreshToken"]
    issued, stopped, lock = [], threading.Event(), threading.Lock()
    stale = {"at": time.monotonic(), "jwks": cluster.jwks(pool.id).json()}

    def work(number):
        random_node = random.Random(number)
        while not stopped.is_set():
            via = random_node.choice((1, 2, 3))
            # read before the request: it is at least as old as the token
            with lock:
                cached = stale["jwks"]
            try:
                answer = cluster.client(via).initiate_auth(
                    ClientId=pool.app_id, AuthFlow="REFRESH_TOKEN_AUTH", AuthParameters={"REFRESH_TOKEN": refresh}
                )["AuthenticationResult"]
            except botocore.exceptions.ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, error
                continue
            except NO_ANSWER:
                continue
            for name in ("IdToken", "AccessToken"):
                verify(answer[name], cached)
            issued.append((time.monotonic(), answer))

    def refetch():
        while not stopped.wait(0.05):
            # as old as the time for which keys are published ahead allows
            if time.monotonic() - stale["at"] < PUBLISH_SECONDS - 0.5:
                continue
            began = time.monotonic()
            try:
                answer = cluster.jwks(pool.id, chooser.choice((1, 2, 3)))
            except requests.RequestException:
                continue
            if answer.ok:
                with lock:
                    stale.update(at=began, jwks=answer.json())

    checked = 0

    def check(tokens):
        nonlocal checked
        every = {via: cluster.jwks(pool.id, via).json() for via in (1, 2, 3)}
        for _, answer in tokens:
            for jwks, name in itertools.product(every.values(), ("IdToken", "AccessToken")):
                verify(answer[name], jwks)
            checked += 2
        for _, answer in chooser.sample(tokens, min(9, len(tokens))):
            for via in (1, 2, 3):
                assert cluster.client(via).get_user(AccessToken=answer["AccessToken"])["Username"] == user

    kids = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(5) as executor:
        workers = [executor.submit(work, number) for number in range(4)]
        workers.append(executor.submit(refetch))
        try:
            seen = 0
            for number in range(ROTATIONS):
                old = cluster.of_state(pool.id, "ACTIVE")
                must(cluster.keys("rotate", pool.id, "--no-wait", via=1 + number % 3))
                (leader_is_killed, leader_stands_still)[number % 2](cluster, pool, chooser)
                cluster.start()
                until(
                    lambda old=old: not set(cluster.of_state(pool.id, "ACTIVE").values()) & set(old.values()),
                    60,
                    f"rotation {number} is carried out",
                )
                cluster.wait_spare(pool.id)
                wanted = (number + 1) * TOKENS // ROTATIONS // 2
                until(lambda wanted=wanted: len(issued) >= wanted, 120, f"{wanted} answers")
                batch, seen = issued[seen:], len(issued)
                check(batch)
                kids.update(kid(answer["AccessToken"]) for _, answer in batch)
        finally:
            stopped.set()
        for worker in workers:
            worker.result()
    check(issued[seen:])
    kids.update(kid(answer["AccessToken"]) for _, answer in issued[seen:])
    print(f"K1: {checked} tokens of {len(kids)} access-token keys verified, {ROTATIONS} rotations")
    assert checked >= TOKENS
    assert len(kids) > ROTATIONS


def test_k10_no_private_key_is_in_the_data_directories(cluster, pool):
    """The public half is stored as text. Its bytes stand only beside a private half, in DER."""
    cluster.wait_spare(pool.id)
    must(cluster.keys("rotate", pool.id))
    moduli = [base64.urlsafe_b64decode(key["n"] + "==") for key in cluster.jwks(pool.id).json()["keys"]]
    assert all(len(modulus) == 256 for modulus in moduli)
    texts = [key["n"].encode() for key in cluster.jwks(pool.id).json()["keys"]]
    # what a private key begins with: PEM, and the algorithm of PKCS#8 followed by an RSAPrivateKey
    marks = [b"PRIVATE KEY-----", bytes.fromhex("300d06092a864886f70d0101010500048204")]
    for node in cluster.nodes:
        node.stop()
    try:
        files = [f for node in cluster.nodes for f in pathlib.Path(node.data).rglob("*") if f.is_file()]
        found = collections.Counter()
        for path in files:
            content = path.read_bytes()
            for modulus in moduli:
                assert modulus not in content, path
            for mark in marks:
                assert mark not in content, (path, mark)
            found["public"] += sum(text in content for text in texts)
        # the files are those that hold the keys
        assert len(files) > 10 and found["public"] > 0
    finally:
        cluster.start()


def test_a_pool_of_its_own_rotates_by_the_clock(tmp_path):
    """`rotate_after_days` cannot be made short enough here: see the unit tests. Without it nothing rotates by itself."""
    with Keys(tmp_path, TABLES) as cluster:
        pool = ClusterPool(cluster)
        cluster.wait_spare(pool.id)
        before = cluster.list(pool.id)
        until(
            lambda: cluster.list(pool.id)["now_ms"] > before["now_ms"] + (PUBLISH_SECONDS + 3) * 1_000,
            30,
            "a rotation could have taken place",
        )
        assert cluster.list(pool.id)["keys"] == before["keys"]
        name = unique("user")
        assert pool.make_user(name) == name
