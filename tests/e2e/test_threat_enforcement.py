"""What threat protection does with ENFORCED, by boto3."""

import pytest

from harness.cognito import PASSWORD, Pool, boto_client, inbox, newest_code, refused, unique
from harness.second_factors import FLOWS, code_to, set_mfa, set_up_app, switch_on_app
from harness.srp import Exchange
from test_threat_protection import LEAKED, device, events, risk, sha1, sign_in

BLOCKED = "Unable to login because of security reasons."
KNOWN = "Provided password cannot be used for security reasons."
HOME, ABROAD = "192.0.2.1", "198.51.100.1"


def enforced(server, cognito, **settings):
    return Pool(
        server,
        cognito,
        UserPoolTier="PLUS",
        UserPoolAddOns={"AdvancedSecurityMode": "ENFORCED"},
        AutoVerifiedAttributes=["email"],
        **settings,
    )


@pytest.fixture
def pool(server, cognito):
    return enforced(server, cognito)


def with_context(pool):
    """A client that says where its users come from."""
    return pool.app_client(secret=True, ExplicitAuthFlows=FLOWS, EnablePropagateAdditionalUserContextData=True)


def act(pool, low, medium="BLOCK", high="BLOCK", **more):
    """What is done at each level."""
    levels = {"LowAction": low, "MediumAction": medium, "HighAction": high}
    actions = {level: {"EventAction": action, "Notify": False} for level, action in levels.items()}
    pool.cognito.set_risk_configuration(
        UserPoolId=pool.id, AccountTakeoverRiskConfiguration={"Actions": actions}, **more
    )


@pytest.fixture
def strict_server(start_server, tmp_path):
    """Its operator has a list of passwords."""
    passwords = tmp_path / "pwned.txt"
    passwords.write_text(f"{sha1(LEAKED)}:7\n")
    return start_server(options=["--compromised-passwords", str(passwords)])


def sign_in_by_srp(app, username, password):
    exchange = Exchange(app.pool.id, password)
    begun = app.initiate("USER_SRP_AUTH", USERNAME=username, SRP_A=exchange.srp_a)
    return app.respond("PASSWORD_VERIFIER", **exchange.responses(begun["ChallengeParameters"]))


def test_a_password_that_others_know_is_not_taken(strict_server):
    pool = enforced(strict_server, boto_client(strict_server))
    app, username = pool.app_client(), unique("ada")
    email = f"{username}@example.com"
    with refused("InvalidPasswordException", KNOWN):
        app.sign_up(username, password=LEAKED, email=email)
    app.sign_up(username, email=email)
    app.confirm(username, newest_code(strict_server, email))
    token = app.tokens(username)["AccessToken"]
    with refused("InvalidPasswordException", KNOWN):
        app.cognito.change_password(AccessToken=token, PreviousPassword=PASSWORD, ProposedPassword=LEAKED)
    app.cognito.forgot_password(ClientId=app.id, Username=username)
    given = {"ClientId": app.id, "Username": username, "ConfirmationCode": newest_code(strict_server, email)}
    with refused("InvalidPasswordException", KNOWN):
        app.cognito.confirm_forgot_password(Password=LEAKED, **given)
    app.tokens(username)
    app.cognito.confirm_forgot_password(Password="Other-horse-2", **given)
    app.tokens(username, "Other-horse-2")
    assert LEAKED not in strict_server.log()


def test_who_signs_in_with_one_sets_another_first(strict_server):
    """What administrators set is not looked at, and SRP sends nothing to look at."""
    pool = enforced(strict_server, boto_client(strict_server))
    app, email = pool.app_client(ExplicitAuthFlows=FLOWS), f"{unique('ada')}@example.com"
    username = pool.user(password=LEAKED, email=email, email_verified="true")
    assert "AuthenticationResult" in sign_in_by_srp(app, username, LEAKED)
    with refused("PasswordResetRequiredException"):
        app.password_sign_in(username, LEAKED)
    assert pool.status(username) == "RESET_REQUIRED"
    newest = events(pool, username)[0]
    assert newest["EventResponse"] == "Fail" and newest["EventRisk"]["RiskDecision"] == "Block"
    assert newest["EventRisk"]["CompromisedCredentialsDetected"] is True
    with refused("PasswordResetRequiredException"):
        sign_in_by_srp(app, username, LEAKED)
    app.cognito.forgot_password(ClientId=app.id, Username=username)
    app.cognito.confirm_forgot_password(
        ClientId=app.id, Username=username, ConfirmationCode=newest_code(strict_server, email), Password=PASSWORD
    )
    app.tokens(username)


