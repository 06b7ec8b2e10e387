"""InitiateAuth with USER_PASSWORD_AUTH: tokens, refusals, lock-out, and who learns what."""

import re
import statistics
import time

import pytest

from harness import wire
from harness.cognito import PASSWORD, refused, secret_hash, unique

INCORRECT = "Incorrect username or password."
NO_USER = "User does not exist."


def test_the_answer_holds_tokens_and_nothing_else(pool, app, server):
    username = pool.user()
    body = {
        "ClientId": app.id,
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": {"USERNAME": username, "PASSWORD": PASSWORD},
    }
    answer = wire.call(server, "InitiateAuth", body)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
    got = answer.json
    assert got.keys() == {"AuthenticationResult", "ChallengeParameters"}
    assert got["ChallengeParameters"] == {}
    result = got["AuthenticationResult"]
    assert result.keys() == {"AccessToken", "ExpiresIn", "IdToken", "RefreshToken", "TokenType"}
    assert result["ExpiresIn"] == 3600 and result["TokenType"] == "Bearer"


def test_a_wrong_password_is_refused(pool, app):
    username = pool.user()
    with refused("NotAuthorizedException", INCORRECT):
        app.tokens(username, "Wrong-horse-7")
    assert app.tokens(username)


@pytest.mark.parametrize("password", [PASSWORD[:-1], PASSWORD + "x", PASSWORD.lower(), " " + PASSWORD])
def test_the_password_counts_exactly(pool, app, password):
    username = pool.user()
    with refused("NotAuthorizedException", INCORRECT):
        app.tokens(username, password)


def test_an_unknown_user_is_named_unless_the_client_hides_it(pool):
    with refused("UserNotFoundException", NO_USER):
        pool.app_client().tokens("nobody")
    with refused("UserNotFoundException", NO_USER):
        pool.app_client(PreventUserExistenceErrors="LEGACY").tokens("nobody")
    with refused("NotAuthorizedException", INCORRECT):
        pool.app_client(PreventUserExistenceErrors="ENABLED").tokens("nobody")


def test_a_hidden_user_and_a_wrong_password_look_the_same(pool, server):
    app = pool.app_client(PreventUserExistenceErrors="ENABLED")
    known = pool.user()

    def attempt(username):
        parameters = {"USERNAME": username, "PASSWORD": "Wrong-horse-7"}
        body = {"ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters}
        answer = wire.call(server, "InitiateAuth", body)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        for changing in ("x-amzn-requestid", "date"):
            headers.pop(changing, None)
        return answer.status, answer.body, headers

    assert attempt(known) == attempt("n" + known[1:])


def test_a_hidden_user_costs_as_much_time_as_a_wrong_password(pool):
    app = pool.app_client(PreventUserExistenceErrors="ENABLED")
    known = [pool.user() for _ in range(11)]

    def seconds(username):
        start = time.perf_counter()
        with refused("NotAuthorizedException", INCORRECT):
            app.tokens(username, "Wrong-horse-7")
        return time.perf_counter() - start

    pairs = [(seconds(username), seconds(unique("ghost"))) for username in known]
    wrong, hidden = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.5 < hidden / wrong < 2, f"{hidden * 1000:.1f} ms against {wrong * 1000:.1f} ms"


def test_an_unconfirmed_user_is_told_before_the_password_is_looked_at(app):
    username = unique("user")
    app.sign_up(username)
    with refused("UserNotConfirmedException", "User is not confirmed."):
        app.tokens(username, "Wrong-horse-7")
    with refused("UserNotConfirmedException", "User is not confirmed."):
        app.tokens(username)


def test_five_wrong_passwords_lock_the_right_one_out_for_a_while(pool, app):
    username = pool.user()
    for _ in range(5):
        with refused("NotAuthorizedException", INCORRECT):
            app.tokens(username, "Wrong-horse-7")
    with refused("NotAuthorizedException", "Password attempts exceeded"):
        app.tokens(username)


def test_a_lock_out_of_an_unknown_user_looks_like_one_of_a_known_user(pool):
    app = pool.app_client(PreventUserExistenceErrors="ENABLED")
    for username in (pool.user(), unique("ghost")):
        for _ in range(5):
            with refused("NotAuthorizedException", INCORRECT):
                app.tokens(username, "Wrong-horse-7")
        with refused("NotAuthorizedException", "Password attempts exceeded"):
            app.tokens(username, "Wrong-horse-7")


def test_a_flow_has_to_be_enabled(pool):
    username = pool.user()
    srp_only = pool.app_client(ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH"])
    with refused("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client"):
        srp_only.tokens(username)
    password_only = pool.app_client(ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])
    with refused("InvalidParameterException", "USER_SRP_AUTH flow not enabled for this client"):
        password_only.initiate("USER_SRP_AUTH", USERNAME=username, SRP_A="AB")


def test_a_client_without_flows_has_srp_and_refresh(pool, cognito):
    username = pool.user()
    description = cognito.create_user_pool_client(UserPoolId=pool.id, ClientName="plain")["UserPoolClient"]
    client = {"ClientId": description["ClientId"]}
    with refused("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client"):
        cognito.initiate_auth(
            AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD}, **client
        )
    answer = cognito.initiate_auth(
        AuthFlow="USER_SRP_AUTH", AuthParameters={"USERNAME": username, "SRP_A": "AB"}, **client
    )
    assert answer["ChallengeName"] == "PASSWORD_VERIFIER"


