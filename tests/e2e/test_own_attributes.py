"""UpdateUserAttributes, DeleteUserAttributes, GetUserAttributeVerificationCode, VerifyUserAttribute, DeleteUser."""

import jwt
import pytest

from harness import wire
from harness.cognito import Pool, as_dict, attributes, inbox, newest_code, refused, unique, wrong

MISMATCH = "Invalid verification code provided, please try again."
EXPIRED = "Invalid code provided, please request a code again."
LIMIT = "Attempt limit exceeded, please try after some time."
UNAUTHORIZED = "A client attempted to write unauthorized attribute"


def address():
    return unique("reader") + "@example.com"


def update(cognito, token, **values):
    answer = cognito.update_user_attributes(AccessToken=token, UserAttributes=attributes(values))
    return answer["CodeDeliveryDetailsList"] if "CodeDeliveryDetailsList" in answer else []


def verify(cognito, token, code, name="email"):
    cognito.verify_user_attribute(AccessToken=token, AttributeName=name, Code=code)


def held(pool, username):
    got = as_dict(pool.get(username)["UserAttributes"])
    got.pop("sub")
    return got


@pytest.fixture
def reader(mail_pool, mail_app):
    """A user with a verified address: the name, the address and an access token."""
    to = address()
    username = mail_pool.user(email=to, email_verified="true")
    return username, to, mail_app.tokens(username)["AccessToken"]


def test_s25_a_new_address_waits_for_its_code(mail_pool, mail_app, cognito, server, reader):
    username, _, token = reader
    to = address()
    assert update(cognito, token, email=to, name="N") == [
        {"AttributeName": "email", "DeliveryMedium": "EMAIL", "Destination": "r***@e***"}
    ]
    assert held(mail_pool, username) == {"email": to, "email_verified": "false", "name": "N"}
    with refused("InvalidParameterException"):
        cognito.forgot_password(ClientId=mail_app.id, Username=username)
    code = newest_code(server, to)
    with refused("CodeMismatchException", MISMATCH):
        verify(cognito, token, wrong(code))
    body = {"AccessToken": token, "AttributeName": "email", "Code": code}
    answer = wire.call(server, "VerifyUserAttribute", body)
    assert (answer.status, answer.json) == (200, {})
    assert held(mail_pool, username)["email_verified"] == "true"
    with refused("ExpiredCodeException", EXPIRED):
        verify(cognito, token, code)


def test_s24_the_old_address_stays_until_the_new_one_is_verified(server, cognito):
    pool = Pool(
        server,
        cognito,
        AliasAttributes=["email"],
        AutoVerifiedAttributes=["email"],
        UserAttributeUpdateSettings={"AttributesRequireVerificationBeforeUpdate": ["email"]},
    )
    described = cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["UserAttributeUpdateSettings"]
    assert described == {"AttributesRequireVerificationBeforeUpdate": ["email"]}
    app, old, new = pool.app_client(), address(), address()
    username = pool.user(email=old, email_verified="true")
    token = app.tokens(username)["AccessToken"]
    assert len(update(cognito, token, email=new)) == 1
    assert held(pool, username) == {"email": old, "email_verified": "true"}
    assert app.tokens(old)
    details = cognito.forgot_password(ClientId=app.id, Username=username)["CodeDeliveryDetails"]
    assert details["DeliveryMedium"] == "EMAIL"
    assert inbox(server, old)[0]["body"].startswith("Your password reset code")
    # a new code for the address that is pending
    cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    verify(cognito, token, newest_code(server, new))
    assert held(pool, username) == {"email": new, "email_verified": "true"}
    assert app.tokens(new)
    with refused("UserNotFoundException"):
        app.tokens(old)


def test_what_is_pending_must_be_verified_by_the_pool(cognito):
    text = "All attributes in AttributesRequireVerificationBeforeUpdate must exist in AutoVerifiedAttributes"
    with refused("InvalidParameterException", text):
        cognito.create_user_pool(
            PoolName=unique("pool"),
            UserAttributeUpdateSettings={"AttributesRequireVerificationBeforeUpdate": ["email"]},
        )


@pytest.mark.parametrize("name", ["email_verified", "phone_number_verified", "sub"])
def test_s21_nobody_verifies_an_address_by_claiming_it(mail_pool, cognito, reader, name):
    username, to, token = reader
    with refused("InvalidParameterException", f"Cannot modify the non-mutable attribute {name}"):
        update(cognito, token, **{name: "true"})
    assert held(mail_pool, username) == {"email": to, "email_verified": "true"}


def test_s22_users_write_what_their_client_may(server, cognito):
    schema = [
        {"Name": "role", "AttributeDataType": "String", "Mutable": True},
        {"Name": "fixed", "AttributeDataType": "String", "Mutable": False},
    ]
    pool = Pool(server, cognito, Schema=schema)
    app = pool.app_client(WriteAttributes=["name", "custom:fixed"])
    username = pool.user(**{"custom:role": "reader"})
    token = app.tokens(username)["AccessToken"]
    for value in ("admin", ""):
        with refused("NotAuthorizedException", UNAUTHORIZED):
            update(cognito, token, **{"custom:role": value})
    with refused("InvalidParameterException", "user.custom:fixed: Attribute cannot be updated.\n"):
        update(cognito, token, **{"custom:fixed": "x"})
    for name in ("dev:custom:role", "identities"):
        with refused("NotAuthorizedException", UNAUTHORIZED):
            update(cognito, token, **{name: "x"})
    with refused("NotAuthorizedException", UNAUTHORIZED):
        cognito.delete_user_attributes(AccessToken=token, UserAttributeNames=["custom:role"])
    assert update(cognito, token, name="N") == []
    assert held(pool, username) == {"custom:role": "reader", "name": "N"}