def test_where_one_is_let_pass_it_is_only_told(strict_server):
    pool = enforced(strict_server, boto_client(strict_server))
    lenient, strict = pool.app_client(), pool.app_client()
    username = pool.user(password=LEAKED)
    pool.cognito.set_risk_configuration(
        UserPoolId=pool.id,
        ClientId=lenient.id,
        CompromisedCredentialsRiskConfiguration={"Actions": {"EventAction": "NO_ACTION"}},
    )
    lenient.tokens(username, LEAKED)
    assert events(pool, username)[0]["EventRisk"]["CompromisedCredentialsDetected"] is True
    with refused("PasswordResetRequiredException"):
        strict.password_sign_in(username, LEAKED)


def test_a_risky_sign_in_is_blocked(pool):
    act(pool, "BLOCK")
    client, username = with_context(pool), pool.user()
    sign_in(client, username, HOME, "phone")
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "phone")
    newest = events(pool, username)[0]
    assert risk(newest) == ("Block", "Low") and newest["EventResponse"] == "Fail"
    assert newest["ChallengeResponses"] == [{"ChallengeName": "Password", "ChallengeResponse": "Success"}]
    with refused("NotAuthorizedException", "Incorrect username or password."):
        sign_in(client, username, ABROAD, "phone", password="Wrong-horse-9")
    sign_in(client, username, HOME, "phone")


def test_nothing_is_tried_from_a_blocked_address(pool):
    client, username = with_context(pool), pool.user()
    act(pool, "BLOCK", RiskExceptionConfiguration={
        "BlockedIPRangeList": ["203.0.113.0/24"], "SkippedIPRangeList": ["198.51.100.0/24"]})  # fmt: skip
    sign_in(client, username, HOME, "phone")
    for name, password in [(username, PASSWORD), (username, "Wrong-horse-9"), ("nobody", PASSWORD)]:
        with refused("NotAuthorizedException", "Request not allowed due to security reasons."):
            sign_in(client, name, "203.0.113.7", "phone", password=password)
    with refused("NotAuthorizedException", "Request not allowed due to security reasons."):
        pool.cognito.sign_up(
            ClientId=client.id,
            Username="bob",
            Password=PASSWORD,
            UserContextData={"IpAddress": "203.0.113.7"},
            **client.proof("bob"),
        )
    sign_in(client, username, ABROAD, "laptop")


def test_a_risk_asks_for_a_second_factor(server, pool):
    """Nobody has switched one on: a risk asks for what the user has."""
    set_mfa(pool, "OPTIONAL")
    client, email = with_context(pool), f"{unique('ada')}@example.com"
    username = pool.user(email=email, email_verified="true")
    act(pool, "MFA_REQUIRED")
    assert "AuthenticationResult" in sign_in(client, username, HOME, "phone")
    begun = sign_in(client, username, ABROAD, "phone")
    assert begun["ChallengeName"] == "EMAIL_OTP"
    done = pool.cognito.respond_to_auth_challenge(
        ClientId=client.id,
        ChallengeName="EMAIL_OTP",
        Session=begun["Session"],
        ChallengeResponses=client.parameters(username, EMAIL_OTP_CODE=code_to(server, email)),
        UserContextData={"IpAddress": ABROAD, "EncodedData": device("phone")},
    )
    assert "AuthenticationResult" in done
    newest = events(pool, username)[0]
    assert risk(newest) == ("AccountTakeover", "Low") and newest["EventResponse"] == "Pass"
    assert [answer["ChallengeName"] for answer in newest["ChallengeResponses"]] == ["Password", "Mfa"]
    # the place is known by now
    assert "AuthenticationResult" in sign_in(client, username, ABROAD, "phone")


def test_an_app_is_asked_for_and_who_has_nothing_is_let_in_or_not(pool):
    set_mfa(pool, "OPTIONAL", email=False)
    client, username = with_context(pool), pool.user()
    sign_in(client, username, HOME, "phone")
    act(pool, "MFA_REQUIRED")
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "phone")
    act(pool, "MFA_IF_CONFIGURED")
    token = sign_in(client, username, ABROAD, "phone")["AuthenticationResult"]["AccessToken"]
    app = set_up_app(pool.cognito, token)
    switch_on_app(pool.cognito, token, preferred=False)
    begun = sign_in(client, username, "203.0.113.1", "phone")
    assert begun["ChallengeName"] == "SOFTWARE_TOKEN_MFA"
    answer = client.parameters(username, SOFTWARE_TOKEN_MFA_CODE=app.code())
    done = client.respond("SOFTWARE_TOKEN_MFA", begun["Session"], **answer)
    assert "AuthenticationResult" in done


def test_audit_blocks_nobody(server, cognito):
    pool = Pool(server, cognito, UserPoolTier="PLUS", UserPoolAddOns={"AdvancedSecurityMode": "AUDIT"})
    act(pool, "BLOCK")
    client, username = with_context(pool), pool.user()
    sign_in(client, username, HOME, "phone")
    sign_in(client, username, ABROAD, "laptop")
    assert risk(events(pool, username)[0]) == ("AccountTakeover", "Medium")
    assert inbox(server, "nobody@example.com") == []
