"""Bodies and headers that no client sends. The answer is always 4xx in the protocol's form, and the server lives on."""

import json
import socket

import pytest
import requests

from harness import wire

SIGN_UP = {"ClientId": "0123456789abcdefghijklmnop", "Username": "somebody", "Password": "Correct-horse-7"}


@pytest.fixture(autouse=True)
def the_server_lives_on(server):
    yield
    assert server.process.poll() is None
    assert requests.get(f"{server.management}/readyz", timeout=10).status_code == 200


def raw(server, body, **headers):
    return wire.post(server, body, {**wire.headers_for("SignUp"), **headers})


BROKEN = {
    "empty array": b"[]",
    "text": b'"text"',
    "number": b"1",
    "open": b'{"ClientId": ',
    "trailing": b"{} {}",
    "comma": b'{"ClientId": "a",}',
    "single quotes": b"{'ClientId': 'a'}",
    "not utf-8": b'{"ClientId": "\xff\xfe"}',
    "lone surrogate": b'{"ClientId": "\\ud800"}',
    "control character": b'{"ClientId": "a\x00b"}',
    "NaN": b'{"ClientId": NaN}',
    "xml": b"<SignUp/>",
    "twice": b'{"ClientId": "a", "ClientId": "b"}',
    "byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_is_no_object_is_refused(server, body):
    answer = raw(server, body)
    assert (answer.status, answer.error) == (400, "SerializationException")


WRONG_TYPES = {
    "number for text": {"ClientId": 1},
    "bool for text": {"ClientId": True},
    "list for text": {"ClientId": []},
    "text for list": {**SIGN_UP, "UserAttributes": "email"},
    "map for list": {**SIGN_UP, "UserAttributes": {}},
    "text for structure": {**SIGN_UP, "UserContextData": "x"},
    "list for map": {**SIGN_UP, "ClientMetadata": []},
    "number in map": {**SIGN_UP, "ClientMetadata": {"a": 1}},
    "text in list": {**SIGN_UP, "UserAttributes": ["a"]},
}


@pytest.mark.parametrize("body", WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_a_member_of_the_wrong_type_is_refused(server, body):
    answer = raw(server, json.dumps(body).encode())
    assert (answer.status, answer.error) == (400, "SerializationException")


@pytest.mark.parametrize("number", [1.5, 1e30, 2**40, -(2**70), "10", True])
def test_an_integer_is_a_small_whole_number(server, number):
    answer = wire.call(server, "ListUserPools", {"MaxResults": number})
    assert answer.status == 400
    assert answer.error in {"SerializationException", "InvalidParameterException"}


def test_null_is_absence(server):
    answer = raw(server, json.dumps({**SIGN_UP, "UserAttributes": None, "ClientMetadata": None}).encode())
    assert (answer.status, answer.error) == (400, "ResourceNotFoundException")


@pytest.mark.parametrize("opening", [b'{"a":', b"["], ids=["objects", "arrays"])
@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_deep_body_is_refused_or_ignored(server, opening, depth):
    closing = b"}" if opening.startswith(b"{") else b"]"
    deep = opening * depth + b"1" + closing * depth
    answer = raw(server, b'{"Unknown": ' + deep + b"}")
    assert answer.status == 400
    assert answer.error in {"SerializationException", "InvalidParameterException"}


@pytest.mark.parametrize("megabytes", [2, 10])
def test_a_large_body_is_refused(server, megabytes):
    body = json.dumps({**SIGN_UP, "Unknown": "x" * (megabytes << 20)}).encode()
    try:
        answer = raw(server, body)
    except requests.ConnectionError:
        return  # the server may hang up before it has read everything
    assert 400 <= answer.status < 500


def test_a_large_body_in_pieces_is_refused(server):
    def pieces():
        yield b'{"Unknown": "'
        for _ in range(160):
            yield b"x" * 65536
        yield b'"}'

    try:
        answer = raw(server, pieces())
    except requests.ConnectionError:
        return
    assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    "target",
    [
        "AWSCognitoIdentityProviderService.NoSuchOperation",
        "AWSCognitoIdentityProviderService.",
        "AWSCognitoIdentityProviderService.signup",
        "SomeOtherService.SignUp",
        "SignUp",
        "",
        "." * 4000,
    ],
    ids=["unknown", "empty name", "case", "service", "bare", "empty", "long"],
)
def test_an_unknown_target_is_refused(server, target):
    answer = raw(server, b"{}", **{"X-Amz-Target": target})
    assert (answer.status, answer.error) == (400, "UnknownOperationException")


def test_a_request_without_target_is_refused(server):
    answer = wire.post(server, b"{}", {"Content-Type": wire.CONTENT_TYPE})
    assert 400 <= answer.status < 500


def test_an_operation_of_the_model_that_is_not_built_is_refused_by_name(server):
    answer = wire.call(server, "AdminListUserSessions", {"UserPoolId": "us-east-1_000000000", "Username": "a"})
    assert answer.status == 501
    assert "AdminListUserSessions" in answer.message


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(server, content_type):
    answer = raw(server, json.dumps(SIGN_UP).encode(), **{"Content-Type": content_type})
    assert 400 <= answer.status < 500
    assert answer.error != "ResourceNotFoundException", "the request was taken"


@pytest.mark.parametrize("content_type", ["application/x-amz-json-1.1; charset=utf-8", "Application/X-AMZ-JSON-1.1"])
def test_the_content_type_is_read_as_http_says(server, content_type):
    answer = raw(server, json.dumps(SIGN_UP).encode(), **{"Content-Type": content_type})
    assert answer.error == "ResourceNotFoundException"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_only_post_calls_an_operation(server, method):
    answer = requests.request(method, f"{server.endpoint}/", headers=wire.headers_for("ListUserPools"), timeout=10)
    assert 400 <= answer.status_code < 500


def test_get_is_for_people(server):
    answer = requests.get(f"{server.endpoint}/", headers=wire.headers_for("ListUserPools"), timeout=10)
    assert answer.headers["Content-Type"] != wire.CONTENT_TYPE


@pytest.mark.parametrize(
    "path", ["/nothing", "/../../etc/passwd", "/%00", "/us-east-1_x/.well-known/../../jwks.json", "/" + "a" * 5000]
)
def test_an_unknown_path_is_not_found(server, path):
    answer = requests.get(server.endpoint + path, timeout=10)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n",
    ],
    ids=["binary", "no host", "negative length", "two lengths", "version", "many headers"],
)
def test_bytes_that_are_no_http_do_no_harm(server, bytes_sent):
    host, port = server.authority.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            connection.sendall(bytes_sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except OSError:
            answer = b""  # the server has hung up
    assert b" 500 " not in answer.split(b"\r\n")[0]


def test_errors_have_cognitos_headers(server):
    answer = raw(server, json.dumps(SIGN_UP).encode())
    assert answer.headers["x-amzn-ErrorType"] == "ResourceNotFoundException:"
    assert answer.headers["x-amzn-ErrorMessage"] == answer.message
    assert answer.headers["x-amzn-RequestId"]
    assert answer.headers["Content-Type"] == wire.CONTENT_TYPE
    assert answer.json.keys() == {"__type", "message"}


def test_a_browser_may_call(server):
    """Amplify calls from any page: CORS, https://fetch.spec.whatwg.org/#http-cors-protocol."""
    preflight = requests.options(
        f"{server.endpoint}/",
        headers={
            "Origin": "https://app.example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-amz-target,x-amz-user-agent,cache-control",
        },
        timeout=10,
    )
    assert preflight.status_code in {200, 204}
    assert preflight.headers["Access-Control-Allow-Origin"] in {"*", "https://app.example.com"}
    allowed = {h.strip().lower() for h in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert "*" in allowed or {"content-type", "x-amz-target", "x-amz-user-agent", "cache-control"} <= allowed
    answer = raw(server, json.dumps(SIGN_UP).encode(), Origin="https://app.example.com")
    assert answer.headers["Access-Control-Allow-Origin"] in {"*", "https://app.example.com"}
    exposed = {h.strip().lower() for h in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"x-amzn-requestid", "x-amzn-errortype"} <= exposed
