"""The history of what users do, by boto3."""

import base64
import hashlib
import json

import pytest

from harness.cognito import PASSWORD, Pool, boto_client, refused, unique
from harness.second_factors import FLOWS


@pytest.fixture(scope="module")
def pool(server, cognito):
    return Pool(server, cognito, UserPoolTier="PLUS", UserPoolAddOns={"AdvancedSecurityMode": "AUDIT"})


@pytest.fixture(scope="module")
def client(pool):
    """Says where its users come from."""
    return pool.app_client(secret=True, ExplicitAuthFlows=FLOWS, EnablePropagateAdditionalUserContextData=True)


def device(name):
    """What Amplify collects in a browser."""
    context = {"DeviceId": name, "UserAgent": f"{name}/1.0", "ClientTimezone": "01:00"}
    payload = json.dumps({"contextData": context, "username": "u", "userPoolId": "p", "timestamp": "0"})
    document = {"payload": payload, "signature": "s", "version": "JS20171115"}
    return base64.b64encode(json.dumps(document).encode()).decode()


def sign_in(client, username, address, name, password=PASSWORD):
    return client.cognito.initiate_auth(
        ClientId=client.id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters=client.parameters(username, PASSWORD=password),
        UserContextData={"IpAddress": address, "EncodedData": device(name)},
    )


def events(pool, username, **more):
    answer = pool.cognito.admin_list_user_auth_events(UserPoolId=pool.id, Username=username, **more)
    return answer["AuthEvents"]


def risk(event):
    return event["EventRisk"]["RiskDecision"], event["EventRisk"].get("RiskLevel")


def test_a_sign_in_is_judged_by_where_the_user_has_been(pool, client):
    username = pool.user()
    assert events(pool, username) == []
    sign_in(client, username, "192.0.2.1", "phone")
    sign_in(client, username, "192.0.2.77", "phone")
    sign_in(client, username, "198.51.100.1", "laptop")
    newest, same, first = events(pool, username)
    assert (risk(first), risk(same)) == (("NoRisk", None), ("NoRisk", None))
    assert risk(newest) == ("AccountTakeover", "Medium")
    assert newest["EventType"] == "SignIn" and newest["EventResponse"] == "Pass"
    assert newest["ChallengeResponses"] == [{"ChallengeName": "Password", "ChallengeResponse": "Success"}]
    assert newest["EventContextData"] == {
        "IpAddress": "198.51.100.1",
        "DeviceName": "laptop/1.0",
        "Timezone": "01:00",
    }
    # what an administrator says of it counts the next time
    pool.cognito.admin_update_auth_event_feedback(
        UserPoolId=pool.id, Username=username, EventId=newest["EventId"], FeedbackValue="Invalid"
    )
    assert events(pool, username)[0]["EventFeedback"]["FeedbackValue"] == "Invalid"
    sign_in(client, username, "198.51.100.1", "laptop")
    assert risk(events(pool, username)[0]) == ("AccountTakeover", "Medium")


def test_guesses_make_a_risk(pool, client):
    username = pool.user()
    sign_in(client, username, "192.0.2.1", "phone")
    for _ in range(5):
        with refused("NotAuthorizedException"):
            sign_in(client, username, "203.0.113.9", "robot", password="Wrong-horse-9")
    guess, *_ = events(pool, username)
    assert guess["EventResponse"] == "Fail"
    assert guess["ChallengeResponses"] == [{"ChallengeName": "Password", "ChallengeResponse": "Failure"}]
    assert len(events(pool, username)) == 6


def test_an_app_without_a_secret_does_not_say_where_its_users_are(pool):
    client = pool.app_client(ExplicitAuthFlows=FLOWS)
    username = pool.user()
    sign_in(client, username, "192.0.2.1", "phone")
    assert events(pool, username)[0]["EventContextData"]["IpAddress"] == "127.0.0.1"


def test_a_list_has_pages(pool, client):
    username = pool.user()
    for _ in range(3):
        sign_in(client, username, "192.0.2.1", "phone")
    pages = pool.cognito.get_paginator("admin_list_user_auth_events").paginate(
        UserPoolId=pool.id, Username=username, PaginationConfig={"PageSize": 2}
    )
    sizes = [len(page["AuthEvents"]) for page in pages]
    assert sizes == [2, 1]


def test_it_has_to_be_on(make_pool, cognito):
    pool = make_pool()
    username = pool.user()
    with refused("UserPoolAddOnNotEnabledException"):
        cognito.admin_list_user_auth_events(UserPoolId=pool.id, Username=username)
    with refused("UserPoolAddOnNotEnabledException"):
        cognito.admin_update_auth_event_feedback(
            UserPoolId=pool.id, Username=username, EventId="e", FeedbackValue="Valid"
        )
    with refused("FeatureUnavailableInTierException"):
        make_pool(UserPoolAddOns={"AdvancedSecurityMode": "AUDIT"})


LEAKED = "Leaked-horse-1"


def sha1(password):
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def detected(pool, username):
    """Type and CompromisedCredentialsDetected of each event, the newest first."""
    return [(e["EventType"], e["EventRisk"].get("CompromisedCredentialsDetected")) for e in events(pool, username)]


def test_compromised_passwords_are_told_and_nobody_is_refused(start_server, tmp_path):
    """As Have I Been Pwned writes them: SHA-1, a colon, a count, and the end of a line of two bytes."""
    passwords = tmp_path / "pwned.txt"
    listed = sorted(f"{sha1(password)}:{count}\r\n" for password, count in [(LEAKED, 7), ("123456", 37359195)])
    passwords.write_bytes("".join(listed).encode())
    server = start_server(options=["--compromised-passwords", str(passwords)])
    pool = Pool(
        server, boto_client(server), UserPoolTier="PLUS", UserPoolAddOns={"AdvancedSecurityMode": "AUDIT"}
    )
    app = pool.app_client(ExplicitAuthFlows=[*FLOWS, "ALLOW_ADMIN_USER_PASSWORD_AUTH"])
    username = unique("ada")
    app.cognito.sign_up(ClientId=app.id, Username=username, Password=LEAKED)
    pool.cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username=username)
    assert detected(pool, username) == [("SignUp", True)]
    signed_in = app.cognito.initiate_auth(
        ClientId=app.id, AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": username, "PASSWORD": LEAKED}
    )
    assert detected(pool, username)[0] == ("SignIn", True)
    app.cognito.change_password(
        AccessToken=signed_in["AuthenticationResult"]["AccessToken"], PreviousPassword=LEAKED, ProposedPassword=PASSWORD
    )
    assert detected(pool, username)[0] == ("PasswordChange", False)
    pool.cognito.admin_initiate_auth(
        UserPoolId=pool.id,
        ClientId=app.id,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD},
    )
    assert detected(pool, username)[0] == ("SignIn", False)
    # what a wrong guess is on says nothing of the user
    with refused("NotAuthorizedException"):
        app.cognito.initiate_auth(
            ClientId=app.id, AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": username, "PASSWORD": LEAKED}
        )
    assert detected(pool, username)[0] == ("SignIn", None)
    assert LEAKED not in server.log() and sha1(LEAKED) not in server.log()


def test_a_list_with_a_line_that_is_none_is_refused_at_start(start_server, tmp_path):
    passwords = tmp_path / "pwned.txt"
    passwords.write_text(f"{sha1(LEAKED)}\n{LEAKED}\n")
    with pytest.raises(RuntimeError, match="line 2 is not a SHA-1 hash") as ended:
        start_server(options=["--compromised-passwords", str(passwords)])
    assert LEAKED not in str(ended.value)
