"""GetUser, and what an access token has to be."""

import base64
import hmac
import json

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import wire
from harness.cognito import as_dict, refused


@pytest.fixture(scope="module")
def signed_in(pool, app):
    username = pool.user(email="a@example.com", name="A Reader")
    return username, app.tokens(username)


def test_a_user_sees_the_attributes_that_administrators_see(pool, cognito, signed_in):
    username, tokens = signed_in
    got = cognito.get_user(AccessToken=tokens["AccessToken"])
    assert got["Username"] == username
    assert got["UserAttributes"] == pool.get(username)["UserAttributes"]
    assert got.keys() == {"Username", "UserAttributes", "ResponseMetadata"}


def test_attributes_that_the_client_may_not_read_are_not_shown(pool, cognito, signed_in):
    narrow = pool.app_client(ReadAttributes=["name"])
    got = cognito.get_user(AccessToken=narrow.tokens(signed_in[0])["AccessToken"])
    assert as_dict(got["UserAttributes"]).keys() == {"name", "sub"}


def test_no_signature_is_needed_and_a_wrong_one_does_no_harm(server, signed_in):
    body = {"AccessToken": signed_in[1]["AccessToken"]}
    assert wire.call(server, "GetUser", body, signed=False).status == 200
    assert wire.call(server, "GetUser", body, signed=True).status == 200
    assert wire.call(server, "GetUser", body, signed=True, key="nobody", secret="wrong").status == 200
    headers = {**wire.headers_for("GetUser"), "Authorization": "rubbish"}
    assert wire.post(server, json.dumps(body).encode(), headers).status == 200


@pytest.mark.parametrize("which", ["IdToken", "RefreshToken"])
def test_another_token_is_not_an_access_token(cognito, signed_in, which):
    with refused("NotAuthorizedException", "Invalid Access Token"):
        cognito.get_user(AccessToken=signed_in[1][which])


@pytest.mark.parametrize("token", ["rubbish", "a.b.c", "..", "e30.e30.e30", "e30." * 100])
def test_rubbish_is_not_an_access_token(cognito, token):
    with refused("NotAuthorizedException", "Invalid Access Token"):
        cognito.get_user(AccessToken=token)


def parts(token):
    header, payload, signature = token.split(".")

    def read(part):
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

    return read(header), read(payload), signature


def write(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_changed_payload_is_noticed(cognito, signed_in):
    header, payload, signature = parts(signed_in[1]["AccessToken"])
    payload["username"] = "admin"
    with refused("NotAuthorizedException", "Could not verify signature for Access Token"):
        cognito.get_user(AccessToken=f"{write(header)}.{write(payload)}.{signature}")


def test_a_changed_signature_is_noticed(cognito, signed_in):
    token = signed_in[1]["AccessToken"]
    for bad in (token[:-8] + "AAAAAAAA", token.rsplit(".", 1)[0] + "."):
        with refused("NotAuthorizedException"):
            cognito.get_user(AccessToken=bad)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS512", "ES256"])
def test_the_algorithm_is_the_servers_choice(cognito, signed_in, server, pool, algorithm):
    header, payload, signature = parts(signed_in[1]["AccessToken"])
    header["alg"] = algorithm
    if algorithm.lower() == "none":
        signature = ""
    if algorithm == "HS256":
        keys = requests.get(f"{server.endpoint}/{pool.id}/.well-known/jwks.json", timeout=10).content
        signed = f"{write(header)}.{write(payload)}".encode()
        signature = base64.urlsafe_b64encode(hmac.digest(keys, signed, "sha256")).rstrip(b"=").decode()
    with refused("NotAuthorizedException"):
        cognito.get_user(AccessToken=f"{write(header)}.{write(payload)}.{signature}")


def test_a_key_of_ones_own_is_no_key(cognito, signed_in):
    """The header may name a key, or bring one along: neither counts."""
    header, payload, _ = parts(signed_in[1]["AccessToken"])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    for headers in ({"kid": header["kid"]}, {"kid": "mine"}, {"kid": "mine", "jwk": own, "jku": "http://127.0.0.1/"}):
        with refused("NotAuthorizedException"):
            cognito.get_user(AccessToken=jwt.encode(payload, key, "RS256", headers=headers))


def test_a_token_of_another_pool_does_not_cross(make_pool, cognito, signed_in):
    """Its kid is not a key of the pool that it claims."""
    other = make_pool()
    token = other.app_client().tokens(other.user())["AccessToken"]
    _, mine, _ = parts(signed_in[1]["AccessToken"])
    header, payload, signature = parts(token)
    payload["iss"] = mine["iss"]
    with refused("NotAuthorizedException"):
        cognito.get_user(AccessToken=f"{write(header)}.{write(payload)}.{signature}")
