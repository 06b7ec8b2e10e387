"""E-mail over a real mail server, from `conclave serve`."""

import re
import time

import pytest

from harness.cluster import Cluster
from harness.cognito import Pool, boto_client, newest_code, refused, unique
from harness.mail import Mail
from harness.server import until

FAILURE = "Unable to deliver message to user"
PASSWORD = "relay-secret-0815"


@pytest.fixture
def serve(tmp_path):
    """Starts one node that sends by this server: `serve(mail)` answers the node and a client."""
    started = []

    def start(mail):
        started.append(mail)
        cluster = Cluster(tmp_path / "cluster", size=1, settings=mail.configuration())
        started.append(cluster)
        node = cluster.start().nodes[0]
        return node, boto_client(node, *cluster.credentials())

    yield start
    for one in reversed(started):
        one.kill() if isinstance(one, Cluster) else one.stop()


def address():
    return unique("reader") + "@example.com"


def code_in(message):
    return re.search(r"\d{6}", message.get_content())[0]


@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_code_arrives_and_confirms(serve, tmp_path, security):
    mail = Mail(tmp_path / "mail", security, "conclave", PASSWORD).start()
    node, cognito = serve(mail)
    pool = Pool(node, cognito, AutoVerifiedAttributes=["email"])
    app, username, to = pool.app_client(), unique("user"), address()
    app.sign_up(username, email=to)
    (message,) = mail.to(to)
    assert message["From"] == "Example <no-reply@example.com>"
    assert message["Subject"] == "Your verification code"
    assert message.get_content_type() == "text/plain"
    assert message.get_content().strip() == f"Your confirmation code is {code_in(message)}"
    app.confirm(username, code_in(message))
    assert mail.signed_in >= 1
    assert PASSWORD not in node.log()


def test_html_is_sent_as_html_and_a_name_is_a_text_in_it(serve, tmp_path):
    mail = Mail(tmp_path / "mail").start()
    node, cognito = serve(mail)
    template = {"EmailMessage": "<p>Hello {username}, <b>{####}</b></p>", "EmailSubject": "Grüße für {username}"}
    pool = Pool(node, cognito, AutoVerifiedAttributes=["email"], VerificationMessageTemplate=template)
    to = address()
    pool.app_client().sign_up('<a/href="//evil">', email=to)
    (message,) = mail.to(to)
    assert message.get_content_type() == "text/html"
    assert message["Subject"] == 'Grüße für <a/href="//evil">'
    assert message.get_content().startswith("<p>Hello &lt;a/href=&quot;//evil&quot;&gt;, <b>")


def test_a_refused_delivery_is_told_and_loses_nothing(serve, tmp_path):
    mail = Mail(tmp_path / "mail").start()
    node, cognito = serve(mail)
    pool = Pool(node, cognito, AutoVerifiedAttributes=["email"])
    app, username, to = pool.app_client(), unique("user"), address()
    for refusal in ("550 no such mailbox", "451 come back later"):
        mail.refusal = refusal
        with refused("CodeDeliveryFailureException", FAILURE):
            app.resend(username) if refusal.startswith("4") else app.sign_up(username, email=to)
    assert pool.status(username) == "UNCONFIRMED"
    assert to not in node.log()
    mail.refusal = None
    app.resend(username)
    app.confirm(username, code_in(mail.to(to)[-1]))
    assert pool.status(username) == "CONFIRMED"


def test_s04_a_slow_mail_server_does_not_tell_who_exists(serve, tmp_path):
    mail = Mail(tmp_path / "mail").start()
    node, cognito = serve(mail)
    pool = Pool(node, cognito, AutoVerifiedAttributes=["email"])
    app, to = pool.app_client(PreventUserExistenceErrors="ENABLED"), address()
    username = pool.user(email=to, email_verified="true")
    mail.delay = 3
    for name in (username, "nobody"):
        began = time.monotonic()
        details = app.cognito.forgot_password(ClientId=app.id, Username=name)["CodeDeliveryDetails"]
        assert time.monotonic() - began < 2, name
        assert details["DeliveryMedium"] == "EMAIL"
    code = code_in(mail.wait_for(to))
    app.cognito.confirm_forgot_password(
        ClientId=app.id, Username=username, ConfirmationCode=code, Password="Battery-staple-8"
    )
    assert app.tokens(username, "Battery-staple-8")


def test_what_waits_in_the_queue_is_sent_when_the_server_is_back(serve, tmp_path):
    mail = Mail(tmp_path / "mail")
    node, cognito = serve(mail)
    pool = Pool(node, cognito, AutoVerifiedAttributes=["email"])
    app, to = pool.app_client(PreventUserExistenceErrors="ENABLED"), address()
    username = pool.user(email=to, email_verified="true")
    app.cognito.forgot_password(ClientId=app.id, Username=username)
    with refused("CodeDeliveryFailureException", FAILURE):
        app.sign_up(email=address())
    mail.start()
    assert code_in(mail.wait_for(to, 40))


