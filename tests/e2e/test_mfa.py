"""Second factors: authenticator apps, text messages, e-mail; setting them up and signing in with them."""

import re

import pytest

from harness.cognito import NEW_PASSWORD, PASSWORD, attributes, refused, unique, wrong
from harness.second_factors import (
    FLOWS,
    App,
    asking,
    code_to,
    phone_number,
    prefer,
    set_mfa,
    set_up_app,
    switch_on_app,
    user_with_app,
)
from harness.srp import Exchange

APP = "SOFTWARE_TOKEN_MFA"


@pytest.fixture(scope="module")
def mfa_pool(server, cognito):
    return asking(server, cognito)


@pytest.fixture(scope="module")
def mfa_app(mfa_pool):
    return mfa_pool.app_client(ExplicitAuthFlows=FLOWS)


@pytest.fixture
def strict_pool(server, cognito):
    """A pool that asks everybody, for an app."""
    pool = asking(server, cognito)
    pool.cognito.set_user_pool_mfa_config(
        UserPoolId=pool.id, MfaConfiguration="ON", SoftwareTokenMfaConfiguration={"Enabled": True}
    )
    return pool


def test_the_setting_is_described_and_replaced_as_a_whole(server, cognito):
    pool = asking(server, cognito, "ON")
    answer = cognito.get_user_pool_mfa_config(UserPoolId=pool.id)
    assert answer["MfaConfiguration"] == "ON"
    assert answer["SoftwareTokenMfaConfiguration"] == {"Enabled": True}
    assert answer["EmailMfaConfiguration"] == {"Message": "Your code: {####}", "Subject": "Come in"}
    assert answer["SmsMfaConfiguration"]["SmsConfiguration"]["SnsCallerArn"]
    described = cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]
    assert described["MfaConfiguration"] == "ON"
    cognito.update_user_pool(UserPoolId=pool.id, SmsConfiguration=answer["SmsMfaConfiguration"]["SmsConfiguration"])
    assert cognito.get_user_pool_mfa_config(UserPoolId=pool.id)["MfaConfiguration"] == "ON"
    cognito.set_user_pool_mfa_config(UserPoolId=pool.id, MfaConfiguration="OFF")
    answer = cognito.get_user_pool_mfa_config(UserPoolId=pool.id)
    assert answer["MfaConfiguration"] == "OFF"
    assert "SoftwareTokenMfaConfiguration" not in answer


def test_a_pool_that_asks_has_something_to_ask_for(pool, cognito):
    with refused(
        "InvalidParameterException",
        "SMS configuration and Auto verification for phone_number are required when MFA is required/optional",
    ):
        cognito.create_user_pool(PoolName=unique("pool"), MfaConfiguration="ON")
    with refused("InvalidParameterException", re.compile("Invalid MFA Configuration given. .* must be enabled.")):
        cognito.set_user_pool_mfa_config(UserPoolId=pool.id, MfaConfiguration="ON")


def test_an_app_is_set_up_switched_on_and_asked_for(mfa_pool, mfa_app, cognito):
    username = mfa_pool.user()
    token = mfa_app.tokens(username)["AccessToken"]
    with refused("InvalidParameterException", "User has not set up software token mfa"):
        switch_on_app(cognito, token)
    secret = cognito.associate_software_token(AccessToken=token)["SecretCode"]
    with refused("InvalidParameterException", "User has not verified software token mfa"):
        switch_on_app(cognito, token)
    app = App(secret)
    with refused("EnableSoftwareTokenMFAException", "Code mismatch"):
        cognito.verify_software_token(AccessToken=token, UserCode=wrong(App(secret).code()))
    answer = cognito.verify_software_token(AccessToken=token, UserCode=app.code(), FriendlyDeviceName="my phone")
    assert answer["Status"] == "SUCCESS"
    assert mfa_app.tokens(username)
    switch_on_app(cognito, token)
    shown = cognito.get_user(AccessToken=token)
    assert (shown["UserMFASettingList"], shown["PreferredMfaSetting"]) == ([APP], APP)
    shown = mfa_pool.get(username)
    assert (shown["UserMFASettingList"], shown["PreferredMfaSetting"]) == ([APP], APP)

    begun = mfa_app.password_sign_in(username)
    assert begun["ChallengeName"] == APP
    assert begun["ChallengeParameters"] == {"USER_ID_FOR_SRP": username, "FRIENDLY_DEVICE_NAME": "my phone"}
    code = app.code()
    answers = mfa_app.parameters(username, SOFTWARE_TOKEN_MFA_CODE=code)
    assert mfa_app.respond(APP, begun["Session"], **answers)["AuthenticationResult"]["AccessToken"]
    with refused("NotAuthorizedException", "Invalid session for the user, session can only be used once."):
        mfa_app.respond(APP, begun["Session"], **answers)
    with refused("ExpiredCodeException", "Your software token has already been used once."):
        mfa_app.respond(APP, mfa_app.password_sign_in(username)["Session"], **answers)


