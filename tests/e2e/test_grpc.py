"""gRPC on the same port, by a client that knows only what reflection tells it."""

import grpc
import pytest

from harness.cognito import PASSWORD, refused, unique
from harness.grpc_reflection import SERVICE, Client, exception_name


@pytest.fixture(scope="module")
def rpc(server):
    client = Client(server.authority)
    yield client
    client.close()


def test_reflection_lists_the_api_and_health(rpc):
    services = rpc.services()
    assert {SERVICE, "grpc.health.v1.Health"} <= services
    assert any(name.startswith("grpc.reflection.") for name in services)


def test_every_operation_of_the_model_is_a_method(rpc, cognito):
    methods = rpc.methods()
    wanted = set(cognito.meta.service_model.operation_names)
    assert wanted <= set(methods)
    for name in wanted:
        assert not methods[name].client_streaming and not methods[name].server_streaming


def test_health_is_serving(rpc):
    answer = rpc.unary("grpc.health.v1.Health", "Check", {})
    assert answer == {"status": "SERVING"}


def test_a_user_from_sign_up_to_get_user(rpc, server):
    created = rpc.call("CreateUserPool", {"pool_name": unique("pool")}, signed=True)
    pool_id = created["user_pool"]["id"]
    flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    client = rpc.call(
        "CreateUserPoolClient",
        {"user_pool_id": pool_id, "client_name": "grpc", "explicit_auth_flows": flows},
        signed=True,
    )
    client_id = client["user_pool_client"]["client_id"]
    username = unique("user")
    email = [{"name": "email", "value": "a@example.com"}]
    user = {"client_id": client_id, "username": username, "password": PASSWORD, "user_attributes": email}
    sub = rpc.call("SignUp", user)["user_sub"]
    rpc.call("AdminConfirmSignUp", {"user_pool_id": pool_id, "username": username}, signed=True)
    request = {
        "client_id": client_id,
        "auth_flow": "USER_PASSWORD_AUTH",
        "auth_parameters": {"USERNAME": username, "PASSWORD": PASSWORD},
    }
    tokens = rpc.call("InitiateAuth", request)["authentication_result"]
    got = rpc.call("GetUser", {"access_token": tokens["access_token"]})
    assert got["username"] == username
    assert {a["name"]: a["value"] for a in got["user_attributes"]}["sub"] == sub
    request = {
        "client_id": client_id,
        "auth_flow": "REFRESH_TOKEN_AUTH",
        "auth_parameters": {"REFRESH_TOKEN": tokens["refresh_token"]},
    }
    assert rpc.call("InitiateAuth", request)["authentication_result"]["id_token"]
    rpc.call("DeleteUserPool", {"user_pool_id": pool_id}, signed=True)
    with pytest.raises(grpc.RpcError) as caught:
        rpc.call("DescribeUserPool", {"user_pool_id": pool_id}, signed=True)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_both_fronts_show_one_state(rpc, pool, app, cognito):
    username = pool.user()
    got = rpc.call("AdminGetUser", {"user_pool_id": pool.id, "username": username}, signed=True)
    assert got["username"] == username and got["user_status"] == "CONFIRMED"
    rpc.call("AdminDeleteUser", {"user_pool_id": pool.id, "username": username}, signed=True)
    with refused("UserNotFoundException"):
        pool.get(username)


ERRORS = [
    ("GetUser", {"access_token": "rubbish"}, False, "UNAUTHENTICATED", "NotAuthorizedException"),
    ("GetUser", {}, False, "INVALID_ARGUMENT", "InvalidParameterException"),
    ("ListUserPools", {"max_results": 1}, False, "UNAUTHENTICATED", "MissingAuthenticationTokenException"),
    ("ListUserPools", {"max_results": 0}, True, "INVALID_ARGUMENT", "InvalidParameterException"),
    (
        "DescribeUserPool",
        {"user_pool_id": "us-east-1_0000Gone0"},
        True,
        "NOT_FOUND",
        "ResourceNotFoundException",
    ),
    (
        "AdminListUserSessions",
        {"user_pool_id": "us-east-1_0000Gone0", "username": "a"},
        True,
        "UNIMPLEMENTED",
        "NotImplemented",
    ),
]


@pytest.mark.parametrize(("operation", "request_", "signed", "code", "name"), ERRORS)
def test_an_error_carries_the_name_of_the_exception(rpc, operation, request_, signed, code, name):
    with pytest.raises(grpc.RpcError) as caught:
        rpc.call(operation, request_, signed=signed)
    assert caught.value.code() == grpc.StatusCode[code], caught.value.details()
    assert exception_name(caught.value).rstrip(":") == name
    assert caught.value.details()


def test_a_wrong_secret_is_refused(rpc):
    with pytest.raises(grpc.RpcError) as caught:
        rpc.call("ListUserPools", {"max_results": 1}, signed=True, secret="wrong")
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert exception_name(caught.value) == "InvalidSignatureException"


def test_a_signature_of_one_method_is_no_good_for_another(rpc, pool):
    metadata = rpc._signature(f"/{SERVICE}/ListUserPools", "test", "test")
    with pytest.raises(grpc.RpcError) as caught:
        rpc.unary(SERVICE, "DeleteUserPool", {"user_pool_id": pool.id}, metadata)
    assert exception_name(caught.value) == "InvalidSignatureException"


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x01\xff", b"\x00" * 64])
def test_bytes_that_are_no_message_are_refused(rpc, data):
    with pytest.raises(grpc.RpcError) as caught:
        rpc.raw("GetUser", data)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_of_ten_megabytes_is_refused(rpc):
    with pytest.raises(grpc.RpcError) as caught:
        rpc.raw("GetUser", b"\x0a" + b"\x80\x80\x80\x05" + b"a" * (10 << 20))
    assert caught.value.code() in {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAVAILABLE,
    }


def test_an_unknown_method_is_unimplemented(rpc):
    with pytest.raises(grpc.RpcError) as caught:
        rpc.raw("NoSuchOperation", b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
