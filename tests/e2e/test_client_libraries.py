"""SRP sign-in by libraries that were written for Cognito: pycognito here, the Node ones in node/."""

import os
import pathlib
import shutil
import subprocess
import sys

import pycognito
import pytest

from harness.cognito import NEW_PASSWORD, PASSWORD, refused, unique
from harness.second_factors import asking, user_with_app

NODE = pathlib.Path(__file__).with_name("node")
NODE_MAJOR_MIN = 20


def pycognito_user(pool, app, username):
    """pycognito as it comes, with nothing but the endpoint changed. It verifies the tokens with the published keys."""
    return pycognito.Cognito(
        pool.id,
        app.id,
        client_secret=app.secret,
        username=username,
        access_key="test",
        secret_key="test",
        boto3_client_kwargs={"endpoint_url": pool.server.endpoint},
    )


@pytest.mark.parametrize("secret", [False, True], ids=["public", "with a secret"])
class TestPycognito:
    def test_signs_in_with_srp(self, pool, secret):
        app = pool.app_client(secret=secret)
        user = pycognito_user(pool, app, pool.user())
        user.authenticate(password=PASSWORD)
        assert user.access_token and user.id_token and user.refresh_token
        assert user.get_user().username == user.username

    def test_is_refused_with_a_wrong_password(self, pool, secret):
        user = pycognito_user(pool, pool.app_client(secret=secret), pool.user())
        with refused("NotAuthorizedException", "Incorrect username or password."):
            user.authenticate(password="Wrong-horse-7")

    def test_sets_a_new_password(self, pool, cognito, secret):
        app, username = pool.app_client(secret=secret), unique("user")
        cognito.admin_create_user(
            UserPoolId=pool.id, Username=username, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
        )
        user = pycognito_user(pool, app, username)
        with pytest.raises(pycognito.exceptions.ForceChangePasswordException):
            user.authenticate(password=PASSWORD)
        user.new_password_challenge(PASSWORD, NEW_PASSWORD)
        again = pycognito_user(pool, app, username)
        again.authenticate(password=NEW_PASSWORD)
        assert again.access_token

    def test_signs_in_with_srp_and_an_app(self, server, cognito, secret):
        pool = asking(server, cognito)
        username, totp = user_with_app(pool, pool.app_client())
        user = pycognito_user(pool, pool.app_client(secret=secret), username)
        with pytest.raises(pycognito.exceptions.SoftwareTokenMFAChallengeException):
            user.authenticate(password=PASSWORD)
        user.respond_to_software_token_mfa_challenge(totp.code())
        assert user.access_token and user.get_user().username == username

    def test_refreshes(self, pool, secret):
        app = pool.app_client(secret=secret)
        user = pycognito_user(pool, app, pool.user())
        user.authenticate(password=PASSWORD)
        before = user.access_token
        user.renew_access_token()
        assert user.access_token != before


def node():
    """The path with a Node that is new enough: the system's, or the one of .ci/deps."""
    beside_python = str(pathlib.Path(sys.executable).parent)
    for path in (os.environ["PATH"], beside_python):
        found = shutil.which("node", path=path)
        if found:
            version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
            if int(version.removeprefix("v").split(".")[0]) >= NODE_MAJOR_MIN:
                return found
    pytest.fail(f"no Node {NODE_MAJOR_MIN} or newer: run `make deps`")


@pytest.mark.parametrize("file", sorted(p.name for p in NODE.glob("*.test.mjs")))
def test_node(server, file):
    environment = {**os.environ, "CONCLAVE_ENDPOINT": server.endpoint, "NODE_NO_WARNINGS": "1"}
    done = subprocess.run(
        [node(), "--test", "--test-reporter=spec", file],
        cwd=NODE,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