def test_s12_wrong_codes_are_counted_in_all_sessions(mfa_pool, mfa_app):
    username, app = user_with_app(mfa_pool, mfa_app)
    sessions = [mfa_app.password_sign_in(username)["Session"] for _ in range(6)]
    code = app.code()
    for session in sessions[:5]:
        with refused("CodeMismatchException", "Invalid code received for user"):
            mfa_app.respond(APP, session, **mfa_app.parameters(username, SOFTWARE_TOKEN_MFA_CODE=wrong(code)))
    with refused("NotAuthorizedException"):
        mfa_app.respond(APP, sessions[4], **mfa_app.parameters(username, SOFTWARE_TOKEN_MFA_CODE=code))


def test_srp_leads_to_the_app(mfa_pool, mfa_app):
    username, app = user_with_app(mfa_pool, mfa_app)
    exchange = Exchange(mfa_pool.id, PASSWORD)
    begun = mfa_app.initiate("USER_SRP_AUTH", **mfa_app.parameters(username, SRP_A=exchange.srp_a))
    answer = mfa_app.respond("PASSWORD_VERIFIER", **exchange.responses(begun["ChallengeParameters"]))
    assert answer["ChallengeName"] == APP
    answers = mfa_app.parameters(username, SOFTWARE_TOKEN_MFA_CODE=app.code())
    assert mfa_app.respond(APP, answer["Session"], **answers)["AuthenticationResult"]


def test_text_messages_and_email(server, mfa_pool, mfa_app):
    number, email = phone_number(), f"{unique('mail')}@example.com"
    username = mfa_pool.user(phone_number=number, email=email, email_verified="true")
    for factor, challenge, key, address in [
        ({"sms": True}, "SMS_MFA", "SMS_MFA_CODE", number),
        ({"email": True}, "EMAIL_OTP", "EMAIL_OTP_CODE", email),
    ]:
        prefer(mfa_pool, username, **factor)
        begun = mfa_app.password_sign_in(username)
        assert begun["ChallengeName"] == challenge
        assert begun["ChallengeParameters"]["CODE_DELIVERY_DESTINATION"]
        code = code_to(server, address)
        with refused("CodeMismatchException", "Invalid code or auth state for the user."):
            mfa_app.respond(challenge, begun["Session"], **mfa_app.parameters(username, **{key: wrong(code)}))
        answer = mfa_app.respond(challenge, begun["Session"], **mfa_app.parameters(username, **{key: code}))
        assert answer["AuthenticationResult"]
    assert dict((a["Name"], a["Value"]) for a in mfa_pool.get(username)["UserAttributes"])["phone_number_verified"] == "true"
    assert mfa_pool.get(username)["UserMFASettingList"] == ["SMS_MFA", "EMAIL_OTP"]


