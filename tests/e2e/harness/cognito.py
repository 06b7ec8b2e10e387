"""The vocabulary of the tests: pools, app clients and users through boto3, and refusals by name and text."""

import base64
import contextlib
import hashlib
import hmac
import itertools
import re

import boto3
import botocore.config
import botocore.exceptions
import pytest
import requests

PASSWORD = "Correct-horse-7"
NEW_PASSWORD = "Battery-staple-8"
ALL_FLOWS = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]

_numbers = itertools.count(1)


def unique(prefix):
    return f"{prefix}{next(_numbers)}"


def boto_client(server, key="test", secret="test", region="us-east-1", verify=None):
    """boto3 as it comes, except that nothing is tried a second time and nothing is refused before it is sent."""
    config = botocore.config.Config(
        retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=30, connect_timeout=5
    )
    return boto3.client(
        "cognito-idp",
        endpoint_url=server.endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=config,
        verify=verify,
    )


@contextlib.contextmanager
def refused(name, text=None):
    """The block ends with this exception. `text` is the whole message, or a compiled pattern that it matches."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield caught
    error = caught.value.response["Error"]
    assert error["Code"] == name, f"{error['Code']}: {error['Message']}"
    if isinstance(text, re.Pattern):
        assert text.fullmatch(error["Message"]), error["Message"]
    elif text is not None:
        assert error["Message"] == text
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def attributes(mapping):
    """A dictionary as the API writes attributes."""
    return [{"Name": name, "Value": value} for name, value in mapping.items()]


def as_dict(attribute_list):
    """The API's attributes as a dictionary."""
    return {a["Name"]: a.get("Value") for a in attribute_list}


def secret_hash(username, client_id, secret):
    digest = hmac.new(secret.encode(), (username + client_id).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


class Pool:
    """One user pool, and what a test does with it."""

    def __init__(self, server, cognito, **settings):
        self.server = server
        self.cognito = cognito
        self.settings = {"PoolName": unique("pool"), **settings}
        self.description = cognito.create_user_pool(**self.settings)["UserPool"]
        self.id = self.description["Id"]

    def app_client(self, secret=False, **settings):
        settings = {"ClientName": unique("client"), "ExplicitAuthFlows": ALL_FLOWS, **settings}
        if secret:
            settings["GenerateSecret"] = True
        answer = self.cognito.create_user_pool_client(UserPoolId=self.id, **settings)
        return AppClient(self, answer["UserPoolClient"])

    def user(self, username=None, password=PASSWORD, **user_attributes):
        """A user who can sign in. Returns the user name."""
        username = username or unique("user")
        self.cognito.admin_create_user(
            UserPoolId=self.id,
            Username=username,
            UserAttributes=attributes(user_attributes),
            MessageAction="SUPPRESS",
        )
        self.cognito.admin_set_user_password(
            UserPoolId=self.id, Username=username, Password=password, Permanent=True
        )
        return username

    def get(self, username):
        return self.cognito.admin_get_user(UserPoolId=self.id, Username=username)

    def status(self, username):
        return self.get(username)["UserStatus"]


class AppClient:
    """One app client of a pool."""

    def __init__(self, pool, description):
        self.pool = pool
        self.cognito = pool.cognito
        self.description = description
        self.id = description["ClientId"]
        self.secret = description.get("ClientSecret")

    def proof(self, username):
        return {"SecretHash": secret_hash(username, self.id, self.secret)} if self.secret else {}

    def parameters(self, username, **more):
        """AuthParameters, or ChallengeResponses, with the secret hash where there is a secret."""
        proof = {"SECRET_HASH": secret_hash(username, self.id, self.secret)} if self.secret else {}
        return {"USERNAME": username, **proof, **more}

    def sign_up(self, username=None, password=PASSWORD, **user_attributes):
        username = username or unique("user")
        return self.cognito.sign_up(
            ClientId=self.id,
            Username=username,
            Password=password,
            UserAttributes=attributes(user_attributes),
            **self.proof(username),
        )

    def confirm(self, username, code, **more):
        return self.cognito.confirm_sign_up(
            ClientId=self.id, Username=username, ConfirmationCode=code, **self.proof(username), **more
        )

    def resend(self, username):
        return self.cognito.resend_confirmation_code(ClientId=self.id, Username=username, **self.proof(username))

    def initiate(self, flow, **parameters):
        return self.cognito.initiate_auth(ClientId=self.id, AuthFlow=flow, AuthParameters=parameters)

    def password_sign_in(self, username, password=PASSWORD):
        """The whole answer of InitiateAuth with USER_PASSWORD_AUTH."""
        return self.initiate("USER_PASSWORD_AUTH", **self.parameters(username, PASSWORD=password))

    def tokens(self, username, password=PASSWORD):
        answer = self.password_sign_in(username, password)
        assert "AuthenticationResult" in answer, f"a challenge instead of tokens: {answer.get('ChallengeName')}"
        return answer["AuthenticationResult"]

    def refresh(self, token, flow="REFRESH_TOKEN_AUTH", **more):
        return self.initiate(flow, REFRESH_TOKEN=token, **more)

    def respond(self, challenge, session=None, **responses):
        more = {"Session": session} if session else {}
        return self.cognito.respond_to_auth_challenge(
            ClientId=self.id, ChallengeName=challenge, ChallengeResponses=responses, **more
        )


def inbox(server, to):
    """The messages to an address, newest first."""
    answer = requests.get(f"{server.endpoint}/_conclave/inbox", params={"to": to}, timeout=10)
    answer.raise_for_status()
    return answer.json()


def newest_code(server, to):
    """The code in the newest message to an address. Messages leave before the answer that caused them."""
    messages = inbox(server, to)
    assert messages, f"no message to {to}"
    return messages[0]["code"]


def wrong(code):
    """Another code of the same form."""
    return "".join(str((int(digit) + 1) % 10) for digit in code)
