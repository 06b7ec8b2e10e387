"""The tokens, verified by a third-party library that fetches the keys itself, and their claims."""

import base64
import datetime
import json
import re

import jwt
import pytest
import requests

from harness import wire
from harness.cognito import PASSWORD, Pool, boto_client

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def issuer(server, pool):
    return f"{server.endpoint}/{pool.id}"


@pytest.fixture(scope="module")
def key_client(issuer):
    return jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json")


@pytest.fixture(scope="module")
def username(pool):
    return pool.user(email="a@example.com", given_name="Ada")


@pytest.fixture(scope="module")
def sign_in(server, app, username):
    """The raw answer of a sign-in, with its headers."""
    parameters = {"USERNAME": username, "PASSWORD": PASSWORD}
    body = {"ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters}
    return wire.call(server, "InitiateAuth", body)


@pytest.fixture(scope="module")
def tokens(sign_in):
    return sign_in.json["AuthenticationResult"]


def test_both_tokens_verify_with_the_published_keys(tokens, key_client, issuer, app):
    key = key_client.get_signing_key_from_jwt(tokens["IdToken"])
    claims = jwt.decode(tokens["IdToken"], key.key, algorithms=["RS256"], audience=app.id, issuer=issuer)
    assert claims["token_use"] == "id"
    key = key_client.get_signing_key_from_jwt(tokens["AccessToken"])
    claims = jwt.decode(tokens["AccessToken"], key.key, algorithms=["RS256"], issuer=issuer)
    assert claims["token_use"] == "access"


def test_the_two_tokens_have_different_keys(tokens, issuer):
    kids = [jwt.get_unverified_header(tokens[kind]) for kind in ("IdToken", "AccessToken")]
    assert [h.keys() for h in kids] == [{"kid", "alg"}, {"kid", "alg"}]
    published = requests.get(f"{issuer}/.well-known/jwks.json", timeout=10).json()["keys"]
    assert kids[0]["kid"] != kids[1]["kid"]
    assert {h["kid"] for h in kids} <= {k["kid"] for k in published}


def test_the_key_set_has_cognitos_form(issuer):
    answer = requests.get(f"{issuer}/.well-known/jwks.json", timeout=10)
    assert answer.status_code == 200
    assert "json" in answer.headers["Content-Type"]
    assert "max-age" in answer.headers["Cache-Control"]
    for key in answer.json()["keys"]:
        assert key.keys() == {"alg", "e", "kid", "kty", "n", "use"}
        assert (key["alg"], key["e"], key["kty"], key["use"]) == ("RS256", "AQAB", "RSA", "sig")
        modulus = base64.urlsafe_b64decode(key["n"] + "=" * (-len(key["n"]) % 4))
        assert len(modulus) == 256


def test_every_pool_has_its_own_keys(make_pool, server, issuer):
    def kids(url):
        return {k["kid"] for k in requests.get(f"{url}/.well-known/jwks.json", timeout=10).json()["keys"]}

    other = make_pool()
    assert not kids(issuer) & kids(f"{server.endpoint}/{other.id}")


def test_a_missing_pool_has_no_keys(server):
    answer = requests.get(f"{server.endpoint}/us-east-1_0000Gone0/.well-known/jwks.json", timeout=10)
    assert answer.status_code in {400, 404}


def test_discovery_agrees_with_the_tokens(issuer, tokens):
    document = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    assert document["issuer"] == issuer == claims_of(tokens["IdToken"])["iss"]
    assert document["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_the_claims_of_the_access_token(tokens, app, pool, username, issuer):
    claims = claims_of(tokens["AccessToken"])
    assert set(claims) == {
        "sub", "iss", "client_id", "origin_jti", "event_id", "token_use", "scope", "auth_time", "exp", "iat", "jti",
        "username",
    }  # fmt: skip
    assert claims["scope"] == "aws.cognito.signin.user.admin"
    assert claims["client_id"] == app.id
    assert claims["username"] == username
    assert claims["iss"] == issuer
    assert claims["sub"] == {a["Name"]: a["Value"] for a in pool.get(username)["UserAttributes"]}["sub"]
    assert claims["exp"] == claims["iat"] + 3600
    assert claims["auth_time"] == claims["iat"]
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    assert abs(now - claims["iat"]) < 60
    for name in ("origin_jti", "event_id", "jti"):
        assert UUID4.fullmatch(claims[name])


def test_the_claims_of_the_id_token(tokens, app, username):
    claims = claims_of(tokens["IdToken"])
    assert set(claims) == {
        "sub", "iss", "aud", "cognito:username", "origin_jti", "event_id", "token_use", "auth_time", "exp", "iat",
        "jti", "email", "given_name",
    }  # fmt: skip
    assert claims["aud"] == app.id
    assert claims["cognito:username"] == username
    assert claims["email"] == "a@example.com"
    access = claims_of(tokens["AccessToken"])
    for same in ("sub", "iss", "origin_jti", "event_id", "auth_time"):
        assert claims[same] == access[same]
    assert claims["jti"] != access["jti"]


def test_verified_flags_are_booleans(pool, app, cognito):
    username = pool.user(email="a@example.com", email_verified="true")
    assert claims_of(app.tokens(username)["IdToken"])["email_verified"] is True


def test_the_event_is_the_request(sign_in, tokens):
    request_id = sign_in.headers["x-amzn-RequestId"]
    assert UUID4.fullmatch(request_id)
    assert claims_of(tokens["AccessToken"])["event_id"] == request_id


def test_custom_attributes_are_text_in_the_id_token(make_pool):
    pool = make_pool(Schema=[{"Name": "team", "AttributeDataType": "String", "Mutable": True}])
    username = pool.user(**{"custom:team": "red"})
    assert claims_of(pool.app_client().tokens(username)["IdToken"])["custom:team"] == "red"


def test_the_id_token_holds_only_what_the_client_may_read(pool, username):
    claims = claims_of(pool.app_client(ReadAttributes=["given_name"]).tokens(username)["IdToken"])
    assert "given_name" in claims and "email" not in claims


def test_a_client_sets_how_long_tokens_live(pool, username):
    app = pool.app_client(
        AccessTokenValidity=5,
        IdTokenValidity=2,
        TokenValidityUnits={"AccessToken": "minutes", "IdToken": "hours", "RefreshToken": "days"},
    )
    tokens = app.tokens(username)
    access, identity = claims_of(tokens["AccessToken"]), claims_of(tokens["IdToken"])
    assert tokens["ExpiresIn"] == access["exp"] - access["iat"] == 300
    assert identity["exp"] - identity["iat"] == 7200


def test_without_revocation_tokens_have_no_origin(pool, username):
    tokens = pool.app_client(EnableTokenRevocation=False).tokens(username)
    assert "origin_jti" not in claims_of(tokens["AccessToken"])
    assert "origin_jti" not in claims_of(tokens["IdToken"])


def test_the_header_begins_with_the_key(tokens):
    raw = tokens["IdToken"].split(".")[0]
    header = base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
    assert list(json.loads(header)) == ["kid", "alg"]


def test_the_public_url_is_the_issuer(start_server):
    server = start_server(options=["--public-url", "https://id.example.com"])
    pool = Pool(server, boto_client(server))
    tokens = pool.app_client().tokens(pool.user())
    issuer = f"https://id.example.com/{pool.id}"
    assert claims_of(tokens["IdToken"])["iss"] == issuer
    document = requests.get(f"{server.endpoint}/{pool.id}/.well-known/openid-configuration", timeout=10).json()
    assert document["issuer"] == issuer
    assert document["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
