"""What must happen once happens once, however many ask at the same moment."""

import collections
import concurrent.futures
import threading

from harness import srp, wire
from harness.cognito import NEW_PASSWORD, PASSWORD, Pool, newest_code, unique, wrong

MANY = 12


def at_once(count, call):
    """Runs `call(i)` in as many threads, started together.

    Returns how often each outcome came: `ok`, or an exception's name.
    """
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait(timeout=30)
        answer = call(i)
        assert answer.status < 500, answer.body
        return "ok" if answer.status == 200 else answer.error

    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        return collections.Counter(executor.map(run, range(count)))


def test_one_name_is_given_once(server, pool, app):
    username = unique("user")
    body = {"ClientId": app.id, "Username": username, "Password": PASSWORD}
    assert at_once(MANY, lambda i: wire.call(server, "SignUp", body)) == {"ok": 1, "UsernameExistsException": MANY - 1}
    assert pool.status(username) == "UNCONFIRMED"


def test_one_code_confirms_once(server, mail_app):
    username = unique("user")
    to = f"{username}@example.com"
    mail_app.sign_up(username, email=to)
    body = {"ClientId": mail_app.id, "Username": username, "ConfirmationCode": newest_code(server, to)}
    outcomes = at_once(MANY, lambda i: wire.call(server, "ConfirmSignUp", body))
    assert outcomes["ok"] == 1, outcomes


def test_wrong_codes_at_once_all_count(server, mail_pool, mail_app):
    username = unique("user")
    to = f"{username}@example.com"
    mail_app.sign_up(username, email=to)
    code = newest_code(server, to)

    def guess(i):
        body = {"ClientId": mail_app.id, "Username": username, "ConfirmationCode": wrong(code)}
        return wire.call(server, "ConfirmSignUp", body)

    outcomes = at_once(MANY, guess) + at_once(MANY, guess)
    assert outcomes["ok"] == 0
    assert outcomes["LimitExceededException"] + outcomes["TooManyRequestsException"] >= 2 * MANY - 20, outcomes
    body = {"ClientId": mail_app.id, "Username": username, "ConfirmationCode": code}
    assert wire.call(server, "ConfirmSignUp", body).error == "LimitExceededException"


