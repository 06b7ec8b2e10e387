"""Text messages through an HTTP gateway, from `conclave serve`."""

import base64
import http.server
import json
import re
import threading
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from harness.cluster import Cluster
from harness.cognito import Pool, boto_client, refused, unique

SECRET = "gateway-secret-0815"


@pytest.fixture
def gateway():
    """A gateway on loopback that keeps what it gets, and answers `status`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.seen.append((self.path, self.headers, body))
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.status = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def sections(kind, gateway, tmp_path, more=""):
    (tmp_path / "token").write_text(SECRET + "\n")
    return (
        f'[sms]\ngateway = "{kind}"\nurl = "http://127.0.0.1:{gateway.server_port}{"/send" if kind == "webhook" else ""}"\n'
        f'token_file = "{tmp_path / "token"}"\n{more}'
    )


def sign_up_by_phone(cluster):
    node = cluster.start().nodes[0]
    cognito = boto_client(node, *cluster.credentials())
    sms = {"SnsCallerArn": "arn:aws:iam::111122223333:role/sms"}
    pool = Pool(node, cognito, AutoVerifiedAttributes=["phone_number"], SmsConfiguration=sms)
    app, username = pool.app_client(), unique("user")
    return node, app, username, lambda: app.sign_up(username, phone_number="+12065550199")


def test_a_webhook_gets_the_text_and_a_refusal_is_told(tmp_path, gateway):
    cluster = Cluster(tmp_path / "cluster", size=1, settings=sections("webhook", gateway, tmp_path))
    try:
        node, app, username, sign_up = sign_up_by_phone(cluster)
        gateway.status = 400
        with refused("CodeDeliveryFailureException", "Unable to deliver message to user"):
            sign_up()
        gateway.status = 200
        app.resend(username)
        path, headers, body = gateway.seen[-1]
        assert (path, headers["Authorization"]) == ("/send", f"Bearer {SECRET}")
        message = json.loads(body)
        assert message["to"] == "+12065550199"
        app.confirm(username, re.search(r"\d{6}", message["text"])[0])
        assert SECRET not in node.log() and "+12065550199" not in node.log()
    finally:
        cluster.kill()


def test_twilio_gets_its_form(tmp_path, gateway):
    more = 'account = "AC1"\nfrom = "+12065550100"\n'
    cluster = Cluster(tmp_path / "cluster", size=1, settings=sections("twilio", gateway, tmp_path, more))
    try:
        _, app, username, sign_up = sign_up_by_phone(cluster)
        sign_up()
        path, headers, body = gateway.seen[-1]
        assert path == "/2010-04-01/Accounts/AC1/Messages.json"
        assert headers["Authorization"] == "Basic " + base64.b64encode(f"AC1:{SECRET}".encode()).decode()
        form = dict(urllib.parse.parse_qsl(body.decode()))
        assert (form["To"], form["From"]) == ("+12065550199", "+12065550100")
        app.confirm(username, re.search(r"\d{6}", form["Body"])[0])
    finally:
        cluster.kill()


def test_sns_gets_a_signed_publish(tmp_path, gateway):
    more = 'account = "AKIDEXAMPLE"\nregion = "eu-west-1"\nfrom = "Acme"\n'
    cluster = Cluster(tmp_path / "cluster", size=1, settings=sections("sns", gateway, tmp_path, more))
    try:
        node, app, username, sign_up = sign_up_by_phone(cluster)
        gateway.status = 400
        with refused("CodeDeliveryFailureException", "Unable to deliver message to user"):
            sign_up()
        gateway.status = 200
        app.resend(username)
        path, headers, body = gateway.seen[-1]
        form = dict(urllib.parse.parse_qsl(body.decode()))
        text = form.pop("Message")
        attribute = "MessageAttributes.entry."
        assert path == "/"
        assert form == {
            "Action": "Publish",
            "Version": "2010-03-31",
            "PhoneNumber": "+12065550199",
            f"{attribute}1.Name": "AWS.SNS.SMS.SMSType",
            f"{attribute}1.Value.DataType": "String",
            f"{attribute}1.Value.StringValue": "Transactional",
            f"{attribute}2.Name": "AWS.SNS.SMS.SenderID",
            f"{attribute}2.Value.DataType": "String",
            f"{attribute}2.Value.StringValue": "Acme",
        }
        assert headers["Authorization"] == signature(gateway, headers, body)
        app.confirm(username, re.search(r"\d{6}", text)[0])
        assert SECRET not in node.log()
    finally:
        cluster.kill()


def signature(gateway, headers, body):
    """What botocore signs the same request with, at the same time."""
    url = f"http://{headers['Host']}/"
    request = botocore.awsrequest.AWSRequest(
        "POST", url, data=body, headers={"Content-Type": headers["Content-Type"], "X-Amz-Date": headers["X-Amz-Date"]}
    )
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials("AKIDEXAMPLE", SECRET), "sns", "eu-west-1"
    )
    canonical = signer.canonical_request(request)
    signed = ";".join(name for name, _ in sorted((n.lower(), v) for n, v in signer.headers_to_sign(request).items()))
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={signed}, Signature={signature}"
    )