def test_attributes_are_taken_away(mail_pool, cognito, server, reader):
    username, _, token = reader
    body = {"AccessToken": token, "UserAttributeNames": ["email", "nickname"]}
    answer = wire.call(server, "DeleteUserAttributes", body)
    assert (answer.status, answer.json) == (200, {})
    assert held(mail_pool, username) == {}


def test_a_code_is_sent_when_it_is_asked_for(mail_pool, mail_app, cognito, server):
    to = address()
    username = mail_pool.user(email=to)
    token = mail_app.tokens(username)["AccessToken"]
    asked = cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    assert asked["CodeDeliveryDetails"] == {
        "AttributeName": "email",
        "DeliveryMedium": "EMAIL",
        "Destination": "r***@e***",
    }
    verify(cognito, token, newest_code(server, to))
    assert held(mail_pool, username) == {"email": to, "email_verified": "true"}


def test_s09_codes_and_guesses_are_limited(cognito, server, reader):
    _, to, token = reader
    for _ in range(5):
        cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    with refused("LimitExceededException", LIMIT):
        cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    code = newest_code(server, to)
    for _ in range(15):
        with refused("CodeMismatchException", MISMATCH):
            verify(cognito, token, wrong(code))
    with refused("LimitExceededException", LIMIT):
        verify(cognito, token, code)


def test_s07_an_address_that_another_has_verified_cannot_be_verified(server, cognito):
    pool = Pool(server, cognito, AliasAttributes=["email"], AutoVerifiedAttributes=["email"])
    app, to = pool.app_client(), address()
    first = pool.user(email=to, email_verified="true")
    second = pool.user()
    token = app.tokens(second)["AccessToken"]
    update(cognito, token, email=to)
    with refused("AliasExistsException", "An account with the given email already exists."):
        verify(cognito, token, newest_code(server, to))
    assert pool.get(to)["Username"] == first


def test_a_user_deletes_itself(mail_pool, cognito, server, reader):
    username, _, token = reader
    answer = wire.call(server, "DeleteUser", {"AccessToken": token})
    assert (answer.status, answer.body) == (200, b"")
    with refused("UserNotFoundException", "User does not exist."):
        mail_pool.get(username)
    with refused("UserNotFoundException", "User does not exist."):
        cognito.get_user(AccessToken=token)


OWN = {
    "UpdateUserAttributes": {"UserAttributes": []},
    "DeleteUserAttributes": {"UserAttributeNames": []},
    "GetUserAttributeVerificationCode": {"AttributeName": "email"},
    "VerifyUserAttribute": {"AttributeName": "email", "Code": "123456"},
    "DeleteUser": {},
    "ChangePassword": {"PreviousPassword": "Correct-horse-7", "ProposedPassword": "Correct-horse-7"},
}


@pytest.mark.parametrize("operation", OWN)
def test_only_a_good_token_of_an_active_user_acts(mail_pool, mail_app, cognito, server, operation):
    username = mail_pool.user(email=address(), email_verified="true")
    tokens = mail_app.tokens(username)
    for token in ("x.y.z", tokens["IdToken"]):
        answer = wire.call(server, operation, {"AccessToken": token, **OWN[operation]})
        assert (answer.error, answer.message) == ("NotAuthorizedException", "Invalid Access Token")
    cognito.admin_disable_user(UserPoolId=mail_pool.id, Username=username)
    answer = wire.call(server, operation, {"AccessToken": tokens["AccessToken"], **OWN[operation]})
    assert (answer.error, answer.message) == ("NotAuthorizedException", "User is disabled.")
    assert mail_pool.get(username)


def test_s23_users_read_what_their_client_may(server, cognito):
    pool = Pool(server, cognito, Schema=[{"Name": "role", "AttributeDataType": "String", "Mutable": True}])
    app = pool.app_client(ReadAttributes=["name"])
    tokens = app.tokens(pool.user(name="N", email=address(), **{"custom:role": "reader"}))
    got = as_dict(cognito.get_user(AccessToken=tokens["AccessToken"])["UserAttributes"])
    assert got.keys() == {"name", "sub"}
    claims = jwt.decode(tokens["IdToken"], options={"verify_signature": False})
    assert claims["name"] == "N"
    assert not {"email", "email_verified", "custom:role"} & claims.keys()


def test_s26_case_variants_of_a_name_are_one_user(server, cognito):
    settings = {"UsernameAttributes": ["email"], "UsernameConfiguration": {"CaseSensitive": False}}
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], **settings)
    app, to = pool.app_client(), address()
    app.sign_up(to)
    app.confirm(to, newest_code(server, to))
    with refused("UsernameExistsException"):
        app.sign_up(to.upper())
    for variant in (to, to.upper(), to.title()):
        assert app.tokens(variant)
    for spaced in (f" {to}", f"{to} "):
        with refused("InvalidParameterException"):
            app.sign_up(spaced)
    other = address()
    app.sign_up(other)
    app.confirm(other, newest_code(server, other))
    token = app.tokens(other)["AccessToken"]
    with refused("AliasExistsException", "An account with the given email already exists."):
        update(cognito, token, email=to.upper())
