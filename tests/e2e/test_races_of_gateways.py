"""What must happen once happens once, through two gateways at the same moment."""

import re

import pytest

from harness import wire
from harness.cluster import Cluster
from harness.cognito import PASSWORD, Pool, attributes, boto_client, unique
from harness.mail import Mail
from test_races import at_once

MANY = 16
# what a loser may be told where it is not told the loss itself: it was decided again too often
BUSY = "TooManyRequestsException"


class Gateways:
    """Two of three nodes, and a client of the first. Mail goes to a server of the test's own."""

    def __init__(self, cluster, mail):
        self.nodes = cluster.nodes[:2]
        self.mail = mail
        self.key, self.secret = cluster.credentials()
        self.cognito = boto_client(self.nodes[0], self.key, self.secret)

    def pool(self, **settings):
        return Pool(self.nodes[0], self.cognito, **settings)

    def call(self, i, operation, body):
        """The `i`th caller goes through the one gateway or the other."""
        return wire.call(self.nodes[i % 2], operation, body, key=self.key, secret=self.secret)

    def code(self, to):
        return re.search(r"\d{6}", self.mail.to(to)[-1].get_content())[0]


@pytest.fixture(scope="module")
def gateways(tmp_path_factory):
    directory = tmp_path_factory.mktemp("races")
    mail = Mail(directory / "mail").start()
    cluster = Cluster(directory / "cluster", settings=mail.configuration())
    try:
        yield Gateways(cluster.start(), mail)
    finally:
        cluster.kill()
        mail.stop()


def one_winner(outcomes, *losses):
    assert outcomes["ok"] == 1, outcomes
    assert set(outcomes) <= {"ok", BUSY, *losses}, outcomes


def test_one_name_is_given_once(gateways):
    pool = gateways.pool()
    body = {"ClientId": pool.app_client().id, "Username": unique("user"), "Password": PASSWORD}
    outcomes = at_once(MANY, lambda i: gateways.call(i, "SignUp", body))
    one_winner(outcomes, "UsernameExistsException")
    assert gateways.cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["EstimatedNumberOfUsers"] == 1


def test_one_address_names_one_user(gateways):
    pool = gateways.pool(UsernameAttributes=["email"])
    body = {"ClientId": pool.app_client().id, "Username": "ada@example.com", "Password": PASSWORD}
    outcomes = at_once(MANY, lambda i: gateways.call(i, "SignUp", body))
    one_winner(outcomes, "UsernameExistsException")
    assert len(gateways.cognito.list_users(UserPoolId=pool.id)["Users"]) == 1


def test_one_code_confirms_once(gateways):
    pool = gateways.pool(AutoVerifiedAttributes=["email"])
    app, username, to = pool.app_client(), unique("user"), unique("a") + "@example.com"
    app.sign_up(username, email=to)
    body = {"ClientId": app.id, "Username": username, "ConfirmationCode": gateways.code(to)}
    outcomes = at_once(MANY, lambda i: gateways.call(i, "ConfirmSignUp", body))
    one_winner(outcomes, "NotAuthorizedException", "ExpiredCodeException", "LimitExceededException")


def test_one_alias_goes_to_one_user(gateways):
    """Each of them has the address and its code; one gets to sign in by it."""
    pool = gateways.pool(AutoVerifiedAttributes=["email"], AliasAttributes=["email"])
    app, to = pool.app_client(), unique("a") + "@example.com"
    people = []
    for _ in range(MANY):
        username = unique("user")
        app.sign_up(username, email=to)
        people.append((username, gateways.code(to)))

    def confirm(i):
        username, code = people[i]
        body = {"ClientId": app.id, "Username": username, "ConfirmationCode": code}
        return gateways.call(i, "ConfirmSignUp", body)

    one_winner(at_once(MANY, confirm), "AliasExistsException")
    confirmed = [username for username, _ in people if pool.status(username) == "CONFIRMED"]
    assert [pool.get(to)["Username"]] == confirmed
    assert app.tokens(to)


