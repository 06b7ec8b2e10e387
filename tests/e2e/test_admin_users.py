"""AdminCreateUser, AdminGetUser, AdminSetUserPassword, AdminDeleteUser."""

import pytest

from harness import wire
from harness.cognito import NEW_PASSWORD, PASSWORD, as_dict, attributes, inbox, refused, unique

NO_USER = "User does not exist."


def create(pool, username=None, **settings):
    settings.setdefault("MessageAction", "SUPPRESS")
    username = username or unique("user")
    answer = pool.cognito.admin_create_user(UserPoolId=pool.id, Username=username, **settings)
    return answer["User"]


def test_a_created_user_has_to_change_the_password(pool):
    username = unique("user")
    got = create(pool, username, UserAttributes=attributes({"email": "a@example.com", "email_verified": "true"}))
    assert got["Username"] == username
    assert got["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    assert got["Enabled"] is True
    assert got["UserCreateDate"] == got["UserLastModifiedDate"]
    assert "MFAOptions" not in got
    names = [a["Name"] for a in got["Attributes"]]
    assert set(names) == {"email", "email_verified", "sub"} and names[-1] == "sub"


def test_verification_is_not_added_when_it_is_not_sent(pool):
    got = create(pool, UserAttributes=attributes({"email": "a@example.com"}))
    assert as_dict(got["Attributes"]).keys() == {"email", "sub"}


def test_get_says_what_create_said(pool):
    created = create(pool, UserAttributes=attributes({"email": "a@example.com", "name": "A Reader"}))
    got = pool.get(created["Username"])
    got.pop("ResponseMetadata")
    assert got.pop("UserAttributes") == created.pop("Attributes")
    assert got == created


def test_a_user_is_found_by_the_sub(pool):
    created = create(pool)
    sub = as_dict(created["Attributes"])["sub"]
    assert pool.get(sub)["Username"] == created["Username"]


def test_a_name_is_taken_once(pool):
    username = create(pool)["Username"]
    with refused("UsernameExistsException", "User account already exists"):
        create(pool, username)


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("Aa1!aa", "Password not long enough"),
        ("aaaaaaa1!", "Password must have uppercase characters"),
        ("Aaaaaaa11", "Password must have symbol characters"),
    ],
)
def test_a_weak_temporary_password_is_refused(pool, password, rule):
    with refused("InvalidPasswordException", f"Password did not conform with password policy: {rule}"):
        create(pool, TemporaryPassword=password)


def test_the_invitation_holds_a_temporary_password_that_works(pool, app, server):
    username, to = unique("user"), unique("reader") + "@example.com"
    pool.cognito.admin_create_user(
        UserPoolId=pool.id,
        Username=username,
        UserAttributes=attributes({"email": to}),
        DesiredDeliveryMediums=["EMAIL"],
    )
    message = inbox(server, to)[0]
    assert message["subject"] == "Your temporary password"
    assert message["body"] == f"Your username is {username} and temporary password is {message['code']}."
    assert app.password_sign_in(username, message["code"])["ChallengeName"] == "NEW_PASSWORD_REQUIRED"


def test_a_suppressed_invitation_is_not_sent(pool, server):
    to = unique("reader") + "@example.com"
    create(pool, UserAttributes=attributes({"email": to}), DesiredDeliveryMediums=["EMAIL"])
    assert inbox(server, to) == []


def test_an_invitation_sent_again_has_a_new_password(pool, app, server):
    username, to = unique("user"), unique("reader") + "@example.com"
    settings = {"UserAttributes": attributes({"email": to}), "DesiredDeliveryMediums": ["EMAIL"]}
    pool.cognito.admin_create_user(UserPoolId=pool.id, Username=username, **settings)
    pool.cognito.admin_create_user(UserPoolId=pool.id, Username=username, MessageAction="RESEND", **settings)
    second, first = inbox(server, to)
    assert first["code"] != second["code"]
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.password_sign_in(username, first["code"])
    assert app.password_sign_in(username, second["code"])["ChallengeName"] == "NEW_PASSWORD_REQUIRED"


def test_an_invitation_is_sent_again_only_to_those_who_wait_for_it(pool):
    with refused("UserNotFoundException", NO_USER):
        create(pool, "nobody", MessageAction="RESEND")
    with refused("UnsupportedUserStateException"):
        create(pool, pool.user(), MessageAction="RESEND")


def test_a_permanent_password_confirms(pool, app, server):
    username = create(pool)["Username"]
    before = pool.get(username)["UserLastModifiedDate"]
    answer = wire.call(
        server,
        "AdminSetUserPassword",
        {"UserPoolId": pool.id, "Username": username, "Password": PASSWORD, "Permanent": True},
    )
    assert (answer.status, answer.json) == (200, {})
    got = pool.get(username)
    assert got["UserStatus"] == "CONFIRMED"
    assert got["UserLastModifiedDate"] >= before
    assert app.tokens(username)


def test_a_temporary_password_asks_for_a_new_one(pool, app):
    username = pool.user()
    pool.cognito.admin_set_user_password(UserPoolId=pool.id, Username=username, Password=NEW_PASSWORD, Permanent=False)
    assert pool.status(username) == "FORCE_CHANGE_PASSWORD"
    assert app.password_sign_in(username, NEW_PASSWORD)["ChallengeName"] == "NEW_PASSWORD_REQUIRED"


