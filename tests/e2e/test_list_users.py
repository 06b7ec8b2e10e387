"""ListUsers: pages, filters, chosen attributes."""

import re

import pytest

from harness.cognito import Pool, as_dict, refused


@pytest.fixture(scope="module")
def people(server, cognito):
    """A pool with six users, one of them unconfirmed, one waiting for a new password."""
    pool = Pool(server, cognito)
    pool.user("ada", email="ada@example.com", given_name="Ada", family_name="Lovelace")
    pool.user("alan", email="alan@example.com", given_name="Alan", family_name="Turing")
    pool.user("barbara", email="barbara@example.org", given_name="Barbara", family_name="Liskov")
    pool.user("quote", name='say "yes"', phone_number="+12065550100")
    pool.app_client().sign_up("grace", email="grace@example.com")
    cognito.admin_create_user(UserPoolId=pool.id, Username="invited", MessageAction="SUPPRESS")
    return pool


def names(answer):
    return sorted(u["Username"] for u in answer["Users"])


def search(pool, text, **more):
    return names(pool.cognito.list_users(UserPoolId=pool.id, Filter=text, **more))


def test_all_users_are_listed_with_all_attributes(people, cognito):
    answer = cognito.list_users(UserPoolId=people.id)
    assert names(answer) == ["ada", "alan", "barbara", "grace", "invited", "quote"]
    assert "PaginationToken" not in answer
    for user in answer["Users"]:
        got = people.get(user["Username"])
        assert as_dict(user["Attributes"]) == as_dict(got["UserAttributes"])
        for member in ("Enabled", "UserStatus", "UserCreateDate", "UserLastModifiedDate"):
            assert user[member] == got[member]


def test_users_are_listed_page_by_page(people, cognito):
    listed, token, pages = [], None, 0
    while True:
        answer = cognito.list_users(UserPoolId=people.id, Limit=4, **({"PaginationToken": token} if token else {}))
        assert len(answer["Users"]) <= 4
        listed += names(answer)
        pages += 1
        token = answer.get("PaginationToken")
        if token is None or pages > 10:
            break
    assert sorted(listed) == ["ada", "alan", "barbara", "grace", "invited", "quote"]


def test_a_page_token_of_another_pool_is_refused(people, make_pool, cognito):
    token = cognito.list_users(UserPoolId=people.id, Limit=1)["PaginationToken"]
    other = make_pool()
    other.user()
    with refused("InvalidParameterException"):
        cognito.list_users(UserPoolId=other.id, Limit=1, PaginationToken=token)
    with refused("InvalidParameterException"):
        cognito.list_users(UserPoolId=people.id, Limit=1, PaginationToken="x" * 40)


def test_an_empty_pool_lists_nobody(make_pool, cognito):
    assert cognito.list_users(UserPoolId=make_pool().id)["Users"] == []


FOUND = {
    'username = "ada"': ["ada"],
    'username="ada"': ["ada"],
    'username ^= "a"': ["ada", "alan"],
    'email = "alan@example.com"': ["alan"],
    'email ^= "alan@"': ["alan"],
    'given_name = "Barbara"': ["barbara"],
    'family_name ^= "L"': ["ada", "barbara"],
    'phone_number ^= "+1206"': ["quote"],
    'name = "say \\"yes\\""': ["quote"],
    'cognito:user_status = "UNCONFIRMED"': ["grace"],
    'cognito:user_status = "FORCE_CHANGE_PASSWORD"': ["invited"],
    'status = "Enabled"': ["ada", "alan", "barbara", "grace", "invited", "quote"],
    'status = "Disabled"': [],
    'email = "nobody@example.com"': [],
    "": ["ada", "alan", "barbara", "grace", "invited", "quote"],
}


@pytest.mark.parametrize("text", FOUND)
def test_a_filter_finds(people, text):
    assert search(people, text) == FOUND[text]


def test_a_filter_finds_the_sub(people):
    sub = as_dict(people.get("ada")["UserAttributes"])["sub"]
    assert search(people, f'sub = "{sub}"') == ["ada"]


def test_a_filter_and_pages_go_together(people, cognito):
    listed, token = [], None
    for _ in range(10):
        more = {"PaginationToken": token} if token else {}
        answer = cognito.list_users(UserPoolId=people.id, Filter='username ^= "a"', Limit=1, **more)
        listed += names(answer)
        token = answer.get("PaginationToken")
        if token is None:
            break
    assert sorted(listed) == ["ada", "alan"]


@pytest.mark.parametrize(
    "text",
    ["username", 'username = "ada', "username = ada", '= "ada"', 'username > "a"', '"ada" = username', 'a = "b" c'],
)
def test_a_filter_that_cannot_be_read_is_refused(people, text):
    with refused("InvalidParameterException", "Error while parsing filter."):
        search(people, text)


@pytest.mark.parametrize("name", ["custom:team", "birthdate", "nothing"])
def test_only_some_attributes_can_be_searched(people, name):
    with refused("InvalidParameterException"):
        search(people, f'{name} = "x"')


def test_only_the_chosen_attributes_are_shown(people, cognito):
    answer = cognito.list_users(
        UserPoolId=people.id, Filter='username ^= "a"', AttributesToGet=["email", "given_name"]
    )
    for user in answer["Users"]:
        assert as_dict(user["Attributes"]).keys() == {"email", "given_name"}


def test_attributes_that_do_not_exist_are_refused(people, cognito):
    with refused("InvalidParameterException", "One or more requested attributes do not exist."):
        cognito.list_users(UserPoolId=people.id, AttributesToGet=["custom:nowhere"])


def test_at_most_sixty_users_fit_on_a_page(people, cognito):
    with refused("InvalidParameterException", re.compile(r".*Value '61' at 'limit' .* less than or equal to 60")):
        cognito.list_users(UserPoolId=people.id, Limit=61)
