"""The NEW_PASSWORD_REQUIRED challenge: InitiateAuth, RespondToAuthChallenge."""

import json
import re

import pytest

from harness.cognito import NEW_PASSWORD, PASSWORD, Pool, as_dict, attributes, refused, unique

CHALLENGE = "NEW_PASSWORD_REQUIRED"


@pytest.fixture
def invited(pool):
    """The name of a user with the temporary password PASSWORD."""
    username = unique("user")
    pool.cognito.admin_create_user(
        UserPoolId=pool.id,
        Username=username,
        TemporaryPassword=PASSWORD,
        MessageAction="SUPPRESS",
        UserAttributes=attributes({"email": "a@example.com", "email_verified": "true"}),
    )
    return username


def test_the_challenge_says_what_is_known_and_what_is_missing(app, invited):
    answer = app.password_sign_in(invited)
    assert answer["ChallengeName"] == CHALLENGE
    assert "AuthenticationResult" not in answer
    assert 20 <= len(answer["Session"]) <= 2048
    parameters = answer["ChallengeParameters"]
    assert parameters["USER_ID_FOR_SRP"] == invited
    assert json.loads(parameters["requiredAttributes"]) == []
    assert json.loads(parameters["userAttributes"]) == {"email": "a@example.com", "email_verified": "true"}


def test_a_new_password_signs_in_and_stays(pool, app, invited):
    session = app.password_sign_in(invited)["Session"]
    answer = app.respond(CHALLENGE, session, **app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD))
    assert answer["AuthenticationResult"]["AccessToken"]
    assert answer["ChallengeParameters"] == {}
    assert pool.status(invited) == "CONFIRMED"
    assert app.tokens(invited, NEW_PASSWORD)
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.tokens(invited)


def test_a_session_is_used_once(app, invited):
    session = app.password_sign_in(invited)["Session"]
    answers = app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD)
    app.respond(CHALLENGE, session, **answers)
    with refused("NotAuthorizedException", "Invalid session for the user, session can only be used once."):
        app.respond(CHALLENGE, session, **answers)


def test_a_weak_password_is_refused_and_the_session_lives(app, invited):
    session = app.password_sign_in(invited)["Session"]
    with refused("InvalidPasswordException", "Password does not conform to policy: Password not long enough"):
        app.respond(CHALLENGE, session, **app.parameters(invited, NEW_PASSWORD="Aa1!aaa"))
    answer = app.respond(CHALLENGE, session, **app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD))
    assert answer["AuthenticationResult"]


def test_a_session_is_good_for_its_user_and_client_only(pool, app, invited):
    session = app.password_sign_in(invited)["Session"]
    with refused("NotAuthorizedException"):
        app.respond(CHALLENGE, session, **app.parameters(pool.user(), NEW_PASSWORD=NEW_PASSWORD))
    with refused("NotAuthorizedException"):
        pool.app_client().respond(CHALLENGE, session, **app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD))
    assert pool.status(invited) == "FORCE_CHANGE_PASSWORD"


def test_a_damaged_session_is_refused(pool, app, invited):
    session = app.password_sign_in(invited)["Session"]
    middle = len(session) // 2
    flipped = session[:middle] + ("A" if session[middle] != "A" else "B") + session[middle + 1 :]
    for bad in (flipped, session[:-8], session + "AAAA", "A" * 64):
        with refused("NotAuthorizedException", re.compile("Invalid session for the user.*")):
            app.respond(CHALLENGE, bad, **app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD))
    assert pool.status(invited) == "FORCE_CHANGE_PASSWORD"


def test_the_challenge_cannot_be_reached_without_a_session(pool, app, invited):
    with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
        app.respond(CHALLENGE, **app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD))
    assert caught.value.response["Error"]["Code"] in {"NotAuthorizedException", "InvalidParameterException"}
    assert pool.status(invited) == "FORCE_CHANGE_PASSWORD"


def test_another_challenge_cannot_be_answered_with_the_session(pool, app, invited):
    session = app.password_sign_in(invited)["Session"]
    with pytest.raises(pool.cognito.exceptions.ClientError) as caught:
        app.respond("SMS_MFA", session, **app.parameters(invited, SMS_MFA_CODE="123456"))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 501}
    assert pool.status(invited) == "FORCE_CHANGE_PASSWORD"


@pytest.mark.parametrize("missing", ["USERNAME", "NEW_PASSWORD"])
def test_a_missing_response_is_named(app, invited, missing):
    session = app.password_sign_in(invited)["Session"]
    responses = app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD)
    del responses[missing]
    with refused("InvalidParameterException", f"Missing required parameter {missing}"):
        app.respond(CHALLENGE, session, **responses)


def test_what_is_known_cannot_be_changed_on_the_way(app, invited):
    session = app.password_sign_in(invited)["Session"]
    responses = app.parameters(invited, NEW_PASSWORD=NEW_PASSWORD)
    responses["userAttributes.email"] = "other@example.com"
    with refused("NotAuthorizedException", "Cannot modify an already provided email"):
        app.respond(CHALLENGE, session, **responses)


@pytest.fixture(scope="module")
def demanding(server, cognito):
    required = {"AttributeDataType": "String", "Required": True, "Mutable": True}
    return Pool(server, cognito, Schema=[{"Name": "given_name", **required}])


@pytest.fixture(scope="module")
def demanding_app(demanding):
    return demanding.app_client()


class TestRequiredAttributes:
    @pytest.fixture
    def newcomer(self, demanding):
        username = unique("user")
        demanding.cognito.admin_create_user(
            UserPoolId=demanding.id, Username=username, TemporaryPassword=PASSWORD, MessageAction="SUPPRESS"
        )
        return username

    def test_they_are_listed_and_taken(self, demanding, demanding_app, newcomer):
        answer = demanding_app.password_sign_in(newcomer)
        listed = json.loads(answer["ChallengeParameters"]["requiredAttributes"])
        assert listed == ["userAttributes.given_name"]
        responses = demanding_app.parameters(newcomer, NEW_PASSWORD=NEW_PASSWORD)
        responses["userAttributes.given_name"] = "Ada"
        assert demanding_app.respond(CHALLENGE, answer["Session"], **responses)["AuthenticationResult"]
        assert as_dict(demanding.get(newcomer)["UserAttributes"])["given_name"] == "Ada"

    def test_without_them_nobody_signs_in(self, demanding, demanding_app, newcomer):
        session = demanding_app.password_sign_in(newcomer)["Session"]
        with refused("InvalidParameterException", "Invalid attributes given, given_name is missing"):
            demanding_app.respond(CHALLENGE, session, **demanding_app.parameters(newcomer, NEW_PASSWORD=NEW_PASSWORD))
        assert demanding.status(newcomer) == "FORCE_CHANGE_PASSWORD"
