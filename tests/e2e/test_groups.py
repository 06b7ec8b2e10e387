"""Groups: their life, who is in them, and what tokens say of them."""

import jwt
import pytest

from harness import wire
from harness.cognito import Pool, refused, unique

NO_GROUP = "Group not found."
NO_USER = "User does not exist."
ROLE = "arn:aws:iam::111122223333:role/"


def group(pool, name=None, **settings):
    name = name or unique("group")
    return pool.cognito.create_group(UserPoolId=pool.id, GroupName=name, **settings)["Group"]


def add(pool, username, name):
    pool.cognito.admin_add_user_to_group(UserPoolId=pool.id, Username=username, GroupName=name)


def members(pool, name, **more):
    answer = pool.cognito.list_users_in_group(UserPoolId=pool.id, GroupName=name, **more)
    return sorted(user["Username"] for user in answer["Users"])


def groups_of(pool, username):
    answer = pool.cognito.admin_list_groups_for_user(UserPoolId=pool.id, Username=username)
    return [group["GroupName"] for group in answer["Groups"]]


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_group_is_shown_as_it_was_made(pool, cognito):
    made = group(pool, Description="Those who work here", RoleArn=f"{ROLE}staff", Precedence=3)
    assert made["UserPoolId"] == pool.id
    assert (made["Description"], made["RoleArn"], made["Precedence"]) == ("Those who work here", f"{ROLE}staff", 3)
    assert made["CreationDate"] == made["LastModifiedDate"]
    shown = cognito.get_group(UserPoolId=pool.id, GroupName=made["GroupName"])["Group"]
    assert shown == made


def test_what_is_not_given_is_not_shown(pool):
    assert group(pool).keys() == {"GroupName", "UserPoolId", "CreationDate", "LastModifiedDate"}


def test_an_update_changes_what_it_names(pool, cognito):
    made = group(pool, Description="before", RoleArn=f"{ROLE}staff", Precedence=3)
    updated = cognito.update_group(UserPoolId=pool.id, GroupName=made["GroupName"], Precedence=0)["Group"]
    assert updated.pop("LastModifiedDate") > made.pop("LastModifiedDate")
    assert updated == {**made, "Precedence": 0}


def test_a_name_is_taken_once(pool):
    name = group(pool)["GroupName"]
    for again in (name, name.upper()):
        with refused("GroupExistsException", "A group with the name already exists."):
            group(pool, again)


def test_a_deleted_group_is_gone_and_its_name_is_free(pool, cognito, server):
    name, username = group(pool)["GroupName"], pool.user()
    add(pool, username, name)
    answer = wire.call(server, "DeleteGroup", {"UserPoolId": pool.id, "GroupName": name})
    assert (answer.status, answer.body) == (200, b"")
    for act in (cognito.get_group, cognito.update_group, cognito.delete_group, cognito.list_users_in_group):
        with refused("ResourceNotFoundException", NO_GROUP):
            act(UserPoolId=pool.id, GroupName=name)
    assert groups_of(pool, username) == []
    group(pool, name)
    assert (groups_of(pool, username), members(pool, name)) == ([], [])


def test_pages_hold_every_group_once(server, cognito):
    pool = Pool(server, cognito)
    names = [group(pool)["GroupName"] for _ in range(7)]
    pages = cognito.get_paginator("list_groups").paginate(UserPoolId=pool.id, PaginationConfig={"PageSize": 3})
    seen = [[g["GroupName"] for g in page["Groups"]] for page in pages]
    assert [len(page) for page in seen] == [3, 3, 1]
    assert sorted(sum(seen, [])) == sorted(names)


def test_users_come_and_go(pool, cognito, server):
    name, first, second = group(pool)["GroupName"], pool.user(), pool.user()
    body = {"UserPoolId": pool.id, "GroupName": name, "Username": first}
    for _ in range(2):
        answer = wire.call(server, "AdminAddUserToGroup", body)
        assert (answer.status, answer.body) == (200, b"")
    add(pool, second, name)
    assert members(pool, name) == sorted([first, second])
    for _ in range(2):
        answer = wire.call(server, "AdminRemoveUserFromGroup", body)
        assert (answer.status, answer.body) == (200, b"")
    assert members(pool, name) == [second]
    cognito.admin_delete_user(UserPoolId=pool.id, Username=second)
    assert members(pool, name) == []


