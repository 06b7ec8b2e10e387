"""That no way to tokens leads past what threat protection does about a risk."""

import pytest

from harness.cognito import PASSWORD, AppClient, newest_code, refused, unique
from harness.functions import asking
from harness.second_factors import FLOWS, phone_number, set_mfa, set_up_app, switch_on_app
from harness.srp import Exchange
from test_devices import ALWAYS, Device
from test_threat_enforcement import ABROAD, BLOCKED, HOME, act, enforced
from test_threat_protection import events, risk


class Placed(AppClient):
    """An app client whose users are somewhere."""

    def __init__(self, client, address):
        super().__init__(client.pool, client.description)
        self.address = {"IpAddress": address}

    def _signed(self, parameters):
        return {**parameters, **self.parameters(parameters["USERNAME"])}

    def initiate(self, flow, **parameters):
        return self.cognito.initiate_auth(
            ClientId=self.id,
            AuthFlow=flow,
            AuthParameters=self._signed(parameters),
            UserContextData=self.address,
        )

    def respond(self, challenge, session=None, **responses):
        more = {"Session": session} if session else {}
        return self.cognito.respond_to_auth_challenge(
            ClientId=self.id,
            ChallengeName=challenge,
            ChallengeResponses=self._signed(responses),
            UserContextData=self.address,
            **more,
        )


def at_two_places(pool, **settings):
    client = pool.app_client(
        secret=True, EnablePropagateAdditionalUserContextData=True, **{"ExplicitAuthFlows": FLOWS, **settings}
    )
    return Placed(client, HOME), Placed(client, ABROAD)


def by_code(app, username, email):
    begun = app.initiate("USER_AUTH", USERNAME=username, PREFERRED_CHALLENGE="EMAIL_OTP")
    assert begun["ChallengeName"] == "EMAIL_OTP"
    code = newest_code(app.pool.server, email)
    return app.respond("EMAIL_OTP", begun["Session"], USERNAME=username, EMAIL_OTP_CODE=code)


@pytest.fixture
def codes_pool(server, cognito):
    """Codes by e-mail sign in, and an app or a phone is a second factor."""
    policies = {"SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "EMAIL_OTP"]}}
    pool = enforced(server, cognito, Policies=policies)
    set_mfa(pool, "OPTIONAL", email=False)
    return pool


def person(pool, **attributes):
    email = f"{unique('mail')}@example.com"
    return pool.user(email=email, email_verified="true", **attributes), email


def test_a_code_is_one_factor(codes_pool):
    home, abroad = at_two_places(codes_pool)
    reachable, alone = person(codes_pool, phone_number=phone_number()), person(codes_pool)
    act(codes_pool, "MFA_IF_CONFIGURED")
    for who in (reachable, alone):
        assert "AuthenticationResult" in by_code(home, *who)
    assert "AuthenticationResult" in by_code(abroad, *alone)
    with refused("NotAuthorizedException", BLOCKED):
        by_code(abroad, *reachable)
    # the way in is the password, and the second factor after it
    assert abroad.password_sign_in(reachable[0])["ChallengeName"] == "SMS_MFA"


def test_a_code_is_blocked_like_a_password(codes_pool):
    home, abroad = at_two_places(codes_pool)
    username, email = person(codes_pool)
    act(codes_pool, "BLOCK")
    assert "AuthenticationResult" in by_code(home, username, email)
    with refused("NotAuthorizedException", BLOCKED):
        by_code(abroad, username, email)
    assert risk(events(codes_pool, username)[0]) == ("Block", "Low")


def test_a_remembered_device_does_not_stand_for_a_second_factor(server, cognito):
    pool = enforced(server, cognito, DeviceConfiguration=ALWAYS)
    set_mfa(pool, "OPTIONAL", email=False)
    home, abroad = at_two_places(pool)
    device = Device(home, pool.user())
    app = set_up_app(cognito, device.tokens["AccessToken"])
    switch_on_app(cognito, device.tokens["AccessToken"])
    act(pool, "MFA_IF_CONFIGURED")
    assert device.sign_in()["AccessToken"]
    device.app = abroad
    given = {"USERNAME": device.username, "PASSWORD": PASSWORD, "DEVICE_KEY": device.key}
    begun = abroad.initiate("USER_PASSWORD_AUTH", **given)
    assert begun["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    answer = {"USERNAME": device.username, "SOFTWARE_TOKEN_MFA_CODE": app.code()}
    # and then the device proves itself as ever
    assert device.prove(abroad.respond("SOFTWARE_TOKEN_MFA", begun["Session"], **answer))["AccessToken"]


def test_custom_sign_ins_are_blocked_where_their_mode_says_so(server, cognito, functions):
    add_ons = {"AdvancedSecurityMode": "ENFORCED", "AdvancedSecurityAdditionalFlows": {"CustomAuthMode": "ENFORCED"}}
    pool = enforced(server, cognito, LambdaConfig=asking())
    cognito.update_user_pool(UserPoolId=pool.id, UserPoolAddOns=add_ons, LambdaConfig=asking())
    home, abroad = at_two_places(pool, ExplicitAuthFlows=["ALLOW_CUSTOM_AUTH"])
    username = pool.user()
    act(pool, "BLOCK")

    def sign_in(app):
        begun = app.initiate("CUSTOM_AUTH", USERNAME=username)
        return app.respond("CUSTOM_CHALLENGE", begun["Session"], USERNAME=username, ANSWER="42")

    assert "AuthenticationResult" in sign_in(home)
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(abroad)
    assert risk(events(pool, username)[0]) == ("Block", "Low")
    del add_ons["AdvancedSecurityAdditionalFlows"]
    cognito.update_user_pool(UserPoolId=pool.id, UserPoolAddOns=add_ons, LambdaConfig=asking())
    assert "AuthenticationResult" in sign_in(abroad)
    assert risk(events(pool, username)[0]) == ("AccountTakeover", "Low")


def test_srp_is_blocked_after_the_proof(server, cognito):
    """The first half shows nothing, and a wrong password is told as ever."""
    pool = enforced(server, cognito)
    home, abroad = at_two_places(pool)
    username = pool.user()
    act(pool, "BLOCK")

    def sign_in(app, password=PASSWORD):
        exchange = Exchange(pool.id, password)
        begun = app.initiate("USER_SRP_AUTH", USERNAME=username, SRP_A=exchange.srp_a)
        return app.respond("PASSWORD_VERIFIER", **exchange.responses(begun["ChallengeParameters"]))

    assert "AuthenticationResult" in sign_in(home)
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(abroad)
    with refused("NotAuthorizedException", "Incorrect username or password."):
        sign_in(abroad, "Wrong-horse-9")
