"""USER_SRP_AUTH and PASSWORD_VERIFIER, with a client of our own that can misbehave.

The libraries that people use are in test_client_libraries.py.
"""

import base64
import datetime
import re

import pytest

from harness import srp
from harness.cognito import NEW_PASSWORD, PASSWORD, refused, unique

INCORRECT = "Incorrect username or password."
CHALLENGE = "PASSWORD_VERIFIER"


def begin(app, username, exchange):
    return app.initiate("USER_SRP_AUTH", **app.parameters(username, SRP_A=exchange.srp_a))


def answer(app, responses):
    return app.respond(CHALLENGE, **responses)


def sign_in(app, username, password=PASSWORD):
    exchange = srp.Exchange(app.pool.id, password)
    challenge = begin(app, username, exchange)
    return answer(app, exchange.responses(challenge["ChallengeParameters"]))


def test_the_challenge_has_cognitos_form(pool, app):
    username = pool.user()
    challenge = begin(app, username, srp.Exchange(pool.id, PASSWORD))
    assert challenge["ChallengeName"] == CHALLENGE
    assert "Session" not in challenge
    parameters = challenge["ChallengeParameters"]
    assert parameters.keys() == {"SALT", "SECRET_BLOCK", "SRP_B", "USERNAME", "USER_ID_FOR_SRP"}
    assert parameters["USERNAME"] == parameters["USER_ID_FOR_SRP"] == username
    assert re.fullmatch(r"[0-9a-f]{1,32}", parameters["SALT"])
    assert re.fullmatch(r"[0-9a-f]{700,768}", parameters["SRP_B"])
    assert base64.b64decode(parameters["SECRET_BLOCK"], validate=True)


def test_the_right_password_signs_in(pool, app, cognito):
    username = pool.user()
    got = sign_in(app, username)
    assert got["ChallengeParameters"] == {}
    assert got["AuthenticationResult"].keys() == {"AccessToken", "ExpiresIn", "IdToken", "RefreshToken", "TokenType"}
    assert cognito.get_user(AccessToken=got["AuthenticationResult"]["AccessToken"])["Username"] == username


def test_many_salts_and_keys_work(pool, app):
    """Numbers with leading zero bytes and set top bits come up in about one of a hundred sign-ins."""
    for _ in range(12):
        assert sign_in(app, pool.user())["AuthenticationResult"]


def test_a_wrong_password_is_refused(pool, app):
    with refused("NotAuthorizedException", INCORRECT):
        sign_in(app, pool.user(), "Wrong-horse-7")


def test_the_salt_stays_until_the_password_changes(pool, app, cognito):
    username = pool.user()
    exchange = srp.Exchange(pool.id, PASSWORD)

    def salt():
        return begin(app, username, exchange)["ChallengeParameters"]["SALT"]

    first = salt()
    assert salt() == first
    cognito.admin_set_user_password(UserPoolId=pool.id, Username=username, Password=NEW_PASSWORD, Permanent=True)
    assert salt() != first
    assert sign_in(app, username, NEW_PASSWORD)["AuthenticationResult"]


def test_every_challenge_is_fresh(pool, app):
    username = pool.user()
    exchange = srp.Exchange(pool.id, PASSWORD)
    one, two = (begin(app, username, exchange)["ChallengeParameters"] for _ in range(2))
    assert one["SRP_B"] != two["SRP_B"]
    assert one["SECRET_BLOCK"] != two["SECRET_BLOCK"]


@pytest.mark.parametrize("multiple", [0, 1, 2, 3], ids=["0", "N", "2N", "3N"])
def test_a_public_value_that_fixes_the_key_signs_nobody_in(pool, app, multiple):
    """With A = 0 (mod N) the shared secret is 0, whatever the password: RFC 5054, section 2.5.4."""
    username = pool.user()
    exchange = srp.Exchange(pool.id, "")
    exchange.public = multiple * srp.N
    with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
        parameters = begin(app, username, exchange)["ChallengeParameters"]
        u = srp.to_int(srp.sha256(srp.padded(exchange.public), srp.padded(int(parameters["SRP_B"], 16))))
        answer(app, exchange.responses(parameters, key=srp.derive(u, 0)))
    error = caught.value.response["Error"]["Code"]
    assert error in {"InvalidParameterException", "NotAuthorizedException"}