def test_who_has_several_factors_chooses(server, mfa_pool, mfa_app, cognito):
    number = phone_number()
    username = mfa_pool.user(phone_number=number)
    token = mfa_app.tokens(username)["AccessToken"]
    app = set_up_app(cognito, token)
    prefer(mfa_pool, username, sms=False, app=False)
    begun = mfa_app.password_sign_in(username)
    assert begun["ChallengeName"] == "SELECT_MFA_TYPE"
    assert begun["ChallengeParameters"]["MFAS_CAN_CHOOSE"] == '["SMS_MFA","SOFTWARE_TOKEN_MFA"]'
    chosen = mfa_app.respond("SELECT_MFA_TYPE", begun["Session"], **mfa_app.parameters(username, ANSWER=APP))
    answers = mfa_app.parameters(username, SOFTWARE_TOKEN_MFA_CODE=app.code())
    assert mfa_app.respond(APP, chosen["Session"], **answers)["AuthenticationResult"]
    begun = mfa_app.password_sign_in(username)
    chosen = mfa_app.respond("SELECT_MFA_TYPE", begun["Session"], **mfa_app.parameters(username, ANSWER="SMS_MFA"))
    answers = mfa_app.parameters(username, SMS_MFA_CODE=code_to(server, number))
    assert mfa_app.respond("SMS_MFA", chosen["Session"], **answers)["AuthenticationResult"]


def test_where_everybody_is_asked_an_app_is_set_up_in_the_middle_of_the_sign_in(strict_pool, cognito):
    client = strict_pool.app_client()
    username = strict_pool.user()
    begun = client.password_sign_in(username)
    assert begun["ChallengeName"] == "MFA_SETUP"
    assert APP in begun["ChallengeParameters"]["MFAS_CAN_SETUP"]
    seed = cognito.associate_software_token(Session=begun["Session"])
    app = App(seed["SecretCode"])
    verified = cognito.verify_software_token(Session=seed["Session"], UserCode=app.code())
    assert verified["Status"] == "SUCCESS"
    done = client.respond("MFA_SETUP", verified["Session"], **client.parameters(username))
    assert done["AuthenticationResult"]["AccessToken"]
    begun = client.password_sign_in(username)
    assert begun["ChallengeName"] == APP
    answers = client.parameters(username, SOFTWARE_TOKEN_MFA_CODE=app.code())
    assert client.respond(APP, begun["Session"], **answers)["AuthenticationResult"]
    with refused("NotAuthorizedException", re.compile("Invalid session for the user.*")):
        cognito.associate_software_token(Session=begun["Session"])


def test_a_new_password_comes_before_the_second_factor(server, mfa_pool, mfa_app, cognito):
    username, number = unique("user"), phone_number()
    cognito.admin_create_user(
        UserPoolId=mfa_pool.id,
        Username=username,
        TemporaryPassword=PASSWORD,
        MessageAction="SUPPRESS",
        UserAttributes=attributes({"phone_number": number, "phone_number_verified": "true"}),
    )
    prefer(mfa_pool, username, sms=True)
    begun = mfa_app.password_sign_in(username)
    answer = mfa_app.respond(
        "NEW_PASSWORD_REQUIRED", begun["Session"], **mfa_app.parameters(username, NEW_PASSWORD=NEW_PASSWORD)
    )
    assert answer["ChallengeName"] == "SMS_MFA"
    assert "AuthenticationResult" not in answer
    answers = mfa_app.parameters(username, SMS_MFA_CODE=code_to(server, number))
    assert mfa_app.respond("SMS_MFA", answer["Session"], **answers)["AuthenticationResult"]


def test_the_older_settings_switch_text_messages_on(mfa_pool, mfa_app, cognito):
    username = mfa_pool.user(phone_number=phone_number())
    token = mfa_app.tokens(username)["AccessToken"]
    options = [{"DeliveryMedium": "SMS", "AttributeName": "phone_number"}]
    cognito.set_user_settings(AccessToken=token, MFAOptions=options)
    assert cognito.get_user(AccessToken=token)["MFAOptions"] == options
    assert mfa_app.password_sign_in(username)["ChallengeName"] == "SMS_MFA"
    cognito.admin_set_user_settings(UserPoolId=mfa_pool.id, Username=username, MFAOptions=[])
    assert mfa_app.tokens(username)


