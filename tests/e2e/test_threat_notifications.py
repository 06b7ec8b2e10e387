"""What users are told of risky sign-ins by e-mail, and what they say of them, by boto3."""

import re
import urllib.parse

import boto3
import botocore
import pytest
import requests

from harness.cognito import Pool, boto_client, inbox, refused, unique
from harness.mail import Mail
from harness.second_factors import set_mfa
from harness.server import until
from test_threat_enforcement import ABROAD, BLOCKED, HOME, enforced, with_context
from test_threat_protection import device, events, risk, sign_in

FACTS = "time={login-time} device={device-name} ip={ip-address} city={city} country={country}"
LINKS = "valid={one-click-link-valid} invalid={one-click-link-invalid}"
TOKEN = "user={username} event={event-id} token={feedback-token}"


def template(subject):
    text = f"{FACTS} {LINKS} {TOKEN}"
    return {"Subject": subject, "HtmlBody": f"<p>{text}</p>", "TextBody": text}


NOTIFY = {
    "From": "Security <security@example.com>",
    "ReplyTo": "help@example.com",
    "SourceArn": "arn:aws:ses:us-east-1:111122223333:identity/example.com",
    "BlockEmail": template("Blocked"),
    "MfaEmail": template("Second factor"),
    "NoActionEmail": template("Nothing done"),
}


def tell(pool, action, notify=NOTIFY):
    """The same action at all levels, which users are told of."""
    level = {"EventAction": action, "Notify": True}
    actions = {name: level for name in ("LowAction", "MediumAction", "HighAction")}
    risks = {"Actions": actions, "NotifyConfiguration": notify}
    pool.cognito.set_risk_configuration(UserPoolId=pool.id, AccountTakeoverRiskConfiguration=risks)


def words(text):
    """What the template has been filled in with."""
    text = text.strip().removeprefix("<p>").removesuffix("</p>").replace("&amp;", "&")
    found = re.fullmatch(
        r"time=(?P<time>\S+ \S+ UTC) device=(?P<device>\S+) ip=(?P<ip>\S+) city=(?P<city>\S+) country=(?P<country>\S+)"
        r" valid=(?P<valid>\S+) invalid=(?P<invalid>\S+) user=(?P<user>\S+) event=(?P<event>\S+) token=(?P<token>\S+)",
        text,
    )
    assert found, text
    return found.groupdict()


@pytest.fixture
def mail(tmp_path):
    mail = Mail(tmp_path / "mail").start()
    yield mail
    mail.stop()


@pytest.fixture
def server(start_server, mail):
    return start_server(options=["--smtp", f"smtp://127.0.0.1:{mail.port}", "--smtp-from", "dev@example.org"])


@pytest.fixture
def pool(server):
    return enforced(server, boto_client(server))


def anybody(server):
    """A client without keys."""
    config = botocore.config.Config(signature_version=botocore.UNSIGNED)
    return boto3.client("cognito-idp", endpoint_url=server.endpoint, region_name="us-east-1", config=config)


def given(pool, told, value, **other):
    """What UpdateAuthEventFeedback takes."""
    return {
        "UserPoolId": pool.id,
        "Username": told["user"],
        "EventId": told["event"],
        "FeedbackToken": told["token"],
        "FeedbackValue": value,
        **other,
    }


def at_home(pool, client):
    """Somebody who has signed in at home."""
    to = f"{unique('reader')}@example.com"
    username = pool.user(email=to, email_verified="true")
    sign_in(client, username, HOME, "phone")
    return username, to


def test_a_blocked_sign_in_is_told_by_mail_and_the_user_answers(server, mail, pool):
    client = with_context(pool)
    tell(pool, "BLOCK")
    username, to = at_home(pool, client)
    # nobody without the password makes mail
    with refused("NotAuthorizedException"):
        sign_in(client, username, ABROAD, "laptop", password="Wrong-horse-9")
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "laptop")
    message = mail.wait_for(to)
    assert len(mail.to(to)) == 1
    assert message["Subject"] == "Blocked"
    assert (message["From"], message["Reply-To"]) == ("Security <security@example.com>", "help@example.com")
    assert message.get_content_type() == "multipart/alternative"
    plain = words(message.get_body(("plain",)).get_content())
    assert plain == words(message.get_body(("html",)).get_content())
    newest = events(pool, username)[0]
    assert (plain["user"], plain["event"], plain["ip"]) == (username, newest["EventId"], ABROAD)
    assert (plain["device"], plain["city"], plain["country"]) == ("laptop/1.0", "unknown", "unknown")

    user = anybody(server)
    user.update_auth_event_feedback(**given(pool, plain, "Valid"))
    feedback = events(pool, username)[0]["EventFeedback"]
    assert (feedback["FeedbackValue"], feedback["Provider"]) == ("Valid", "User")
    # the place is one of the user's now
    assert "AuthenticationResult" in sign_in(client, username, ABROAD, "laptop")
    user.update_auth_event_feedback(**given(pool, plain, "Invalid"))
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "laptop")
    assert plain["token"] not in server.log()