@pytest.mark.parametrize(
    "srp_a",
    ["", " ", "xyz", "0x10", "-1", "1.5", "é", "AB CD", "f" * 10_000, "0" * 2000],
    ids=lambda v: v[:8] or "empty",
)
def test_a_public_value_that_is_no_number_is_refused(pool, app, srp_a):
    username = pool.user()
    with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
        app.initiate("USER_SRP_AUTH", USERNAME=username, SRP_A=srp_a)
    error = caught.value.response["Error"]["Code"]
    assert error in {"InvalidParameterException", "NotAuthorizedException"}


@pytest.mark.parametrize("missing", ["USERNAME", "SRP_A"])
def test_a_missing_parameter_is_named(app, missing):
    parameters = {"USERNAME": "somebody", "SRP_A": "AB"}
    del parameters[missing]
    with refused("InvalidParameterException", f"Missing required parameter {missing}"):
        app.initiate("USER_SRP_AUTH", **parameters)


@pytest.mark.parametrize(
    "missing", ["USERNAME", "PASSWORD_CLAIM_SECRET_BLOCK", "PASSWORD_CLAIM_SIGNATURE", "TIMESTAMP"]
)
def test_a_missing_response_is_named(pool, app, missing):
    exchange = srp.Exchange(pool.id, PASSWORD)
    responses = exchange.responses(begin(app, pool.user(), exchange)["ChallengeParameters"])
    del responses[missing]
    with refused("InvalidParameterException", f"Missing required parameter {missing}"):
        answer(app, responses)


class TestAnswers:
    """A right answer with one thing changed is refused."""

    @pytest.fixture
    def username(self, pool):
        return pool.user()

    @pytest.fixture
    def exchange(self, pool):
        return srp.Exchange(pool.id, PASSWORD)

    @pytest.fixture
    def parameters(self, app, username, exchange):
        return begin(app, username, exchange)["ChallengeParameters"]

    def test_is_used_once(self, app, exchange, parameters):
        responses = exchange.responses(parameters)
        assert answer(app, responses)["AuthenticationResult"]
        with refused("NotAuthorizedException"):
            answer(app, responses)

    @pytest.mark.parametrize("part", ["PASSWORD_CLAIM_SECRET_BLOCK", "PASSWORD_CLAIM_SIGNATURE"])
    @pytest.mark.parametrize("change", ["first byte", "last byte", "shorter", "longer", "empty bytes"])
    def test_bytes_changed(self, app, exchange, parameters, part, change):
        responses = exchange.responses(parameters)
        data = bytearray(base64.b64decode(responses[part]))
        if change == "first byte":
            data[0] ^= 1
        elif change == "last byte":
            data[-1] ^= 1
        elif change == "shorter":
            data = data[:-1]
        elif change == "longer":
            data += b"\0"
        else:
            data = bytearray(1)
        responses[part] = base64.b64encode(data).decode()
        with refused("NotAuthorizedException", INCORRECT):
            answer(app, responses)

    def test_not_base64(self, pool, app, exchange, parameters):
        for part in ("PASSWORD_CLAIM_SECRET_BLOCK", "PASSWORD_CLAIM_SIGNATURE"):
            with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
                answer(app, {**exchange.responses(parameters), part: "*not*base64*"})
            assert caught.value.response["Error"]["Code"] in {"NotAuthorizedException", "InvalidParameterException"}

    def test_the_name_of_another_user(self, pool, app, exchange, parameters):
        with refused("NotAuthorizedException"):
            answer(app, {**exchange.responses(parameters), "USERNAME": pool.user()})

    def test_a_block_of_another_user(self, pool, app, exchange, parameters):
        other = begin(app, pool.user(), exchange)["ChallengeParameters"]
        mixed = {**parameters, "SECRET_BLOCK": other["SECRET_BLOCK"]}
        with refused("NotAuthorizedException"):
            answer(app, exchange.responses(mixed))

    def test_another_client(self, pool, exchange, parameters):
        with refused("NotAuthorizedException"):
            answer(pool.app_client(), exchange.responses(parameters))

    def test_another_pool(self, make_pool, username, exchange, parameters):
        other = make_pool()
        other.user(username)
        with refused("NotAuthorizedException"):
            answer(other.app_client(), exchange.responses(parameters))

    @pytest.mark.parametrize("minutes", [-60, 60])
    def test_a_time_far_off(self, app, exchange, parameters, minutes):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        with refused("NotAuthorizedException"):
            answer(app, exchange.responses(parameters, at=at))

    @pytest.mark.parametrize("time", ["now", "", "2026-11-03T09:05:00Z", "Tue Nov 31 09:05:00 UTC 2026", "x" * 5000])
    def test_a_time_in_another_form(self, pool, app, exchange, parameters, time):
        responses = exchange.responses(parameters)
        with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
            answer(app, {**responses, "TIMESTAMP": time})
        assert caught.value.response["Error"]["Code"] in {"NotAuthorizedException", "InvalidParameterException"}

    def test_after_the_password_has_changed(self, pool, app, username, exchange, parameters):
        pool.cognito.admin_set_user_password(
            UserPoolId=pool.id, Username=username, Password=NEW_PASSWORD, Permanent=True
        )
        with refused("NotAuthorizedException", INCORRECT):
            answer(app, exchange.responses(parameters))

    def test_after_the_user_was_deleted(self, pool, app, username, exchange, parameters):
        pool.cognito.admin_delete_user(UserPoolId=pool.id, Username=username)
        with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
            answer(app, exchange.responses(parameters))
        assert caught.value.response["Error"]["Code"] in {"NotAuthorizedException", "UserNotFoundException"}


