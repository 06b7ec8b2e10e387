"""ChangePassword, ForgotPassword, ConfirmForgotPassword, AdminResetUserPassword."""

import pytest

from harness import wire
from harness.cognito import NEW_PASSWORD, PASSWORD, inbox, newest_code, refused, unique, wrong

LIMIT = "Attempt limit exceeded, please try after some time."
MISMATCH = "Invalid verification code provided, please try again."
EXPIRED = "Invalid code provided, please request a code again."
INCORRECT = "Incorrect username or password."
NO_COMBINATION = "Username/client id combination not found."


def address():
    return unique("reader") + "@example.com"


@pytest.fixture
def reader(mail_pool):
    """A user with a verified address: the name and the address."""
    to = address()
    return mail_pool.user(email=to, email_verified="true"), to


def forgot(app, username):
    return app.cognito.forgot_password(ClientId=app.id, Username=username, **app.proof(username))["CodeDeliveryDetails"]


def confirm(app, username, code, password=NEW_PASSWORD):
    app.cognito.confirm_forgot_password(
        ClientId=app.id, Username=username, ConfirmationCode=code, Password=password, **app.proof(username)
    )


def test_a_code_sets_a_new_password_and_ends_old_sessions(mail_app, server, reader):
    username, to = reader
    old = mail_app.tokens(username)
    assert forgot(mail_app, username) == {
        "AttributeName": "email",
        "DeliveryMedium": "EMAIL",
        "Destination": "r***@e***",
    }
    message = inbox(server, to)[0]
    assert message["subject"] == "Your verification code"
    assert message["body"] == f"Your password reset code is {message['code']}"
    confirm(mail_app, username, message["code"])
    with refused("NotAuthorizedException", INCORRECT):
        mail_app.tokens(username)
    assert mail_app.tokens(username, NEW_PASSWORD)
    with refused("NotAuthorizedException", "Refresh Token has been revoked"):
        mail_app.refresh(old["RefreshToken"])
    with refused("ExpiredCodeException", EXPIRED):
        confirm(mail_app, username, message["code"])


def test_the_answer_of_a_confirmation_is_empty(mail_app, server, reader):
    username, to = reader
    forgot(mail_app, username)
    body = {
        "ClientId": mail_app.id,
        "Username": username,
        "ConfirmationCode": newest_code(server, to),
        "Password": NEW_PASSWORD,
    }
    answer = wire.call(server, "ConfirmForgotPassword", body)
    assert (answer.status, answer.json) == (200, {})


def test_s09_many_wrong_codes_lock_the_right_one_out(mail_app, server, reader):
    username, to = reader
    forgot(mail_app, username)
    code = newest_code(server, to)
    for _ in range(15):
        with refused("CodeMismatchException", MISMATCH):
            confirm(mail_app, username, wrong(code))
    with refused("LimitExceededException", LIMIT):
        confirm(mail_app, username, code)
    assert mail_app.tokens(username)


def test_s10_only_the_newest_code_is_good(mail_app, server, reader):
    username, to = reader
    forgot(mail_app, username)
    first = newest_code(server, to)
    forgot(mail_app, username)
    second = newest_code(server, to)
    if first != second:
        with refused("CodeMismatchException", MISMATCH):
            confirm(mail_app, username, first)
    confirm(mail_app, username, second)


def test_codes_are_limited(mail_app, reader):
    for _ in range(5):
        forgot(mail_app, reader[0])
    with refused("LimitExceededException", LIMIT):
        forgot(mail_app, reader[0])


def test_who_cannot_reset_is_told(mail_pool, mail_app, cognito):
    with refused("UserNotFoundException", NO_COMBINATION):
        forgot(mail_app, "nobody")
    with refused("UserNotFoundException", NO_COMBINATION):
        confirm(mail_app, "nobody", "123456")
    unverified = mail_pool.user(email=address())
    no_address = "Cannot reset password for the user as there is no registered/verified email or phone_number"
    with refused("InvalidParameterException", no_address):
        forgot(mail_app, unverified)
    invited = unique("user")
    cognito.admin_create_user(UserPoolId=mail_pool.id, Username=invited, MessageAction="SUPPRESS")
    state = "User password cannot be reset in the current state."
    with refused("NotAuthorizedException", state):
        forgot(mail_app, invited)
    with refused("NotAuthorizedException", state):
        cognito.admin_reset_user_password(UserPoolId=mail_pool.id, Username=invited)


