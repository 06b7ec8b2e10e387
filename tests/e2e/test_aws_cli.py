"""The AWS CLI as it comes, with nothing but the endpoint changed."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from harness.cognito import NEW_PASSWORD, PASSWORD, newest_code, unique
from harness.server import ROOT

CLI = pathlib.Path(sys.executable).with_name("aws")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The environment of somebody who has never configured the CLI."""
    return {
        "PATH": f"{CLI.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }


@pytest.fixture(scope="module")
def aws(server, bare):
    """Runs `aws cognito-idp ...` and returns the answer, or the text of the error."""
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**bare, **credentials}

    def run(*arguments, through="option"):
        command = [sys.executable, str(CLI), "cognito-idp", *arguments]
        if through == "option":
            command += ["--endpoint-url", server.endpoint]
            variables = environment
        else:
            variables = {**environment, "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": server.endpoint}
        done = subprocess.run(
            command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def test_the_endpoint_may_come_from_the_environment(aws):
    assert "UserPools" in aws("list-user-pools", "--max-results", "10", through="environment")


def test_all_operations(aws, server):
    """One user's life, through each of the twenty operations but the SRP flow, which the CLI cannot compute."""
    name = unique("cli")
    pool_id = aws("create-user-pool", "--pool-name", name, "--auto-verified-attributes", "email")["UserPool"]["Id"]
    assert aws("describe-user-pool", "--user-pool-id", pool_id)["UserPool"]["Name"] == name
    listed = aws("list-user-pools", "--max-results", "60")["UserPools"]
    assert pool_id in {p["Id"] for p in listed}

    app = aws(
        "create-user-pool-client", "--user-pool-id", pool_id, "--client-name", "web",
        "--explicit-auth-flows", "ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH",
    )["UserPoolClient"]  # fmt: skip
    client_id = app["ClientId"]
    client = ["--user-pool-id", pool_id, "--client-id", client_id]
    assert aws("describe-user-pool-client", *client)["UserPoolClient"] == app
    listed = aws("list-user-pool-clients", "--user-pool-id", pool_id)["UserPoolClients"]
    assert [c["ClientId"] for c in listed] == [client_id]

    me, to = ["--client-id", client_id, "--username", "ada"], unique("ada") + "@example.com"
    aws("sign-up", *me, "--password", PASSWORD, "--user-attributes", f"Name=email,Value={to}")
    details = aws("resend-confirmation-code", *me)["CodeDeliveryDetails"]
    assert details["AttributeName"] == "email"
    aws("confirm-sign-up", *me, "--confirmation-code", newest_code(server, to))

    tokens = aws(
        "initiate-auth", "--client-id", client_id, "--auth-flow", "USER_PASSWORD_AUTH",
        "--auth-parameters", f"USERNAME=ada,PASSWORD={PASSWORD}",
    )["AuthenticationResult"]  # fmt: skip
    assert aws("get-user", "--access-token", tokens["AccessToken"])["Username"] == "ada"
    refreshed = aws(
        "initiate-auth", "--client-id", client_id, "--auth-flow", "REFRESH_TOKEN_AUTH",
        "--auth-parameters", f"REFRESH_TOKEN={tokens['RefreshToken']}",
    )  # fmt: skip
    assert refreshed["AuthenticationResult"]["AccessToken"]

    aws("sign-up", "--client-id", client_id, "--username", "alan", "--password", PASSWORD)
    alan = ["--user-pool-id", pool_id, "--username", "alan"]
    aws("admin-confirm-sign-up", *alan)
    assert aws("admin-get-user", *alan)["UserStatus"] == "CONFIRMED"
    aws("admin-set-user-password", *alan, "--password", NEW_PASSWORD, "--permanent")

    grace = ["--user-pool-id", pool_id, "--username", "grace"]
    created = aws("admin-create-user", *grace, "--temporary-password", PASSWORD, "--message-action", "SUPPRESS")
    assert created["User"]["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    challenge = aws(
        "initiate-auth", "--client-id", client_id, "--auth-flow", "USER_PASSWORD_AUTH",
        "--auth-parameters", f"USERNAME=grace,PASSWORD={PASSWORD}",
    )  # fmt: skip
    answered = aws(
        "respond-to-auth-challenge", "--client-id", client_id, "--challenge-name", challenge["ChallengeName"],
        "--session", challenge["Session"],
        "--challenge-responses", f"USERNAME=grace,NEW_PASSWORD={NEW_PASSWORD}",
    )  # fmt: skip
    assert answered["AuthenticationResult"]["IdToken"]

    found = aws("list-users", "--user-pool-id", pool_id, "--filter", 'username ^= "a"')["Users"]
    assert {u["Username"] for u in found} == {"ada", "alan"}
    aws("admin-delete-user", *alan)
    assert "UserNotFoundException" in aws("admin-get-user", *alan)
    aws("delete-user-pool-client", *client)
    aws("delete-user-pool", "--user-pool-id", pool_id)
    assert "ResourceNotFoundException" in aws("describe-user-pool", "--user-pool-id", pool_id)


def test_an_error_reads_as_from_cognito(aws):
    error = aws("admin-get-user", "--user-pool-id", "us-east-1_0000Gone0", "--username", "ada")
    assert (
        "An error occurred (ResourceNotFoundException) when calling the AdminGetUser operation: "
        "User pool us-east-1_0000Gone0 does not exist." in error
    )


def shell(script, environment):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_line_that_is_printed_at_the_start_can_be_pasted(server, bare):
    lines = [line.strip() for line in server.log().splitlines() if " aws cognito-idp " in line]
    assert len(lines) == 1
    assert json.loads(shell(lines[0], bare))["UserPool"]["Id"]


def test_the_first_ten_minutes_of_the_readme(server, bare):
    """The commands as they stand in the README, with this server's address and the code that was mailed."""
    section = (ROOT / "README.md").read_text().split("## The first ten minutes")[1].split("\n## ")[0]
    commands = "\n".join(re.findall(r"^    (.*)$", section, re.MULTILINE))
    assert "initiate-auth" in commands
    to = unique("ada") + "@example.com"
    commands = commands.replace("http://127.0.0.1:9229", server.endpoint).replace("ada@example.com", to)
    before, after = commands.split("aws cognito-idp confirm-sign-up")
    state = re.search(r"state (\S+) (\S+)$", shell(f"{before}\necho state $POOL $CLIENT", bare).strip())
    variables = {"POOL": state[1], "CLIENT": state[2], **dict(re.findall(r"(AWS_\w+)=(\S+)", before))}
    after = ("aws cognito-idp confirm-sign-up" + after).replace(" CODE", f" {newest_code(server, to)}")
    assert '"AccessToken"' in shell(after, {**bare, **variables})