def test_wrong_passwords_at_once_all_count(server, pool, app):
    """Whoever guesses in parallel has no more guesses than whoever guesses in turn."""
    username = pool.user()

    def guess(i):
        parameters = {"USERNAME": username, "PASSWORD": f"Wrong-horse-{i}"}
        body = {"ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters}
        return wire.call(server, "InitiateAuth", body)

    messages = []

    def guess_and_keep(i):
        answer = guess(i)
        messages.append(answer.message)
        return answer

    at_once(MANY, guess_and_keep)
    judged = sum(message == "Incorrect username or password." for message in messages)
    assert judged <= 6, collections.Counter(messages)


def test_a_new_password_session_is_used_once(server, pool, app, cognito):
    username = unique("user")
    cognito.admin_create_user(
        UserPoolId=pool.id, Username=username, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
    )
    session = app.password_sign_in(username)["Session"]

    def respond(i):
        body = {
            "ClientId": app.id,
            "ChallengeName": "NEW_PASSWORD_REQUIRED",
            "Session": session,
            "ChallengeResponses": {"USERNAME": username, "NEW_PASSWORD": f"{NEW_PASSWORD}-{i}"},
        }
        return wire.call(server, "RespondToAuthChallenge", body)

    outcomes = at_once(6, respond)
    assert outcomes["ok"] == 1, outcomes


def test_an_srp_answer_is_used_once(server, pool, app):
    exchange = srp.Exchange(pool.id, PASSWORD)
    challenge = app.initiate("USER_SRP_AUTH", USERNAME=pool.user(), SRP_A=exchange.srp_a)
    body = {
        "ClientId": app.id,
        "ChallengeName": "PASSWORD_VERIFIER",
        "ChallengeResponses": exchange.responses(challenge["ChallengeParameters"]),
    }
    outcomes = at_once(6, lambda i: wire.call(server, "RespondToAuthChallenge", body))
    assert outcomes["ok"] == 1, outcomes


def test_signing_up_races_with_deleting_the_pool(server, make_pool):
    """After the pool is gone nothing of it is left, whichever came first."""
    for _ in range(3):
        pool = make_pool()
        app = pool.app_client()

        def act(i, pool=pool, app=app):
            if i == 0:
                return wire.call(server, "DeleteUserPool", {"UserPoolId": pool.id})
            body = {"ClientId": app.id, "Username": f"user{i}", "Password": PASSWORD}
            return wire.call(server, "SignUp", body)

        outcomes = at_once(6, act)
        assert set(outcomes) <= {"ok", "ResourceNotFoundException"}, outcomes
        body = {"UserPoolId": pool.id}
        assert wire.call(server, "ListUsers", body).error == "ResourceNotFoundException"


def test_many_people_sign_in_at_once(server, pool, app):
    names = [pool.user() for _ in range(8)]

    def sign_in(i):
        parameters = {"USERNAME": names[i], "PASSWORD": PASSWORD}
        body = {"ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters}
        return wire.call(server, "InitiateAuth", body)

    assert at_once(len(names), sign_in) == {"ok": len(names)}


def test_one_alias_goes_to_one_user(server, cognito):
    """A preferred user name that many take at once leads to one of them."""
    pool = Pool(server, cognito, AliasAttributes=["preferred_username"])
    names = [pool.user() for _ in range(16)]

    def take(i):
        body = {
            "UserPoolId": pool.id,
            "Username": names[i],
            "UserAttributes": [{"Name": "preferred_username", "Value": "boss"}],
        }
        return wire.call(server, "AdminUpdateUserAttributes", body)

    assert at_once(16, take) == {"ok": 1, "AliasExistsException": 15}
    held = [name for name in names if any(a["Name"] == "preferred_username" for a in pool.get(name)["UserAttributes"])]
    assert [pool.get("boss")["Username"]] == held


def test_users_are_added_to_a_group_while_it_is_deleted(server, cognito):
    """One deletion wins, and nobody is in the next group of that name."""
    pool = Pool(server, cognito)
    names = [pool.user() for _ in range(14)]
    for _ in range(3):
        cognito.create_group(UserPoolId=pool.id, GroupName="staff")

        def act(i):
            body = {"UserPoolId": pool.id, "GroupName": "staff"}
            if i < 2:
                return wire.call(server, "DeleteGroup", body)
            return wire.call(server, "AdminAddUserToGroup", {**body, "Username": names[i - 2]})

        outcomes = at_once(16, act)
        assert outcomes["ResourceNotFoundException"] >= 1
        assert outcomes["ok"] + outcomes["ResourceNotFoundException"] == 16, outcomes
        cognito.create_group(UserPoolId=pool.id, GroupName="staff")
        assert cognito.list_users_in_group(UserPoolId=pool.id, GroupName="staff")["Users"] == []
        for name in names:
            assert cognito.admin_list_groups_for_user(UserPoolId=pool.id, Username=name)["Groups"] == []
        cognito.delete_group(UserPoolId=pool.id, GroupName="staff")


def test_one_group_name_is_given_once(server, pool):
    body = {"UserPoolId": pool.id, "GroupName": unique("group")}
    assert at_once(16, lambda i: wire.call(server, "CreateGroup", body)) == {"ok": 1, "GroupExistsException": 15}


def test_one_reset_code_sets_one_password(server, mail_pool, mail_app):
    username = unique("user")
    to = f"{username}@example.com"
    mail_pool.user(username, email=to, email_verified="true")
    mail_pool.cognito.forgot_password(ClientId=mail_app.id, Username=username)
    code = newest_code(server, to)

    def reset(i):
        body = {
            "ClientId": mail_app.id,
            "Username": username,
            "ConfirmationCode": code,
            "Password": f"{NEW_PASSWORD}-{i}",
        }
        return wire.call(server, "ConfirmForgotPassword", body)

    outcomes = at_once(16, reset)
    assert outcomes["ok"] == 1, outcomes


def test_one_code_verifies_once(server, cognito, mail_pool, mail_app):
    username = unique("user")
    to = f"{username}@example.com"
    mail_pool.user(username, email=to)
    token = mail_app.tokens(username)["AccessToken"]
    cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    body = {"AccessToken": token, "AttributeName": "email", "Code": newest_code(server, to)}
    outcomes = at_once(16, lambda i: wire.call(server, "VerifyUserAttribute", body))
    assert outcomes["ok"] == 1, outcomes