def test_five_wrong_proofs_lock_the_right_one_out_for_a_while(pool, app):
    username = pool.user()
    for _ in range(5):
        with refused("NotAuthorizedException", INCORRECT):
            sign_in(app, username, "Wrong-horse-7")
    with refused("NotAuthorizedException", "Password attempts exceeded"):
        sign_in(app, username)


def test_password_and_srp_failures_count_together(pool, app):
    username = pool.user()
    for _ in range(3):
        with refused("NotAuthorizedException", INCORRECT):
            app.tokens(username, "Wrong-horse-7")
    for _ in range(2):
        with refused("NotAuthorizedException", INCORRECT):
            sign_in(app, username, "Wrong-horse-7")
    with refused("NotAuthorizedException", "Password attempts exceeded"):
        app.tokens(username)


def test_an_unknown_user_is_named_unless_the_client_hides_it(pool):
    with refused("UserNotFoundException", "User does not exist."):
        sign_in(pool.app_client(), "nobody")
    with refused("NotAuthorizedException", INCORRECT):
        sign_in(pool.app_client(PreventUserExistenceErrors="ENABLED"), "nobody")


def test_a_hidden_users_challenge_is_like_a_real_one(make_pool):
    pool = make_pool()
    apps = [pool.app_client(PreventUserExistenceErrors="ENABLED") for _ in range(2)]
    real, ghost = pool.user(), unique("user")

    def challenge(app, username):
        return begin(app, username, srp.Exchange(pool.id, PASSWORD))["ChallengeParameters"]

    known, hidden = challenge(apps[0], real), challenge(apps[0], ghost)
    assert known.keys() == hidden.keys()
    assert hidden["USERNAME"] == hidden["USER_ID_FOR_SRP"] == ghost
    assert len(known["SECRET_BLOCK"]) == len(hidden["SECRET_BLOCK"])
    assert abs(len(known["SALT"]) - len(hidden["SALT"])) <= 2
    assert {challenge(app, ghost)["SALT"] for app in apps} == {hidden["SALT"]}
    assert challenge(apps[0], ghost + "x")["SALT"] != hidden["SALT"]
    assert challenge(apps[0], ghost)["SRP_B"] != hidden["SRP_B"]


def test_a_temporary_password_leads_to_the_next_challenge(pool, app, cognito):
    username = unique("user")
    cognito.admin_create_user(
        UserPoolId=pool.id, Username=username, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
    )
    got = sign_in(app, username)
    assert got["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    responses = app.parameters(username, NEW_PASSWORD=NEW_PASSWORD)
    assert app.respond("NEW_PASSWORD_REQUIRED", got["Session"], **responses)["AuthenticationResult"]
    assert sign_in(app, username, NEW_PASSWORD)["AuthenticationResult"]


def test_an_unconfirmed_user_is_told_before_the_password_is_looked_at(app):
    username = unique("user")
    app.sign_up(username)
    with refused("UserNotConfirmedException", "User is not confirmed."):
        sign_in(app, username, "Wrong-horse-7")
    with refused("UserNotConfirmedException", "User is not confirmed."):
        sign_in(app, username)


def test_a_client_with_a_secret(pool):
    app = pool.app_client(secret=True)
    username = pool.user()
    exchange = srp.Exchange(pool.id, PASSWORD)
    responses = exchange.responses(begin(app, username, exchange)["ChallengeParameters"])
    with refused(
        "NotAuthorizedException", f"Client {app.id} is configured with secret but SECRET_HASH was not received"
    ):
        answer(app, responses)
    assert answer(app, app.parameters(username, **{k: v for k, v in responses.items() if k != "USERNAME"}))
