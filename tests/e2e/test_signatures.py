"""Who may call what: SigV4 on the operations of administrators, none on those of users."""

import datetime
import json

import botocore.auth
import pytest

from harness import wire
from harness.cognito import boto_client, refused

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)

ADMINISTRATORS = [
    "CreateUserPool", "DescribeUserPool", "ListUserPools", "DeleteUserPool", "CreateUserPoolClient",
    "DescribeUserPoolClient", "ListUserPoolClients", "DeleteUserPoolClient", "AdminConfirmSignUp", "AdminCreateUser",
    "AdminGetUser", "AdminSetUserPassword", "AdminDeleteUser", "ListUsers",
]  # fmt: skip


@pytest.mark.parametrize("operation", ADMINISTRATORS)
def test_an_operation_of_administrators_needs_a_signature(server, operation):
    answer = wire.call(server, operation, {}, signed=False)
    assert answer.status == 400
    assert answer.error == "MissingAuthenticationTokenException"
    assert answer.message == "Missing Authentication Token"
    assert answer.headers["x-amzn-ErrorType"].rstrip(":") == answer.error


@pytest.mark.parametrize("operation", sorted(wire.UNSIGNED))
def test_an_operation_of_users_needs_none(server, operation):
    answer = wire.call(server, operation, {}, signed=False)
    assert (answer.status, answer.error) == (400, "InvalidParameterException")


def test_an_unknown_key_is_refused(server):
    with refused("UnrecognizedClientException", "The security token included in the request is invalid."):
        boto_client(server, key="nobody").list_user_pools(MaxResults=1)


def test_a_wrong_secret_is_refused(server):
    with refused("InvalidSignatureException"):
        boto_client(server, secret="wrong").list_user_pools(MaxResults=1)


def test_a_changed_body_is_noticed(server, pool):
    signed = json.dumps({"UserPoolId": pool.id}).encode()
    headers = wire.signed_headers(f"{server.endpoint}/", wire.headers_for("DeleteUserPool"), signed)
    answer = wire.post(server, signed.replace(b"}", b" }"), headers)
    assert (answer.status, answer.error) == (400, "InvalidSignatureException")
    assert answer.message.startswith(MISMATCH)
    assert wire.call(server, "DescribeUserPool", {"UserPoolId": pool.id}).status == 200


def test_a_changed_target_is_noticed(server, pool):
    body = json.dumps({"UserPoolId": pool.id}).encode()
    headers = wire.signed_headers(f"{server.endpoint}/", wire.headers_for("DescribeUserPool"), body)
    headers["X-Amz-Target"] = f"{wire.TARGET}.DeleteUserPool"
    answer = wire.post(server, body, headers)
    assert (answer.status, answer.error) == (400, "InvalidSignatureException")
    assert wire.call(server, "DescribeUserPool", {"UserPoolId": pool.id}).status == 200


def test_an_old_signature_is_refused(server, monkeypatch):
    old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: old.replace(tzinfo=None))
    answer = wire.call(server, "ListUserPools", {"MaxResults": 1})
    assert (answer.status, answer.error) == (400, "InvalidSignatureException")


@pytest.mark.parametrize("scope", [{"service": "s3"}, {"service": "iam"}])
def test_a_signature_for_another_service_is_refused(server, scope):
    body = b'{"MaxResults": 1}'
    headers = wire.signed_headers(f"{server.endpoint}/", wire.headers_for("ListUserPools"), body, **scope)
    answer = wire.post(server, body, headers)
    assert (answer.status, answer.error) == (400, "InvalidSignatureException")


@pytest.mark.parametrize(
    "header",
    ["rubbish", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=test", "Bearer abc", "AWS4-HMAC-SHA256 ,,,=,"],
)
def test_a_header_that_is_no_signature_is_refused(server, header):
    headers = {**wire.headers_for("ListUserPools"), "Authorization": header}
    answer = wire.post(server, b'{"MaxResults": 1}', headers)
    assert (answer.status, answer.error) in {
        (400, "IncompleteSignatureException"),
        (400, "MissingAuthenticationTokenException"),
    }