def test_s04_s05_nobody_is_told_apart(mail_pool, cognito, server, reader):
    app = mail_pool.app_client(PreventUserExistenceErrors="ENABLED")
    disabled_to, unverified_to = address(), address()
    disabled = mail_pool.user(email=disabled_to, email_verified="true")
    cognito.admin_disable_user(UserPoolId=mail_pool.id, Username=disabled)
    unverified = mail_pool.user(email=unverified_to)
    for username in (reader[0], unique("nobody"), disabled, unverified):
        with refused("ExpiredCodeException", EXPIRED):
            confirm(app, username, "wrong")
        first = forgot(app, username)
        assert first == forgot(app, username)
        assert (first["AttributeName"], first["DeliveryMedium"]) == ("email", "EMAIL")
        assert len(first["Destination"]) == len("r***@e***")
        with refused("CodeMismatchException", MISMATCH):
            confirm(app, username, "wrong")
        for _ in range(3):
            forgot(app, username)
        with refused("LimitExceededException", LIMIT):
            forgot(app, username)
    assert inbox(server, disabled_to) == inbox(server, unverified_to) == []


def test_a_weak_password_is_named(mail_app, reader):
    text = "Password does not conform to policy: Password not long enough"
    with refused("InvalidPasswordException", text):
        confirm(mail_app, reader[0], "123456", "Aa1!")


def test_an_administrator_makes_a_user_set_a_new_password(mail_pool, mail_app, cognito, server, reader):
    username, to = reader
    old = mail_app.tokens(username)
    body = {"UserPoolId": mail_pool.id, "Username": username}
    answer = wire.call(server, "AdminResetUserPassword", body)
    assert (answer.status, answer.json) == (200, {})
    assert mail_pool.status(username) == "RESET_REQUIRED"
    required = "Password reset required for the user"
    with refused("PasswordResetRequiredException", required):
        mail_app.tokens(username)
    with refused("PasswordResetRequiredException", required):
        mail_app.refresh(old["RefreshToken"])
    with refused("NotAuthorizedException", INCORRECT):
        mail_app.tokens(username, "Wrong-horse-9")
    confirm(mail_app, username, newest_code(server, to))
    assert mail_pool.status(username) == "CONFIRMED"
    assert mail_app.tokens(username, NEW_PASSWORD)


def change(cognito, token, previous, proposed):
    return cognito.change_password(AccessToken=token, PreviousPassword=previous, ProposedPassword=proposed)


def test_the_present_password_sets_another(pool, app, cognito):
    username = pool.user()
    tokens = app.tokens(username)
    with refused("NotAuthorizedException", INCORRECT):
        change(cognito, tokens["AccessToken"], "Wrong-horse-9", NEW_PASSWORD)
    change(cognito, tokens["AccessToken"], PASSWORD, NEW_PASSWORD)
    assert app.tokens(username, NEW_PASSWORD)
    with refused("NotAuthorizedException", INCORRECT):
        app.tokens(username)
    assert app.refresh(tokens["RefreshToken"])


def test_s09_changing_is_limited(pool, app, cognito):
    token = app.tokens(pool.user())["AccessToken"]
    for _ in range(5):
        with refused("NotAuthorizedException", INCORRECT):
            change(cognito, token, "Wrong-horse-9", NEW_PASSWORD)
    with refused("LimitExceededException", LIMIT):
        change(cognito, token, PASSWORD, NEW_PASSWORD)


def test_s47_the_whole_new_password_counts(pool, app, cognito):
    username = pool.user()
    long = "Aa1!" + "\U0001f40e" * 125 + "zz"
    change(cognito, app.tokens(username)["AccessToken"], PASSWORD, long)
    with refused("NotAuthorizedException", INCORRECT):
        app.tokens(username, long[:-1] + "y")
    assert app.tokens(username, long)


def test_s47_what_is_no_password_is_refused(pool, app, cognito):
    token = app.tokens(pool.user())["AccessToken"]
    with refused("InvalidPasswordException", "Password does not conform to policy: Password not long enough"):
        change(cognito, token, PASSWORD, "Aa1!x")
    for bad in ("Aa1!" + "x" * 253, " Correct-horse-7", "Correct-horse-7 "):
        with refused("InvalidParameterException"):
            change(cognito, token, PASSWORD, bad)


def test_an_unconfirmed_user_changes_nothing(pool, cognito):
    with refused("NotAuthorizedException", "Invalid Access Token"):
        change(cognito, "x.y.z", PASSWORD, NEW_PASSWORD)