def test_the_old_password_ends_but_the_tokens_live(pool, app, cognito):
    username = pool.user()
    tokens = app.tokens(username)
    cognito.admin_set_user_password(UserPoolId=pool.id, Username=username, Password=NEW_PASSWORD, Permanent=True)
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.tokens(username)
    assert app.tokens(username, NEW_PASSWORD)
    assert cognito.get_user(AccessToken=tokens["AccessToken"])["Username"] == username
    assert app.refresh(tokens["RefreshToken"])["AuthenticationResult"]["AccessToken"]


def test_a_weak_password_is_refused_and_changes_nothing(pool, app, cognito):
    username = pool.user()
    with refused("InvalidPasswordException", "Password does not conform to policy: Password not long enough"):
        cognito.admin_set_user_password(UserPoolId=pool.id, Username=username, Password="Aa1!aaa", Permanent=True)
    assert app.tokens(username)


def test_a_deleted_user_is_gone_with_every_token(pool, app, cognito, server):
    username = pool.user()
    tokens = app.tokens(username)
    answer = wire.call(server, "AdminDeleteUser", {"UserPoolId": pool.id, "Username": username})
    assert (answer.status, answer.body) == (200, b"")
    for operation in (cognito.admin_get_user, cognito.admin_delete_user):
        with refused("UserNotFoundException", NO_USER):
            operation(UserPoolId=pool.id, Username=username)
    with refused("UserNotFoundException", NO_USER):
        app.tokens(username)
    with refused("UserNotFoundException", NO_USER):
        cognito.get_user(AccessToken=tokens["AccessToken"])
    with refused("NotAuthorizedException", "The user has been deleted for the associated refresh token"):
        app.refresh(tokens["RefreshToken"])


def test_a_name_used_again_meets_nothing_of_the_old_user(pool, app, cognito):
    username = pool.user(email="old@example.com")
    old = app.tokens(username)
    cognito.admin_delete_user(UserPoolId=pool.id, Username=username)
    pool.user(username, password=NEW_PASSWORD)
    assert "email" not in as_dict(pool.get(username)["UserAttributes"])
    with refused("NotAuthorizedException"):
        app.tokens(username)
    with refused("NotAuthorizedException", "Invalid access token."):
        cognito.get_user(AccessToken=old["AccessToken"])
    with refused("NotAuthorizedException", "The user has been deleted for the associated refresh token"):
        app.refresh(old["RefreshToken"])


@pytest.mark.parametrize("prevent", ["LEGACY", "ENABLED"])
def test_administrators_are_told_who_does_not_exist(pool, cognito, prevent):
    pool.app_client(PreventUserExistenceErrors=prevent)
    with refused("UserNotFoundException", NO_USER):
        cognito.admin_get_user(UserPoolId=pool.id, Username="nobody")
    with refused("UserNotFoundException", NO_USER):
        cognito.admin_set_user_password(UserPoolId=pool.id, Username="nobody", Password=PASSWORD, Permanent=True)


def test_an_alias_moves_only_when_asked(make_pool):
    pool = make_pool(AliasAttributes=["email"])
    verified = attributes({"email": "one@example.com", "email_verified": "true"})
    first = create(pool, UserAttributes=verified)["Username"]
    with refused("AliasExistsException", "An account with the given email already exists."):
        create(pool, UserAttributes=verified)
    second = create(pool, UserAttributes=verified, ForceAliasCreation=True)["Username"]
    assert pool.get("one@example.com")["Username"] == second
    assert as_dict(pool.get(first)["UserAttributes"])["email_verified"] == "false"


def test_users_of_two_pools_have_nothing_to_do_with_each_other(make_pool):
    mine, other = make_pool(), make_pool()
    username = mine.user()
    with refused("UserNotFoundException", NO_USER):
        other.get(username)
    other.user(username, password=NEW_PASSWORD)
    with refused("NotAuthorizedException"):
        other.app_client().tokens(username)
    assert mine.app_client().tokens(username)


def test_a_disabled_user_is_out_and_stays_out_of_old_sessions(pool, app, cognito, server):
    username = pool.user()
    tokens = app.tokens(username)
    answer = wire.call(server, "AdminDisableUser", {"UserPoolId": pool.id, "Username": username})
    assert (answer.status, answer.json) == (200, {})
    assert pool.get(username)["Enabled"] is False
    for attempt in (
        lambda: app.tokens(username),
        lambda: app.refresh(tokens["RefreshToken"]),
        lambda: cognito.get_user(AccessToken=tokens["AccessToken"]),
    ):
        with refused("NotAuthorizedException", "User is disabled."):
            attempt()
    answer = wire.call(server, "AdminEnableUser", {"UserPoolId": pool.id, "Username": username})
    assert (answer.status, answer.json) == (200, {})
    assert pool.get(username)["Enabled"] is True
    with refused("NotAuthorizedException", "Refresh Token has been revoked"):
        app.refresh(tokens["RefreshToken"])
    with refused("NotAuthorizedException", "Access Token has been revoked"):
        cognito.get_user(AccessToken=tokens["AccessToken"])
    assert cognito.get_user(AccessToken=app.tokens(username)["AccessToken"])


def test_disabling_twice_is_no_mistake(pool, cognito):
    username = pool.user()
    for enabled, act in ((False, cognito.admin_disable_user), (True, cognito.admin_enable_user)):
        act(UserPoolId=pool.id, Username=username)
        act(UserPoolId=pool.id, Username=username)
        assert pool.get(username)["Enabled"] is enabled


def test_nobody_is_neither_disabled_nor_enabled(pool, cognito):
    for act in (cognito.admin_disable_user, cognito.admin_enable_user):
        with refused("UserNotFoundException", NO_USER):
            act(UserPoolId=pool.id, Username="nobody")
