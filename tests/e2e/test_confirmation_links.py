"""Links that confirm a sign-up, in the place of codes."""

import html
import re
import urllib.parse

import pytest
import requests

from harness.cognito import Pool, inbox, refused, unique

CONFIRMED = "Your registration has been confirmed!"
MISMATCH = "Invalid verification code provided, please try again."


@pytest.fixture(scope="module")
def linking(server, cognito):
    """A pool that sends links."""
    template = {
        "DefaultEmailOption": "CONFIRM_WITH_LINK",
        "EmailMessageByLink": "<p>Hello {username}, {##confirm here##}.</p>",
        "EmailSubjectByLink": "Welcome",
    }
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], VerificationMessageTemplate=template)
    cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=f"links-{unique('d')}")
    return pool


@pytest.fixture(scope="module")
def linking_app(linking):
    return linking.app_client()


def address():
    return unique("reader") + "@example.com"


def newest_link(server, to):
    message = inbox(server, to)[0]
    link = html.unescape(re.search(r'<a href="([^"]+)">confirm here</a>', message["body"])[1])
    assert message["code"] in link
    return message, link


def follow(link, method="GET", **headers):
    return requests.request(method, link, headers=headers, timeout=10)


def test_following_the_link_confirms(server, linking, linking_app):
    username, to = unique("user"), address()
    linking_app.sign_up(username, email=to)
    message, link = newest_link(server, to)
    assert message["subject"] == "Welcome"
    assert message["body"].startswith(f"<p>Hello {username}, <a ")
    url = urllib.parse.urlsplit(link)
    assert url.path == "/confirmUser"
    assert dict(urllib.parse.parse_qsl(url.query)) == {
        "client_id": linking_app.id,
        "user_name": username,
        "confirmation_code": message["code"],
    }
    answer = follow(link)
    assert answer.status_code == 200 and CONFIRMED in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert linking.status(username) == "CONFIRMED"
    assert linking_app.tokens(username)
    again = follow(link)
    assert again.status_code == 400 and "User cannot be confirmed. Current status is CONFIRMED" in again.text


def test_the_code_in_the_link_confirms_by_itself(server, linking, linking_app):
    username, to = unique("user"), address()
    linking_app.sign_up(username, email=to)
    linking_app.resend(username)
    message, _ = newest_link(server, to)
    linking_app.confirm(username, message["code"])
    assert linking.status(username) == "CONFIRMED"


def test_looking_ahead_confirms_nothing(server, linking, linking_app):
    username, to = unique("user"), address()
    linking_app.sign_up(username, email=to)
    _, link = newest_link(server, to)
    follow(link, "HEAD")
    follow(link, "OPTIONS")
    follow(link, **{"Sec-Purpose": "prefetch;prerender"})
    follow(link, **{"Purpose": "prefetch"})
    assert follow(link, "POST").status_code == 405
    assert linking.status(username) == "UNCONFIRMED"
    assert follow(link.replace("/confirmUser?", "/confirmUser/?")).status_code == 200
    assert linking.status(username) == "CONFIRMED"


def test_a_secret_of_the_app_is_not_asked_of_people(server, linking):
    app, username, to = linking.app_client(secret=True), unique("user"), address()
    app.sign_up(username, email=to)
    assert follow(newest_link(server, to)[1]).status_code == 200
    assert linking.status(username) == "CONFIRMED"


def test_s09_wrong_links_are_counted_with_wrong_codes(server, linking, linking_app):
    username, to = unique("user"), address()
    linking_app.sign_up(username, email=to)
    message, link = newest_link(server, to)
    wrong = link.replace(f"confirmation_code={message['code']}", "confirmation_code=x")
    for _ in range(15):
        answer = follow(wrong)
        assert answer.status_code == 400 and MISMATCH in html.unescape(answer.text)
    answer = follow(link)
    assert answer.status_code == 400 and "Attempt limit exceeded" in answer.text
    with refused("LimitExceededException"):
        linking_app.confirm(username, message["code"])
    assert linking.status(username) == "UNCONFIRMED"


def test_who_does_not_exist_is_hidden_where_the_client_hides_them(server, linking):
    link = f"{server.endpoint}/confirmUser?client_id=%s&user_name=nobody&confirmation_code=123456"
    hiding = linking.app_client(PreventUserExistenceErrors="ENABLED")
    answer = follow(link % hiding.id)
    assert answer.status_code == 400 and "Invalid code provided, please request a code again." in answer.text
    telling = linking.app_client(PreventUserExistenceErrors="LEGACY")
    assert "Username/client id combination not found." in follow(link % telling.id).text


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?client_id=",
        "?client_id=x&user_name=u&confirmation_code=1",
        "?client_id=%3Cscript%3E&user_name=u&confirmation_code=1",
        "?client_id=a&client_id=b",
        "?user_name=" + "u" * 5000,
        "?client_id=%FF&user_name=%00&confirmation_code=%",
    ],
)
def test_what_is_no_link_is_refused(server, query):
    answer = follow(f"{server.endpoint}/confirmUser{query}")
    assert answer.status_code in (400, 414)
    assert "<script>" not in answer.text


def test_links_need_a_domain(server, cognito):
    text = (
        "Cannot perform specific action because there does not exist a valid use pool domain associated with "
        "the user pool"
    )
    template = {"DefaultEmailOption": "CONFIRM_WITH_LINK"}
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], VerificationMessageTemplate=template)
    app = pool.app_client(PreventUserExistenceErrors="ENABLED")
    with refused("InvalidParameterException", text):
        app.sign_up(email=address())
    with refused("InvalidParameterException", text):
        app.resend("nobody")
    described = cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]
    assert described["VerificationMessageTemplate"]["DefaultEmailOption"] == "CONFIRM_WITH_LINK"


def test_other_codes_are_no_links(server, linking, linking_app, cognito):
    """As in Cognito: only a sign-up is confirmed by a link."""
    username, to = unique("user"), address()
    linking.user(username, email=to, email_verified="true")
    cognito.forgot_password(ClientId=linking_app.id, Username=username)
    assert "<a " not in inbox(server, to)[0]["body"]
    token = linking_app.tokens(username)["AccessToken"]
    cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    assert "<a " not in inbox(server, to)[0]["body"]
