"""Terms documents: links to the terms of use and the privacy policy of an app client, by language.

The API reference says that names are unique to the client, and what cognito:default is for; all texts are judgement, after those
that the service has for managed login styles. Exceptions of the model that are not provoked here:
ConcurrentModificationException (changes that conflict are decided again), TooManyRequestsException (the quotas are off by
default), NotAuthorizedException and OperationNotEnabledException (this server has nothing that they stand for),
InternalErrorException. LimitExceededException needs two documents of every client that a pool can have: the tests of the domain
lower the limit.
"""

import datetime
import re

import pytest

from harness.cognito import boto_client, refused

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
URL = "https://example.com/terms"
LINKS = {"cognito:default": URL, "cognito:german": "https://example.com/de/agb", "cognito:chinese-traditional": URL}
NOT_FOUND = "Terms does not exist."
ABSENT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def app(pool):
    """A client without documents."""
    return pool.app_client()


def create(cognito, app, name="terms-of-use", **more):
    values = {"TermsName": name, "TermsSource": "LINK", "Enforcement": "NONE", "Links": LINKS, **more}
    return cognito.create_terms(UserPoolId=app.pool.id, ClientId=app.id, **values)["Terms"]


def describe(cognito, pool, terms_id):
    return cognito.describe_terms(UserPoolId=pool.id, TermsId=terms_id)["Terms"]


def update(cognito, pool, terms_id, **values):
    return cognito.update_terms(UserPoolId=pool.id, TermsId=terms_id, **values)["Terms"]


def test_a_document_from_beginning_to_end(cognito, make_pool):
    pool = make_pool()
    app = pool.app_client()
    assert cognito.list_terms(UserPoolId=pool.id)["Terms"] == []
    made = create(cognito, app)
    terms_id = made["TermsId"]
    assert UUID4.fullmatch(terms_id)
    assert isinstance(made["CreationDate"], datetime.datetime)
    expected = {
        "TermsId": terms_id,
        "UserPoolId": pool.id,
        "ClientId": app.id,
        "TermsName": "terms-of-use",
        "TermsSource": "LINK",
        "Enforcement": "NONE",
        "Links": LINKS,
        "CreationDate": made["CreationDate"],
        "LastModifiedDate": made["CreationDate"],
    }
    assert made == expected
    assert describe(cognito, pool, terms_id) == expected

    # links that are given take the place of all that are there; what is left out stays
    changed = update(cognito, pool, terms_id, Links={"cognito:default": "http://example.com"})
    assert changed["Links"] == {"cognito:default": "http://example.com"}
    assert changed["LastModifiedDate"] > changed["CreationDate"] == made["CreationDate"]
    assert changed == {**expected, "Links": changed["Links"], "LastModifiedDate": changed["LastModifiedDate"]}
    renamed = update(cognito, pool, terms_id, TermsName="privacy-policy", TermsSource="LINK", Enforcement="NONE")
    assert (renamed["TermsName"], renamed["Links"]) == ("privacy-policy", changed["Links"])
    assert describe(cognito, pool, terms_id) == renamed
    described = {"TermsId", "TermsName", "Enforcement", "CreationDate", "LastModifiedDate"}
    assert cognito.list_terms(UserPoolId=pool.id)["Terms"] == [{name: renamed[name] for name in described}]

    cognito.delete_terms(UserPoolId=pool.id, TermsId=terms_id)
    assert cognito.list_terms(UserPoolId=pool.id)["Terms"] == []


def test_a_client_has_a_document_of_each_name(cognito, pool, app):
    def taken(name):
        return refused("TermsExistsException", f"Terms with the name {name} already exists for client {app.id}")

    first, second = create(cognito, app), create(cognito, app, "privacy-policy")
    for name in ("terms-of-use", "privacy-policy"):
        with taken(name):
            create(cognito, app, name)
    with taken("terms-of-use"):
        update(cognito, pool, second["TermsId"], TermsName="terms-of-use")
    assert describe(cognito, pool, second["TermsId"]) == second
    update(cognito, pool, first["TermsId"], TermsName="terms-of-use")
    create(cognito, pool.app_client())