def test_one_preferred_name_goes_to_one_user(gateways):
    pool = gateways.pool(AliasAttributes=["preferred_username"])
    names = [pool.user() for _ in range(MANY)]

    def take(i):
        wanted = attributes({"preferred_username": "boss"})
        body = {"UserPoolId": pool.id, "Username": names[i], "UserAttributes": wanted}
        return gateways.call(i, "AdminUpdateUserAttributes", body)

    one_winner(at_once(MANY, take), "AliasExistsException")


def test_one_identity_is_linked_to_one_user(gateways):
    pool = gateways.pool()
    details = {"client_id": "c", "client_secret": "s", "authorize_scopes": "openid"}
    gateways.cognito.create_identity_provider(
        UserPoolId=pool.id, ProviderName="Google", ProviderType="Google", ProviderDetails=details
    )
    names = [pool.user() for _ in range(MANY)]
    source = {"ProviderName": "Google", "ProviderAttributeName": "Cognito_Subject", "ProviderAttributeValue": "1"}

    def link(i):
        destination = {"ProviderName": "Cognito", "ProviderAttributeValue": names[i]}
        body = {"UserPoolId": pool.id, "DestinationUser": destination, "SourceUser": source}
        return gateways.call(i, "AdminLinkProviderForUser", body)

    one_winner(at_once(MANY, link), "AliasExistsException")
    linked = [n for n in names if any(a["Name"] == "identities" for a in pool.get(n)["UserAttributes"])]
    assert len(linked) == 1


def test_a_user_who_goes_while_signing_in_is_gone(gateways):
    """One deletion wins, and no token of a sign-in that came in between is good for anything."""
    pool = gateways.pool()
    app = pool.app_client()
    for _ in range(3):
        username = pool.user()
        answers = []

        def act(i, username=username, answers=answers):
            if i % 4 == 0:
                return gateways.call(i // 4, "AdminDeleteUser", {"UserPoolId": pool.id, "Username": username})
            parameters = {"USERNAME": username, "PASSWORD": PASSWORD}
            body = {"ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters}
            answer = gateways.call(i, "InitiateAuth", body)
            answers.append(answer)
            return answer

        outcomes = at_once(MANY, act)
        signed_in = [answer.json["AuthenticationResult"] for answer in answers if answer.status == 200]
        assert outcomes["ok"] == len(signed_in) + 1, outcomes
        assert set(outcomes) <= {"ok", BUSY, "UserNotFoundException", "NotAuthorizedException"}, outcomes
        for tokens in signed_in:
            for i in range(2):
                answer = gateways.call(i, "GetUser", {"AccessToken": tokens["AccessToken"]})
                assert answer.status == 400, answer.body
                parameters = {"REFRESH_TOKEN": tokens["RefreshToken"]}
                body = {"ClientId": app.id, "AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": parameters}
                assert gateways.call(i, "InitiateAuth", body).status == 400


def test_a_group_that_goes_takes_everybody_along(gateways):
    pool = gateways.pool()
    names = [pool.user() for _ in range(MANY // 2)]
    group = {"UserPoolId": pool.id, "GroupName": "staff"}
    for _ in range(3):
        gateways.cognito.create_group(**group)
        deleted = []

        def act(i, deleted=deleted):
            if i % 2:
                answer = gateways.call(i // 2, "DeleteGroup", group)
                deleted.append(answer.status)
                return answer
            return gateways.call(i // 2, "AdminAddUserToGroup", {**group, "Username": names[i // 2]})

        outcomes = at_once(MANY, act)
        assert deleted.count(200) == 1, outcomes
        assert set(outcomes) <= {"ok", BUSY, "ResourceNotFoundException"}, outcomes
        for name in names:
            groups = gateways.cognito.admin_list_groups_for_user(UserPoolId=pool.id, Username=name)["Groups"]
            assert groups == []
        gateways.cognito.create_group(**group)
        assert gateways.cognito.list_users_in_group(**group)["Users"] == []
        gateways.cognito.delete_group(**group)
