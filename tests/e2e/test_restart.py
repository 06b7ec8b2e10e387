"""What was acknowledged is there after a crash; what was deleted stays deleted; keys and tokens live on."""

import concurrent.futures
import shutil
import subprocess
import threading

import botocore.exceptions
import jwt
import pytest
import requests

from harness import srp
from harness.cognito import PASSWORD, Pool, as_dict, boto_client, newest_code, refused
from harness.server import until

GONE = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError, botocore.exceptions.ClientError)


def kill_among_sign_ups(server, app, first, after):
    """Signs users up from four threads and kills the server when `after` are acknowledged.

    Returns the names and subs of those.
    """
    acknowledged, enough, lock = {}, threading.Event(), threading.Lock()

    def worker(number):
        for i in range(10_000):
            username = f"user-{first}-{number}-{i}"
            try:
                sub = app.sign_up(username, email=f"{username}@example.com")["UserSub"]
            except GONE:
                return
            with lock:
                acknowledged[username] = sub
                if len(acknowledged) >= after:
                    enough.set()

    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        workers = [executor.submit(worker, n) for n in range(4)]
        try:
            assert enough.wait(timeout=60), f"only {len(acknowledged)} sign-ups in time"
        finally:
            server.kill()
        for w in workers:
            w.result(timeout=60)
    return acknowledged


@pytest.mark.timeout(300)
def test_every_acknowledged_sign_up_survives_a_crash(start_server):
    server = start_server()
    pool = Pool(server, boto_client(server))
    app = pool.app_client()
    acknowledged = {}
    for round_ in range(3):
        acknowledged |= kill_among_sign_ups(server, app, round_, after=15 + 7 * round_)
        server.start()
        for username, sub in acknowledged.items():
            assert as_dict(pool.get(username)["UserAttributes"])["sub"] == sub
    for username in list(acknowledged)[::5]:
        pool.cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username=username)
        assert app.tokens(username)
        exchange = srp.Exchange(pool.id, PASSWORD)
        challenge = app.initiate("USER_SRP_AUTH", USERNAME=username, SRP_A=exchange.srp_a)
        assert app.respond("PASSWORD_VERIFIER", **exchange.responses(challenge["ChallengeParameters"]))
    listed = cognito_names(pool)
    assert acknowledged.keys() <= listed
    assert len(listed) <= len(acknowledged) + 3 * 4, "users whom nobody signed up"


def cognito_names(pool):
    pages = pool.cognito.get_paginator("list_users").paginate(UserPoolId=pool.id)
    return {u["Username"] for page in pages for u in page["Users"]}


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_tokens_keys_codes_and_sessions_live_on(start_server, end):
    server = start_server()
    pool = Pool(server, boto_client(server), AutoVerifiedAttributes=["email"])
    app = pool.app_client(secret=True)
    username = pool.user()
    tokens = app.tokens(username)
    app.sign_up("waiting", email="waiting@example.com")
    code = newest_code(server, "waiting@example.com")
    pool.cognito.admin_create_user(
        UserPoolId=pool.id, Username="invited", TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
    )
    session = app.password_sign_in("invited")["Session"]
    gone = pool.user("gone")
    pool.cognito.admin_delete_user(UserPoolId=pool.id, Username=gone)
    keys_url = f"{server.endpoint}/{pool.id}/.well-known/jwks.json"
    keys = requests.get(keys_url, timeout=10).json()

    code_of_exit = server.stop() if end == "stop" else server.kill()
    assert end == "kill" or code_of_exit == 0
    server.start()

    assert requests.get(keys_url, timeout=10).json() == keys
    assert pool.cognito.get_user(AccessToken=tokens["AccessToken"])["Username"] == username
    refreshed = app.refresh(tokens["RefreshToken"], SECRET_HASH=app.parameters(username)["SECRET_HASH"])
    assert refreshed["AuthenticationResult"]["AccessToken"]
    key = jwt.PyJWKClient(keys_url).get_signing_key_from_jwt(tokens["AccessToken"])
    assert jwt.decode(tokens["AccessToken"], key.key, algorithms=["RS256"])
    app.confirm("waiting", code)
    responses = app.parameters("invited", NEW_PASSWORD="Battery-staple-8")
    assert app.respond("NEW_PASSWORD_REQUIRED", session, **responses)["AuthenticationResult"]
    with refused("UserNotFoundException"):
        pool.get(gone)
    described = pool.cognito.describe_user_pool_client(UserPoolId=pool.id, ClientId=app.id)["UserPoolClient"]
    assert described == app.description


def test_what_is_used_stays_used(start_server):
    """A crash does not give a code or a session a second life."""
    server = start_server()
    pool = Pool(server, boto_client(server), AutoVerifiedAttributes=["email"])
    app = pool.app_client()
    app.sign_up("reader", email="reader@example.com")
    code = newest_code(server, "reader@example.com")
    app.confirm("reader", code)
    exchange = srp.Exchange(pool.id, PASSWORD)
    challenge = app.initiate("USER_SRP_AUTH", USERNAME="reader", SRP_A=exchange.srp_a)
    responses = exchange.responses(challenge["ChallengeParameters"])
    assert app.respond("PASSWORD_VERIFIER", **responses)["AuthenticationResult"]
    server.kill()
    server.start()
    with refused("NotAuthorizedException", "User cannot be confirmed. Current status is CONFIRMED"):
        app.confirm("reader", code)
    with refused("NotAuthorizedException"):
        app.respond("PASSWORD_VERIFIER", **responses)


@pytest.fixture
def strace(tmp_path):
    """The command that traces another and leaves it this process's child; skips where the kernel forbids tracing."""
    assert shutil.which("strace"), "run `make deps`"
    log = tmp_path / "probe.log"
    subprocess.run(["strace", "-D", "-o", log, "true"], stdin=subprocess.DEVNULL, capture_output=True)
    try:
        until(lambda: log.exists() and "exited with 0" in log.read_text(), 5, "strace has traced `true`")
    except TimeoutError:
        pytest.skip("tracing is not permitted here")
    return ["strace", "-D", "-f", "-qq"]


@pytest.mark.timeout(300)
def test_nothing_is_acknowledged_after_a_failed_sync(start_server, strace):
    """From some sync on the disk answers EIO. What was acknowledged is there afterwards; after the error nothing is."""
    inject = "inject=fdatasync,fsync,sync_file_range:error=EIO:when=80+"
    trace = "trace=fdatasync,fsync,sync_file_range"
    server = start_server(wrapper=[*strace, "-o", "strace.log", "-e", trace, "-e", inject])
    pool = Pool(server, boto_client(server))
    made, failures = set(), 0
    for i in range(1000):
        try:
            answer = pool.cognito.create_user_pool_client(UserPoolId=pool.id, ClientName=f"client-{i}")
            assert failures == 0, "acknowledged after a failed sync"
            made.add(answer["UserPoolClient"]["ClientId"])
        except GONE:
            failures += 1
            if failures == 5:
                break
    assert failures == 5, "no sync ever failed"
    assert "EIO" in (server.directory / "strace.log").read_text()
    server.kill()
    server.wrapper = []
    server.start()
    pages = pool.cognito.get_paginator("list_user_pool_clients").paginate(UserPoolId=pool.id)
    there = {c["ClientId"] for page in pages for c in page["UserPoolClients"]}
    assert made <= there