BAD_LINKS = {
    "no default": ({"cognito:french": URL}, "Links must have a URL for cognito:default."),
    "no web address": ({"cognito:default": "javascript:alert(1)"}, "javascript:alert(1) is not a valid URL."),
    "no scheme": ({"cognito:default": URL, "cognito:dutch": "example.com"}, "example.com is not a valid URL."),
}


@pytest.mark.parametrize("links, text", BAD_LINKS.values(), ids=BAD_LINKS)
def test_links_are_checked(cognito, pool, app, links, text):
    with refused("InvalidParameterException", text):
        create(cognito, app, Links=links)
    made = create(cognito, app)
    with refused("InvalidParameterException", text):
        update(cognito, pool, made["TermsId"], Links=links)
    assert describe(cognito, pool, made["TermsId"]) == made


def test_a_document_has_links(cognito, pool, app):
    with refused("InvalidParameterException", "Links must have a URL for cognito:default."):
        cognito.create_terms(
            UserPoolId=pool.id, ClientId=app.id, TermsName="terms-of-use", TermsSource="LINK", Enforcement="NONE"
        )


def test_every_language_has_a_link(cognito, app):
    languages = [
        "default", "dutch", "english", "french", "spanish", "german", "bahasa-indonesia", "italian", "japanese", "korean",
        "portuguese-brazil", "chinese-simplified", "chinese-traditional",
    ]  # fmt: skip
    links = {f"cognito:{language}": f"{URL}/{language}" for language in languages}
    assert create(cognito, app, Links=links)["Links"] == links


def test_what_is_not_there_is_not_found(cognito, pool):
    for operation in (cognito.describe_terms, cognito.update_terms, cognito.delete_terms):
        with refused("ResourceNotFoundException", NOT_FOUND):
            operation(UserPoolId=pool.id, TermsId=ABSENT)
    with refused("ResourceNotFoundException"):
        cognito.create_terms(
            UserPoolId=pool.id,
            ClientId="nosuchclient",
            TermsName="terms-of-use",
            TermsSource="LINK",
            Enforcement="NONE",
            Links=LINKS,
        )


def test_pages_go_through_every_document_once(cognito, make_pool):
    pool = make_pool()
    made = [create(cognito, pool.app_client())["TermsId"] for _ in range(5)]
    token, pages = {}, []
    while not pages or token:
        page = cognito.list_terms(UserPoolId=pool.id, MaxResults=2, **token)
        pages.append([terms["TermsId"] for terms in page["Terms"]])
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(sum(pages, [])) == sorted(made)
    with refused("InvalidParameterException"):
        cognito.list_terms(UserPoolId=pool.id, NextToken="made-up")


def test_documents_go_with_their_client(cognito, make_pool):
    pool = make_pool()
    app, other = pool.app_client(), pool.app_client()
    gone = [create(cognito, app)["TermsId"], create(cognito, app, "privacy-policy")["TermsId"]]
    kept = create(cognito, other)
    cognito.delete_user_pool_client(UserPoolId=pool.id, ClientId=app.id)
    for terms_id in gone:
        with refused("ResourceNotFoundException", NOT_FOUND):
            describe(cognito, pool, terms_id)
    assert [terms["TermsId"] for terms in cognito.list_terms(UserPoolId=pool.id)["Terms"]] == [kept["TermsId"]]


def test_a_pool_elsewhere_looks_like_none(server, cognito, pool, app):
    made = create(cognito, app)
    other = boto_client(server, region="eu-west-1")
    document = {"TermsId": made["TermsId"]}
    new = {"ClientId": app.id, "TermsName": "privacy-policy", "TermsSource": "LINK", "Enforcement": "NONE"}
    for operation, more in [
        (other.create_terms, {**new, "Links": LINKS}),
        (other.describe_terms, document),
        (other.update_terms, document),
        (other.delete_terms, document),
        (other.list_terms, {}),
    ]:
        with refused("ResourceNotFoundException", f"User pool {pool.id} does not exist."):
            operation(UserPoolId=pool.id, **more)
    assert describe(cognito, pool, made["TermsId"]) == made
