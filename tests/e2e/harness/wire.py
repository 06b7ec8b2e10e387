"""Requests as bytes, for what a well-behaved client would not send. Everything here is plain HTTP."""

import dataclasses
import json

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import requests

TARGET = "AWSCognitoIdentityProviderService"
CONTENT_TYPE = "application/x-amz-json-1.1"
REGION = "us-east-1"
SECONDS_MAX = 30

# The operations that are called without a signature.
UNSIGNED = {"SignUp", "ConfirmSignUp", "ResendConfirmationCode", "InitiateAuth", "RespondToAuthChallenge", "GetUser"}


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The name of the exception, from the body."""
        return self.json.get("__type")

    @property
    def message(self):
        body = self.json
        return body.get("message", body.get("Message"))


def headers_for(operation):
    return {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"{TARGET}.{operation}"}


def signed_headers(url, headers, body, key="test", secret="test", region=REGION, service="cognito-idp"):
    request = botocore.awsrequest.AWSRequest("POST", url, data=body, headers=headers)
    credentials = botocore.credentials.Credentials(key, secret)
    botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def post(server, body, headers):
    """Sends the bytes as they are."""
    answer = requests.post(f"{server.endpoint}/", data=body, headers=headers, timeout=SECONDS_MAX)
    return Answer(answer.status_code, answer.headers, answer.content)


def call(server, operation, body, signed=None, **credentials):
    """Calls an operation with a body that no client library has looked at."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    headers = headers_for(operation)
    if signed if signed is not None else operation not in UNSIGNED:
        headers = signed_headers(f"{server.endpoint}/", headers, body, **credentials)
    return post(server, body, headers)