def test_a_member_is_shown_as_a_user(pool):
    name, username = group(pool)["GroupName"], pool.user(email="a@example.com")
    add(pool, username, name)
    answer = pool.cognito.list_users_in_group(UserPoolId=pool.id, GroupName=name)
    (user,) = answer["Users"]
    got = pool.get(username)
    assert user["Attributes"] == got["UserAttributes"]
    for member in ("Username", "Enabled", "UserStatus", "UserCreateDate", "UserLastModifiedDate"):
        assert user[member] == got[member]


def test_a_user_made_anew_is_in_no_group(pool, cognito):
    name, username = group(pool)["GroupName"], pool.user()
    add(pool, username, name)
    cognito.admin_delete_user(UserPoolId=pool.id, Username=username)
    pool.user(username)
    assert (groups_of(pool, username), members(pool, name)) == ([], [])


def test_pages_hold_every_member_once(pool, cognito):
    name = group(pool)["GroupName"]
    names = [pool.user() for _ in range(5)]
    for username in names:
        add(pool, username, name)
    pages = cognito.get_paginator("list_users_in_group").paginate(
        UserPoolId=pool.id, GroupName=name, PaginationConfig={"PageSize": 2}
    )
    seen = [[user["Username"] for user in page["Users"]] for page in pages]
    assert [len(page) for page in seen] == [2, 2, 1]
    assert sorted(sum(seen, [])) == sorted(names)


def test_who_or_what_is_not_there_is_named(pool, cognito):
    name, username = group(pool)["GroupName"], pool.user()
    for act in (cognito.admin_add_user_to_group, cognito.admin_remove_user_from_group):
        with refused("ResourceNotFoundException", NO_GROUP):
            act(UserPoolId=pool.id, Username=username, GroupName="none")
        with refused("UserNotFoundException", NO_USER):
            act(UserPoolId=pool.id, Username="nobody", GroupName=name)
    with refused("UserNotFoundException", NO_USER):
        cognito.admin_list_groups_for_user(UserPoolId=pool.id, Username="nobody")
    missing = "us-east-1_000000000"
    with refused("ResourceNotFoundException", f"User pool {missing} does not exist."):
        cognito.create_group(UserPoolId=missing, GroupName=name)


@pytest.mark.parametrize("operation", ["ListGroups", "ListUsersInGroup", "AdminListGroupsForUser"])
def test_a_made_up_token_is_refused(pool, server, operation):
    username = pool.user()
    body = {"UserPoolId": pool.id, "GroupName": group(pool)["GroupName"], "Username": username, "NextToken": "made-up"}
    answer = wire.call(server, operation, body)
    assert (answer.error, answer.message) == ("InvalidParameterException", "Invalid pagination token given.")


def test_tokens_name_the_groups_by_precedence(server, cognito):
    pool = Pool(server, cognito)
    app, username = pool.app_client(), pool.user()
    assert not any(name.startswith("cognito:g") for name in claims(app.tokens(username)["IdToken"]))
    for name, settings in {
        "staff": {"Precedence": 5, "RoleArn": f"{ROLE}staff"},
        "admins": {"Precedence": 1, "RoleArn": f"{ROLE}admin"},
        "all": {},
    }.items():
        group(pool, name, **settings)
        add(pool, username, name)
    assert groups_of(pool, username) == ["admins", "staff", "all"]
    tokens = app.tokens(username)
    id_claims = claims(tokens["IdToken"])
    assert id_claims["cognito:groups"] == ["admins", "staff", "all"]
    assert id_claims["cognito:roles"] == [f"{ROLE}admin", f"{ROLE}staff"]
    assert id_claims["cognito:preferred_role"] == f"{ROLE}admin"
    access_claims = claims(tokens["AccessToken"])
    assert access_claims["cognito:groups"] == ["admins", "staff", "all"]
    assert "cognito:roles" not in access_claims

    # equals with different roles leave nobody preferred
    cognito.update_group(UserPoolId=pool.id, GroupName="staff", Precedence=1)
    cognito.admin_remove_user_from_group(UserPoolId=pool.id, Username=username, GroupName="all")
    refreshed = claims(app.refresh(tokens["RefreshToken"])["AuthenticationResult"]["IdToken"])
    assert refreshed["cognito:groups"] == ["admins", "staff"]
    assert "cognito:preferred_role" not in refreshed
