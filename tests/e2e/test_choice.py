"""USER_AUTH: sign-in that begins with the user's choice, by boto3."""

import pytest

from harness.cognito import PASSWORD, Pool, newest_code, refused, unique, wrong
from harness.second_factors import FLOWS
from harness.srp import Exchange

FACTORS = ["PASSWORD", "EMAIL_OTP"]


@pytest.fixture(scope="module")
def choice_pool(server, cognito):
    return Pool(
        server,
        cognito,
        AutoVerifiedAttributes=["email"],
        Policies={"SignInPolicy": {"AllowedFirstAuthFactors": FACTORS}},
    )


@pytest.fixture(scope="module")
def choice_app(choice_pool):
    return choice_pool.app_client(ExplicitAuthFlows=FLOWS)


@pytest.fixture
def person(choice_pool):
    email = f"{unique('mail')}@example.com"
    return choice_pool.user(email=email, email_verified="true"), email


def test_the_factors_are_described_and_stay_through_updates(choice_pool, cognito):
    def factors():
        described = cognito.describe_user_pool(UserPoolId=choice_pool.id)["UserPool"]
        return described["Policies"]["SignInPolicy"]["AllowedFirstAuthFactors"]

    assert factors() == FACTORS
    cognito.update_user_pool(UserPoolId=choice_pool.id, AutoVerifiedAttributes=["email"])
    assert factors() == FACTORS


def test_a_password_can_be_chosen(choice_app, person):
    username, _ = person
    begun = choice_app.initiate("USER_AUTH", USERNAME=username)
    assert begun["ChallengeName"] == "SELECT_CHALLENGE"
    assert begun["AvailableChallenges"] == ["PASSWORD", "PASSWORD_SRP", "EMAIL_OTP"]
    chosen = choice_app.parameters(username, ANSWER="PASSWORD", PASSWORD=PASSWORD)
    assert choice_app.respond("SELECT_CHALLENGE", begun["Session"], **chosen)["AuthenticationResult"]
    begun = choice_app.initiate("USER_AUTH", USERNAME=username, PREFERRED_CHALLENGE="PASSWORD")
    assert begun["ChallengeName"] == "PASSWORD"
    answers = choice_app.parameters(username, PASSWORD=PASSWORD)
    assert choice_app.respond("PASSWORD", begun["Session"], **answers)["AuthenticationResult"]


def test_srp_can_be_chosen(choice_pool, choice_app, person):
    username, _ = person
    exchange = Exchange(choice_pool.id, PASSWORD)
    begun = choice_app.initiate(
        "USER_AUTH", USERNAME=username, PREFERRED_CHALLENGE="PASSWORD_SRP", SRP_A=exchange.srp_a
    )
    assert begun["ChallengeName"] == "PASSWORD_VERIFIER"
    answers = exchange.responses(begun["ChallengeParameters"])
    assert choice_app.respond("PASSWORD_VERIFIER", **answers)["AuthenticationResult"]


def test_a_code_by_email_signs_in(server, choice_app, person):
    username, email = person
    begun = choice_app.initiate("USER_AUTH", USERNAME=username, PREFERRED_CHALLENGE="EMAIL_OTP")
    assert begun["ChallengeName"] == "EMAIL_OTP"
    assert begun["ChallengeParameters"]["CODE_DELIVERY_DELIVERY_MEDIUM"] == "EMAIL"
    code = newest_code(server, email)
    with refused("CodeMismatchException", "Invalid code or auth state for the user."):
        choice_app.respond("EMAIL_OTP", begun["Session"], **choice_app.parameters(username, EMAIL_OTP_CODE=wrong(code)))
    answers = choice_app.parameters(username, EMAIL_OTP_CODE=code)
    assert choice_app.respond("EMAIL_OTP", begun["Session"], **answers)["AuthenticationResult"]["RefreshToken"]
    with refused("NotAuthorizedException", "Invalid session for the user, session can only be used once."):
        choice_app.respond("EMAIL_OTP", begun["Session"], **answers)


def test_s03_who_does_not_exist_is_offered_the_same(choice_pool, person):
    hiding = choice_pool.app_client(ExplicitAuthFlows=FLOWS, PreventUserExistenceErrors="ENABLED")
    names = [person[0], choice_pool.user(), unique("nobody")]
    for more in ({}, {"PREFERRED_CHALLENGE": "EMAIL_OTP"}, {"PREFERRED_CHALLENGE": "PASSWORD"}):
        answers = [hiding.initiate("USER_AUTH", USERNAME=name, **more) for name in names]
        forms = [
            (
                a["ChallengeName"],
                a.get("AvailableChallenges"),
                sorted(a["ChallengeParameters"]),
                len(a["Session"]),
                len(a["ResponseMetadata"]["HTTPHeaders"]),
            )
            for a in answers
        ]
        assert forms[0] == forms[1] == forms[2], more


def test_the_code_of_the_sign_up_signs_in_once(server, choice_app, cognito):
    email = f"{unique('mail')}@example.com"
    username = unique("user")
    session = choice_app.sign_up(username, email=email)["Session"]
    confirmed = choice_app.confirm(username, newest_code(server, email), Session=session)
    parameters = {"USERNAME": username}
    begin = lambda: cognito.initiate_auth(  # noqa: E731
        ClientId=choice_app.id, AuthFlow="USER_AUTH", AuthParameters=parameters, Session=confirmed["Session"]
    )
    assert begin()["AuthenticationResult"]["AccessToken"]
    with refused("NotAuthorizedException", "Invalid session for the user, session can only be used once."):
        begin()


def test_a_user_is_told_how_to_sign_in(choice_app, person, cognito):
    token = choice_app.tokens(person[0])["AccessToken"]
    answer = cognito.get_user_auth_factors(AccessToken=token)
    assert answer["Username"] == person[0]
    assert answer["ConfiguredUserAuthFactors"] == ["PASSWORD", "EMAIL_OTP"]


def test_s19_a_choice_needs_the_flow(choice_pool, person):
    with refused("InvalidParameterException", "USER_AUTH flow not enabled for this client"):
        choice_pool.app_client().initiate("USER_AUTH", USERNAME=person[0])