def test_without_a_mail_server_real_and_simulated_users_fail_alike(tmp_path):
    cluster = Cluster(tmp_path / "cluster", size=1)
    try:
        node = cluster.start().nodes[0]
        cognito = boto_client(node, *cluster.credentials())
        pool = Pool(node, cognito, AutoVerifiedAttributes=["email"])
        app = pool.app_client(PreventUserExistenceErrors="ENABLED")
        username = pool.user(email=address(), email_verified="true")
        for name in (username, "nobody"):
            with refused("CodeDeliveryFailureException", FAILURE):
                app.cognito.forgot_password(ClientId=app.id, Username=name)
    finally:
        cluster.kill()


SOURCE = "arn:aws:ses:us-east-1:111122223333:identity/"


def test_a_pool_sends_from_its_own_address_where_the_operator_allows_the_domain(tmp_path):
    mail = Mail(tmp_path / "mail").start()
    settings = mail.configuration() + 'sender_domains = ["example.org"]\n'
    cluster = Cluster(tmp_path / "cluster", size=1, settings=settings)
    try:
        node = cluster.start().nodes[0]
        cognito = boto_client(node, *cluster.credentials())
        own = {
            "EmailSendingAccount": "DEVELOPER",
            "SourceArn": SOURCE + "example.org",
            "From": "Acme <hello@mail.example.org>",
            "ReplyToEmailAddress": "help@example.net",
        }
        pool = Pool(node, cognito, AutoVerifiedAttributes=["email"], EmailConfiguration=own)
        assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["EmailConfiguration"] == own
        to = address()
        pool.app_client().sign_up(email=to)
        (message,) = mail.to(to)
        assert (message["From"], message["Reply-To"]) == ("Acme <hello@mail.example.org>", "help@example.net")

        # who is named by the ARN alone
        by_arn = {"EmailSendingAccount": "DEVELOPER", "SourceArn": SOURCE + "noreply@example.org"}
        cognito.update_user_pool(UserPoolId=pool.id, AutoVerifiedAttributes=["email"], EmailConfiguration=by_arn)
        to = address()
        pool.app_client().sign_up(email=to)
        (message,) = mail.to(to)
        assert (message["From"], message["Reply-To"]) == ("noreply@example.org", None)

        # and back to the operator's
        cognito.update_user_pool(UserPoolId=pool.id, AutoVerifiedAttributes=["email"])
        to = address()
        pool.app_client().sign_up(email=to)
        assert mail.to(to)[0]["From"] == "Example <no-reply@example.com>"

        unverified = re.compile("Cognito received the following error from Amazon SES .* failed the check: .*")
        for source, sender in [
            ("example.com", "a@example.com"),
            ("example.org", "a@example.com"),
            ("example.com", "a@example.org"),
            ("a@example.com", None),
        ]:
            wanted = {"EmailSendingAccount": "DEVELOPER", "SourceArn": SOURCE + source}
            if sender:
                wanted["From"] = sender
            with refused("InvalidParameterException", unverified):
                Pool(node, cognito, EmailConfiguration=wanted)
            with refused("InvalidParameterException", unverified):
                cognito.update_user_pool(UserPoolId=pool.id, EmailConfiguration=wanted)
        with refused("InvalidParameterException"):
            Pool(node, cognito, EmailConfiguration={"EmailSendingAccount": "DEVELOPER"})
        with refused(
            "InvalidParameterException", "Cannot configure From email address for default email configuration"
        ):
            Pool(node, cognito, EmailConfiguration={"From": "a@example.org"})
    finally:
        cluster.kill()
        mail.stop()


def test_deliveries_are_counted(serve, tmp_path):
    mail = Mail(tmp_path / "mail").start()
    node, cognito = serve(mail)

    def count(result):
        line = f'conclave_deliveries_total{{channel="email",result="{result}"}} '
        return int(node.metrics().split(line)[1].split()[0])

    assert count("ok") == count("refused") == count("unavailable") == 0
    pool = Pool(node, cognito, AutoVerifiedAttributes=["email"])
    app, to = pool.app_client(), address()
    app.sign_up(email=to)
    assert count("ok") == 1
    mail.refusal = "550 no such mailbox"
    with refused("CodeDeliveryFailureException", FAILURE):
        app.sign_up(email=address())
    assert (count("ok"), count("refused")) == (1, 1)
    mail.refusal = None
    hiding = pool.app_client(PreventUserExistenceErrors="ENABLED")
    username = pool.user(email=to, email_verified="true")
    hiding.cognito.forgot_password(ClientId=hiding.id, Username=username)
    until(lambda: count("ok") == 2, 20, "the message from the queue is counted")
    assert 'conclave_deliveries_waiting{channel="email"} 0' in node.metrics()
    assert to not in node.metrics()


def test_dev_sends_mail_too_when_it_is_told_where(start_server, tmp_path):
    mail = Mail(tmp_path / "mail").start()
    try:
        server = start_server(options=["--smtp", f"smtp://127.0.0.1:{mail.port}", "--smtp-from", "dev@example.org"])
        pool = Pool(server, boto_client(server), AutoVerifiedAttributes=["email"])
        app, username, to = pool.app_client(), unique("user"), address()
        app.sign_up(username, email=to)
        (message,) = mail.to(to)
        assert message["From"] == "dev@example.org"
        assert newest_code(server, to) == code_in(message)
        app.confirm(username, code_in(message))
        mail.refusal = "550 no such mailbox"
        with refused("CodeDeliveryFailureException", FAILURE):
            app.sign_up(email=address())
    finally:
        mail.stop()
