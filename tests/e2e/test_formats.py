"""Data that earlier versions have written are read by this one, with nothing lost. `formats/` keeps a sample of each."""

import base64
import json
import re
import subprocess
import tarfile

import pyotp
import pytest
from harness.cognito import boto_client, secret_hash
from harness.format_sample import KEPT, answers, feature_levels
from harness.server import Server, binary

SAMPLES = sorted(KEPT.glob("*.tar.gz"))


@pytest.fixture(scope="module", params=SAMPLES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def kept(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sample")
    with tarfile.open(request.param) as archive:
        archive.extractall(directory, filter="data")
    server = Server(directory).start()
    yield server, json.loads((directory / "sample.json").read_text())
    assert server.stop() == 0


def missing(was, now, where=""):
    """What `was` holds and `now` does not; what has come since does not matter."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [found for key in was for found in missing(was[key], now.get(key), f"{where}.{key}")]
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        return [found for i, one in enumerate(was) for found in missing(one, now[i], f"{where}[{i}]")]
    return [] if was == now else [f"{where}: {was!r} has become {now!r}"]


def test_no_group_has_a_lower_feature_level_than_it_had(kept):
    server, sample = kept
    now = feature_levels(server)
    assert now
    # samples of before levels have the first one
    was = sample.get("feature_levels", dict.fromkeys(now, 1))
    assert {group: level for group, level in was.items() if now.get(group, 0) < level} == {}


def sign_in(server, sample, flow, username, **parameters):
    proof = secret_hash(username, sample["client"], sample["client_secret"])
    return boto_client(server).initiate_auth(
        ClientId=sample["client"], AuthFlow=flow, AuthParameters={"SECRET_HASH": proof, **parameters}
    )


def test_a_sample_of_this_version_is_kept():
    text = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d+\.\d+\.\d+", text)[0]
    assert KEPT / f"{version}.tar.gz" in SAMPLES, "keep one: make format-sample"


def test_everything_is_described_as_it_was(kept):
    server, sample = kept
    assert missing(sample["answers"], answers(server, sample)) == []


def test_users_sign_in_with_the_passwords_that_they_had(kept):
    server, sample = kept
    result = sign_in(server, sample, "USER_PASSWORD_AUTH", "grace", USERNAME="grace", PASSWORD=sample["password"])
    claims = result["AuthenticationResult"]["IdToken"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (claims["email"], claims["custom:plan"]) == ("grace@example.com", "gold")


def test_codes_of_an_authenticator_are_still_asked_for_and_right(kept):
    server, sample = kept
    begun = sign_in(server, sample, "USER_PASSWORD_AUTH", "ada", USERNAME="ada", PASSWORD=sample["password"])
    assert begun["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    name = begun["ChallengeParameters"]["USER_ID_FOR_SRP"]
    ended = boto_client(server).respond_to_auth_challenge(
        ClientId=sample["client"],
        ChallengeName="SOFTWARE_TOKEN_MFA",
        Session=begun["Session"],
        ChallengeResponses={
            "USERNAME": name,
            "SOFTWARE_TOKEN_MFA_CODE": pyotp.TOTP(sample["totp_seed"]).now(),
            "SECRET_HASH": secret_hash(name, sample["client"], sample["client_secret"]),
        },
    )
    assert ended["AuthenticationResult"]["AccessToken"]


def test_sessions_go_on(kept):
    server, sample = kept
    answer = sign_in(server, sample, "REFRESH_TOKEN_AUTH", "ada", REFRESH_TOKEN=sample["refresh_token"])
    assert answer["AuthenticationResult"]["AccessToken"]
