"""Canaries: secrets that pass through every flow are found neither in the log, nor in the metrics, nor on the disk."""

import pathlib

import pytest

from harness import srp
from harness.cognito import Pool, attributes, boto_client, newest_code, secret_hash
from harness.server import Server

PASSWORD = "Canary-in-the-mine-1"
SECOND_PASSWORD = "Canary-in-the-mine-2"
TEMPORARY_PASSWORD = "Canary-in-the-mine-3"
WRONG_PASSWORD = "Canary-in-the-mine-4"


@pytest.fixture(scope="module")
def exercised(tmp_path_factory):
    """A server that logs all that is its own, after every flow; and the secrets by name."""
    server = Server(tmp_path_factory.mktemp("canary"), environment={"CONCLAVE_LOG": "debug,conclave=trace"})
    server.start()
    try:
        yield server, exercise(server)
    finally:
        server.kill()


def exercise(server):
    pool = Pool(server, boto_client(server), AutoVerifiedAttributes=["email"])
    app = pool.app_client(secret=True)
    secrets = {
        "password": PASSWORD,
        "second password": SECOND_PASSWORD,
        "temporary password": TEMPORARY_PASSWORD,
        "wrong password": WRONG_PASSWORD,
        "client secret": app.secret,
        "secret hash": secret_hash("reader", app.id, app.secret),
    }
    app.sign_up("reader", PASSWORD, email="reader@example.com")
    secrets["code"] = newest_code(server, "reader@example.com")
    app.confirm("reader", secrets["code"])
    for password in (WRONG_PASSWORD, PASSWORD):
        try:
            tokens = app.tokens("reader", password)
        except pool.cognito.exceptions.NotAuthorizedException:
            assert password == WRONG_PASSWORD
    refreshed = app.refresh(tokens["RefreshToken"], SECRET_HASH=secrets["secret hash"])["AuthenticationResult"]
    pool.cognito.get_user(AccessToken=tokens["AccessToken"])
    secrets |= {kind: tokens[kind] for kind in ("AccessToken", "IdToken", "RefreshToken")}
    secrets["refreshed access token"] = refreshed["AccessToken"]
    exchange = srp.Exchange(pool.id, PASSWORD)
    challenge = app.initiate("USER_SRP_AUTH", **app.parameters("reader", SRP_A=exchange.srp_a))
    responses = exchange.responses(challenge["ChallengeParameters"])
    secrets["srp signature"] = responses["PASSWORD_CLAIM_SIGNATURE"]
    del responses["USERNAME"]
    app.respond("PASSWORD_VERIFIER", **app.parameters("reader", **responses))
    pool.cognito.admin_create_user(
        UserPoolId=pool.id,
        Username="invited",
        TemporaryPassword=TEMPORARY_PASSWORD,
        MessageAction="SUPPRESS",
        UserAttributes=attributes({"email": "invited@example.com"}),
    )
    session = app.password_sign_in("invited", TEMPORARY_PASSWORD)["Session"]
    secrets["session"] = session
    app.respond("NEW_PASSWORD_REQUIRED", session, **app.parameters("invited", NEW_PASSWORD=SECOND_PASSWORD))
    pool.cognito.admin_set_user_password(
        UserPoolId=pool.id, Username="reader", Password=SECOND_PASSWORD, Permanent=True
    )
    return secrets


def test_the_log_holds_no_secret(exercised):
    server, secrets = exercised
    log = server.log()
    assert log, "no log at all"
    assert not [name for name, secret in secrets.items() if name != "code" and secret in log]
    # Six digits come up by chance in times and ids: look for them beside what they belong to.
    assert not [line for line in log.splitlines() if "reader" in line and secrets["code"] in line]


def test_the_metrics_hold_no_secret_and_no_name(exercised):
    server, secrets = exercised
    metrics = server.metrics()
    assert "conclave_api_requests_total" in metrics
    names = {"user": "reader", "address": "reader@example.com", "pool": "us-east-1_"}
    assert not [name for name, text in {**secrets, **names}.items() if name != "code" and text in metrics]


def test_the_disk_holds_no_secret(exercised):
    server, secrets = exercised
    contents = b"".join(p.read_bytes() for p in pathlib.Path(server.data).rglob("*") if p.is_file())
    assert contents, "no data at all"
    assert not [name for name, secret in secrets.items() if name != "code" and secret.encode() in contents]
    assert b"PRIVATE KEY-----" not in contents