@pytest.mark.parametrize("flow", ["ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"])
def test_flows_of_administrators_are_not_for_everybody(app, flow):
    with refused("InvalidParameterException", "Initiate Auth method not supported."):
        app.initiate(flow, USERNAME="somebody", PASSWORD=PASSWORD)


@pytest.mark.parametrize("missing", ["USERNAME", "PASSWORD"])
def test_a_missing_parameter_is_named(app, missing):
    parameters = {"USERNAME": "somebody", "PASSWORD": PASSWORD}
    del parameters[missing]
    with refused("InvalidParameterException", f"Missing required parameter {missing}"):
        app.initiate("USER_PASSWORD_AUTH", **parameters)


def test_the_secret_hash_is_asked_for_and_checked(pool):
    app = pool.app_client(secret=True)
    username = pool.user()
    with refused(
        "NotAuthorizedException", f"Client {app.id} is configured with secret but SECRET_HASH was not received"
    ):
        app.initiate("USER_PASSWORD_AUTH", USERNAME=username, PASSWORD=PASSWORD)
    for hash_ in ("not base64 !", secret_hash("somebody else", app.id, app.secret)):
        with refused("NotAuthorizedException", f"Unable to verify secret hash for client {app.id}"):
            app.initiate("USER_PASSWORD_AUTH", USERNAME=username, PASSWORD=PASSWORD, SECRET_HASH=hash_)
    assert app.tokens(username)


def test_a_secret_hash_for_a_client_without_secret_is_refused(pool, app):
    with refused("NotAuthorizedException", f"Unable to verify secret hash for client {app.id}"):
        app.initiate("USER_PASSWORD_AUTH", USERNAME=pool.user(), PASSWORD=PASSWORD, SECRET_HASH="c29tZQ==")


def test_a_missing_client_is_named(cognito):
    missing = "0123456789abcdefghijklmnop"
    with refused("ResourceNotFoundException", f"User pool client {missing} does not exist."):
        cognito.initiate_auth(
            ClientId=missing, AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": "a", "PASSWORD": "b"}
        )


def test_a_client_does_not_sign_in_users_of_another_pool(make_pool):
    mine, other = make_pool(), make_pool()
    username = mine.user()
    with refused("UserNotFoundException", NO_USER):
        other.app_client().tokens(username)


def test_names_are_found_whatever_their_case_where_the_pool_says_so(make_pool):
    pool = make_pool(UsernameConfiguration={"CaseSensitive": False})
    username = pool.user(unique("Mixed"))
    assert pool.app_client().tokens(username.upper())
    strict = make_pool()
    strict.user("Mixed")
    with refused("UserNotFoundException", NO_USER):
        strict.app_client().tokens("mixed")


@pytest.mark.parametrize("name", ["ünïcødé-名前", "a" * 128, "a/b?c=d&e", "..", "%00", "user name"[:4] + "+x"])
def test_a_name_may_be_any_printable_text(pool, app, name):
    pool.user(name)
    assert app.tokens(name)
    assert pool.get(name)["Username"] == name
    assert re.fullmatch("(CONFIRMED)", pool.status(name))
