"""Passwords that were used before: PasswordHistorySize."""

import pytest

from harness.cognito import NEW_PASSWORD, PASSWORD, Pool, newest_code, refused, unique

VIOLATION = "PasswordHistoryPolicyViolationException"


def policy(size):
    return {"PasswordPolicy": {"MinimumLength": 8, "PasswordHistorySize": size}}


@pytest.fixture(scope="module")
def remembering(server, cognito):
    """A pool that remembers three passwords."""
    return Pool(server, cognito, Policies=policy(3), AutoVerifiedAttributes=["email"])


@pytest.fixture(scope="module")
def remembering_app(remembering):
    return remembering.app_client()


def set_password(pool, username, password, permanent=True):
    pool.cognito.admin_set_user_password(
        UserPoolId=pool.id, Username=username, Password=password, Permanent=permanent
    )


def test_the_size_is_described(remembering, cognito):
    described = cognito.describe_user_pool(UserPoolId=remembering.id)["UserPool"]
    assert described["Policies"]["PasswordPolicy"]["PasswordHistorySize"] == 3


def test_s47_the_last_passwords_are_not_taken_again(remembering, remembering_app):
    username = remembering.user()
    set_password(remembering, username, "Second-horse-2")
    set_password(remembering, username, "Third-horse-3")
    for old in (PASSWORD, "Second-horse-2", "Third-horse-3"):
        for permanent in (True, False):
            with refused(VIOLATION):
                set_password(remembering, username, old, permanent)
    assert remembering_app.tokens(username, "Third-horse-3")
    set_password(remembering, username, "Fourth-horse-4")
    set_password(remembering, username, PASSWORD)
    assert remembering_app.tokens(username)


def test_s47_a_user_does_not_change_back(remembering, remembering_app, cognito):
    username = remembering.user()
    token = remembering_app.tokens(username)["AccessToken"]

    def change(previous, proposed):
        cognito.change_password(AccessToken=token, PreviousPassword=previous, ProposedPassword=proposed)

    with refused(VIOLATION):
        change(PASSWORD, PASSWORD)
    change(PASSWORD, NEW_PASSWORD)
    with refused(VIOLATION):
        change(NEW_PASSWORD, PASSWORD)
    assert remembering_app.tokens(username, NEW_PASSWORD)


def test_s47_a_reset_does_not_go_back(server, remembering, remembering_app, cognito):
    username = unique("user")
    to = f"{username}@example.com"
    remembering.user(username, email=to, email_verified="true")
    cognito.forgot_password(ClientId=remembering_app.id, Username=username)
    code = newest_code(server, to)

    def confirm(password):
        cognito.confirm_forgot_password(
            ClientId=remembering_app.id, Username=username, ConfirmationCode=code, Password=password
        )

    with refused(VIOLATION):
        confirm(PASSWORD)
    confirm(NEW_PASSWORD)
    assert remembering_app.tokens(username, NEW_PASSWORD)


def test_s48_a_temporary_password_is_not_kept(remembering, remembering_app, cognito):
    username = unique("user")
    cognito.admin_create_user(
        UserPoolId=remembering.id, Username=username, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
    )
    session = remembering_app.password_sign_in(username)["Session"]

    def respond(password):
        answers = remembering_app.parameters(username, NEW_PASSWORD=password)
        return remembering_app.respond("NEW_PASSWORD_REQUIRED", session, **answers)

    with refused(VIOLATION):
        respond(PASSWORD)
    assert respond(NEW_PASSWORD)["AuthenticationResult"]


def test_a_pool_that_forgets_lets_everything_be_taken(remembering, cognito, server):
    pool = Pool(server, cognito, Policies=policy(2))
    username = pool.user()
    with refused(VIOLATION):
        set_password(pool, username, PASSWORD)
    cognito.update_user_pool(UserPoolId=pool.id, Policies=policy(0))
    set_password(pool, username, PASSWORD)


def test_the_lite_plan_does_not_have_it(cognito):
    text = "The following features need to be disabled for the LITE pricing tier configured: Password History"
    with refused("FeatureUnavailableInTierException", text):
        cognito.create_user_pool(PoolName="lite", UserPoolTier="LITE", Policies=policy(3))
    with refused("InvalidParameterException"):
        cognito.create_user_pool(PoolName="much", Policies=policy(25))