def test_a_server_signs_its_user_in(mfa_pool, mfa_app, cognito):
    username, app = user_with_app(mfa_pool, mfa_app)
    parameters = {"USERNAME": username, "PASSWORD": PASSWORD}
    context = {"IpAddress": "192.0.2.1", "ServerName": "app", "ServerPath": "/", "HttpHeaders": []}
    for flow in ("ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"):
        begun = cognito.admin_initiate_auth(
            UserPoolId=mfa_pool.id, ClientId=mfa_app.id, AuthFlow=flow, AuthParameters=parameters, ContextData=context
        )
        assert begun["ChallengeName"] == APP
    done = cognito.admin_respond_to_auth_challenge(
        UserPoolId=mfa_pool.id,
        ClientId=mfa_app.id,
        ChallengeName=APP,
        Session=begun["Session"],
        ChallengeResponses={"USERNAME": username, "SOFTWARE_TOKEN_MFA_CODE": app.code()},
        ContextData=context,
    )
    token = {"REFRESH_TOKEN": done["AuthenticationResult"]["RefreshToken"]}
    again = cognito.admin_initiate_auth(
        UserPoolId=mfa_pool.id, ClientId=mfa_app.id, AuthFlow="REFRESH_TOKEN_AUTH", AuthParameters=token
    )
    assert again["AuthenticationResult"]["AccessToken"]
    with refused("InvalidParameterException", "Auth flow not enabled for this client"):
        cognito.admin_initiate_auth(
            UserPoolId=mfa_pool.id,
            ClientId=mfa_pool.app_client().id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters=parameters,
        )


def table():
    """The lines of the table of sign-in that a client without secrets can set up from outside."""
    from harness.server import ROOT

    lines = (ROOT / "crates" / "identity" / "testdata" / "sign_in.txt").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines if not line.startswith("#")]
    chosen = {"nothing", "a number", "an app, off", "an app", "SMS", "an app and SMS", "an app and SMS, prefers the app"}
    return [
        (asks, has, steps)
        for state, flow, asks, has, steps in cells
        if (state, flow) == ("CONFIRMED", "USER_PASSWORD_AUTH") and has in chosen
    ]


@pytest.fixture(scope="module", params=["OFF", "OPTIONAL", "ON"])
def table_pool(request, server, cognito):
    """A pool that will ask, with a user for each line; then it asks."""
    pool = asking(server, cognito)
    client = pool.app_client()
    users = {}
    for asks, has, steps in table():
        if asks != request.param:
            continue
        number = phone_number() if "number" in has or "SMS" in has else None
        username = pool.user(**({"phone_number": number} if number else {}))
        if "an app" in has:
            set_up_app(cognito, client.tokens(username)["AccessToken"])
        factors = {}
        if has in {"an app", "an app and SMS", "an app and SMS, prefers the app"}:
            factors["app"] = "prefers" in has
        if "SMS" in has:
            factors["sms"] = False
        if factors:
            prefer(pool, username, **factors)
        users[has] = (username, steps)
    if request.param == "OFF":
        cognito.set_user_pool_mfa_config(UserPoolId=pool.id, MfaConfiguration="OFF")
    else:
        set_mfa(pool, request.param, email=False)
    return client, users


def test_s15_the_table_of_sign_in_is_what_the_server_does(table_pool):
    client, users = table_pool
    assert len(users) == 7
    for has, (username, steps) in users.items():
        first = steps.split(" > ")[0]
        answer = client.password_sign_in(username)
        if first == "tokens":
            assert "AuthenticationResult" in answer, has
            continue
        assert "AuthenticationResult" not in answer, has
        name, _, choices = first.partition(" of ")
        assert answer["ChallengeName"] == name, has
        if choices:
            listed = answer["ChallengeParameters"].get("MFAS_CAN_CHOOSE") or answer["ChallengeParameters"]["MFAS_CAN_SETUP"]
            assert listed == str(choices.split(", ")).replace("'", '"').replace(" ", ""), has


def test_an_address_that_is_a_second_factor_does_not_recover_the_account(mfa_pool, mfa_app, cognito):
    username = mfa_pool.user(email=f"{unique('mail')}@example.com", email_verified="true")
    cognito.forgot_password(ClientId=mfa_app.id, Username=username)
    prefer(mfa_pool, username, email=True)
    with refused("InvalidParameterException", re.compile("Cannot reset password for the user .*")):
        cognito.forgot_password(ClientId=mfa_app.id, Username=username)