def test_a_token_is_good_for_its_user_and_event_alone(server, mail, pool):
    client = with_context(pool)
    tell(pool, "NO_ACTION")
    username, to = at_home(pool, client)
    other, _ = at_home(pool, client)
    sign_in(client, username, ABROAD, "laptop")
    message = mail.wait_for(to)
    assert message["Subject"] == "Nothing done"
    told = words(message.get_body(("plain",)).get_content())
    user = anybody(server)
    for wrong in [
        {"Username": other},
        {"Username": "nobody"},
        {"EventId": events(pool, username)[1]["EventId"]},
        {"FeedbackToken": "x"},
        {"FeedbackToken": told["token"][:-4]},
    ]:
        with refused("NotAuthorizedException", "Invalid feedback token."):
            user.update_auth_event_feedback(**given(pool, told, "Valid", **wrong))
    elsewhere = enforced(server, pool.cognito)
    with refused("NotAuthorizedException", "Invalid feedback token."):
        user.update_auth_event_feedback(**given(elsewhere, told, "Valid"))
    with refused("ResourceNotFoundException"):
        user.update_auth_event_feedback(**given(pool, told, "Valid", UserPoolId="us-east-1_AAAAAAAAA"))
    with refused("UserPoolAddOnNotEnabledException"):
        user.update_auth_event_feedback(**given(Pool(server, pool.cognito), told, "Valid"))
    assert "EventFeedback" not in events(pool, username)[0]


def test_a_second_factor_is_told_once_for_a_sign_in(server, mail, pool):
    set_mfa(pool, "OPTIONAL")
    client = with_context(pool)
    tell(pool, "MFA_REQUIRED")
    to = f"{unique('reader')}@example.com"
    username = pool.user(email=to, email_verified="true")
    sign_in(client, username, HOME, "phone")
    begun = sign_in(client, username, ABROAD, "laptop")
    assert begun["ChallengeName"] == "EMAIL_OTP"
    until(lambda: len(mail.to(to)) == 2, 20, "a code and a message")
    codes = [message["code"] for message in inbox(server, to) if message["code"]]
    client.cognito.respond_to_auth_challenge(
        ClientId=client.id,
        ChallengeName="EMAIL_OTP",
        Session=begun["Session"],
        ChallengeResponses=client.parameters(username, EMAIL_OTP_CODE=codes[0]),
        UserContextData={"IpAddress": ABROAD, "EncodedData": device("laptop")},
    )
    assert risk(events(pool, username)[0])[0] == "AccountTakeover"
    subjects = sorted(message["subject"] for message in inbox(server, to))
    assert subjects == ["Come in", "Second factor"]


def test_a_link_asks_and_its_button_answers(server, mail, pool):
    client = with_context(pool)
    tell(pool, "BLOCK")
    username, to = at_home(pool, client)
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "laptop")
    told = words(mail.wait_for(to).get_body(("plain",)).get_content())
    # a program that follows links says nothing
    page = requests.get(told["valid"], timeout=10)
    assert page.status_code == 200 and "Yes, it was me" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert "EventFeedback" not in events(pool, username)[0]
    for name, value in [("valid", "Valid"), ("invalid", "Invalid")]:
        done = requests.post(told[name], timeout=10)
        assert done.status_code == 200 and "Thank you" in done.text
        assert events(pool, username)[0]["EventFeedback"]["FeedbackValue"] == value
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(told["valid"]).query))
    assert query["feedback_token"] == told["token"]
    wrong = requests.post(told["valid"].replace(told["token"], "x"), timeout=10)
    assert wrong.status_code == 400 and "not good any more" in wrong.text
    assert told["token"] not in server.log()


def test_without_templates_there_are_words_and_an_unverified_address_gets_none(server, mail, pool):
    client = with_context(pool)
    tell(pool, "BLOCK", {"SourceArn": NOTIFY["SourceArn"]})
    stranger = f"{unique('reader')}@example.com"
    unverified = pool.user(email=stranger, email_verified="false")
    sign_in(client, unverified, HOME, "phone")
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, unverified, ABROAD, "laptop")
    username, to = at_home(pool, client)
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "laptop")
    message = mail.wait_for(to)
    assert (message["Subject"], message["From"]) == ("Blocked sign-in attempt", "dev@example.org")
    assert f"User name: {username}" in message.get_content()
    assert mail.to(stranger) == []


def test_mail_that_fails_changes_no_answer_and_there_are_five_in_an_hour(server, mail, pool):
    client = with_context(pool)
    tell(pool, "BLOCK")
    username, to = at_home(pool, client)
    mail.refusal = "550 no such mailbox"
    with refused("NotAuthorizedException", BLOCKED):
        sign_in(client, username, ABROAD, "laptop")
    mail.refusal = None
    for _ in range(6):
        with refused("NotAuthorizedException", BLOCKED):
            sign_in(client, username, ABROAD, "laptop")
    assert len(inbox(server, to)) == 5


def test_who_may_not_send_is_refused_when_it_is_set(server, pool):
    with refused("InvalidParameterException", re.compile(".* failed the check: a@example.net")):
        tell(pool, "BLOCK", {**NOTIFY, "From": "a@example.net"})
    with refused("InvalidParameterException", "Invalid email address format."):
        tell(pool, "BLOCK", {**NOTIFY, "ReplyTo": "nobody"})
