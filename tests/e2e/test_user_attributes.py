"""AdminUpdateUserAttributes, AdminDeleteUserAttributes."""

import pytest

from harness import wire
from harness.cognito import Pool, as_dict, attributes, inbox, refused, unique

NO_USER = "User does not exist."


def address():
    return unique("reader") + "@example.com"


def update(pool, username, **values):
    pool.cognito.admin_update_user_attributes(
        UserPoolId=pool.id, Username=username, UserAttributes=attributes(values)
    )


def held(pool, username):
    got = as_dict(pool.get(username)["UserAttributes"])
    got.pop("sub")
    return got


def test_attributes_are_set_and_an_empty_value_takes_one_away(pool, server):
    username = pool.user(name="N", locale="en")
    body = {
        "UserPoolId": pool.id,
        "Username": username,
        "UserAttributes": attributes({"name": "M", "locale": "", "nickname": "Q"}),
    }
    answer = wire.call(server, "AdminUpdateUserAttributes", body)
    assert (answer.status, answer.json) == (200, {})
    assert held(pool, username) == {"name": "M", "nickname": "Q"}


def test_the_time_of_the_last_change_moves(pool):
    username = pool.user()
    before = pool.get(username)
    update(pool, username, name="N")
    after = pool.get(username)
    assert after["UserLastModifiedDate"] > before["UserLastModifiedDate"]
    assert after["UserCreateDate"] == before["UserCreateDate"]


def test_attributes_are_taken_away(pool, server):
    username = pool.user(name="N", locale="en", email=address(), email_verified="true")
    body = {"UserPoolId": pool.id, "Username": username, "UserAttributeNames": ["name", "email", "nickname"]}
    answer = wire.call(server, "AdminDeleteUserAttributes", body)
    assert (answer.status, answer.json) == (200, {})
    assert held(pool, username) == {"locale": "en"}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("custom:none", "x", "user.custom:none: Attribute does not exist in the schema.\n"),
        ("cognito:username", "x", "user.cognito:username: Attribute does not exist in the schema.\n"),
        ("sub", "x", "user.sub: Attribute cannot be updated.\n"),
        ("email", "nobody", "Invalid email address format."),
        ("phone_number", "0100", "Invalid phone number format."),
        ("email_verified", "true", "Email is required to verify/un-verify an email"),
    ],
)
def test_what_cannot_be_written_is_named(pool, name, value, text):
    username = pool.user()
    with refused("InvalidParameterException", text):
        update(pool, username, **{name: value})
    assert held(pool, username) == {}


def test_a_new_address_is_not_verified(pool):
    username = pool.user(email=address(), email_verified="true")
    new = address()
    update(pool, username, email=new)
    assert held(pool, username) == {"email": new, "email_verified": "false"}
    update(pool, username, email_verified="true")
    assert held(pool, username) == {"email": new, "email_verified": "true"}


def test_a_new_address_gets_a_code(mail_pool, server):
    username, to = mail_pool.user(email=address(), email_verified="true"), address()
    update(mail_pool, username, email=to)
    (message,) = inbox(server, to)
    assert message["body"] == f"Your confirmation code is {message['code']}"
    quiet = address()
    update(mail_pool, username, email=quiet, email_verified="true")
    assert inbox(server, quiet) == []


def test_new_values_are_found_and_old_ones_are_not(pool, cognito):
    old, new = address(), address()
    username = pool.user(email=old)
    update(pool, username, email=new)

    def found(value):
        answer = cognito.list_users(UserPoolId=pool.id, Filter=f'email = "{value}"')
        return [user["Username"] for user in answer["Users"]]

    assert (found(old), found(new)) == ([], [username])


def test_an_address_that_an_administrator_vouches_for_moves(server, cognito):
    pool = Pool(server, cognito, AliasAttributes=["email"])
    app, to = pool.app_client(), address()
    first = pool.user(email=to, email_verified="true")
    second = pool.user(password="Another-horse-9")
    update(pool, second, email=to, email_verified="true")
    assert pool.get(to)["Username"] == second
    assert held(pool, first) == {"email": to, "email_verified": "false"}
    assert app.tokens(to, "Another-horse-9")
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.tokens(to)


def test_an_address_that_is_a_name_is_taken_once(server, cognito):
    pool = Pool(server, cognito, UsernameAttributes=["email"])
    first, second = address(), address()
    pool.user(first)
    pool.user(second)
    with refused("AliasExistsException", "An account with the given email already exists."):
        update(pool, second, email=first, email_verified="true")
    moved = address()
    update(pool, second, email=moved)
    assert pool.app_client().tokens(moved)
    with refused("UserNotFoundException", NO_USER):
        pool.get(second)


def test_new_values_are_in_new_tokens(pool, app):
    username = pool.user(name="N")
    tokens = app.tokens(username)
    update(pool, username, name="M")
    got = pool.cognito.get_user(AccessToken=tokens["AccessToken"])
    assert as_dict(got["UserAttributes"])["name"] == "M"


@pytest.mark.parametrize("operation", ["AdminUpdateUserAttributes", "AdminDeleteUserAttributes"])
def test_nobody_is_told_apart_from_nobody(pool, server, operation):
    body = {"UserPoolId": pool.id, "Username": "nobody", "UserAttributes": [], "UserAttributeNames": []}
    answer = wire.call(server, operation, body)
    assert (answer.error, answer.message) == ("UserNotFoundException", NO_USER)
    missing = "us-east-1_000000000"
    answer = wire.call(server, operation, {**body, "UserPoolId": missing})
    assert (answer.error, answer.message) == ("ResourceNotFoundException", f"User pool {missing} does not exist.")
