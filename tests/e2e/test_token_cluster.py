"""What one gateway of a cluster has ended is over at every other, at once; and two of them that refresh one token at
the same moment agree."""

import collections
import concurrent.futures
import random

import botocore.exceptions
import pytest

from cluster import Cluster, ClusterPool
from harness.cognito import unique

NODES = (1, 2, 3)
ROUNDS = 40
FLOWS = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture(scope="module")
def pool(cluster):
    return ClusterPool(cluster)


def outcome(call, **request):
    """`ok`, or the exception's name and text."""
    try:
        call(**request)
    except botocore.exceptions.ClientError as error:
        return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
    return "ok"


def rotating(cluster, pool, grace):
    answer = cluster.client(1).create_user_pool_client(
        UserPoolId=pool.id,
        ClientName=unique("client"),
        ExplicitAuthFlows=FLOWS[:1],
        RefreshTokenRotation={"Feature": "ENABLED", "RetryGracePeriodSeconds": grace},
    )
    return answer["UserPoolClient"]["ClientId"]


def test_a_revoked_session_is_over_on_every_gateway_at_once(cluster, pool):
    """The other gateway has just accepted the token, so it has everything at hand that it could remember."""
    chooser = random.Random(1)
    user = pool.make_user()

    def once(number):
        ending, using = (chooser.choice(NODES) for _ in range(2))
        tokens = pool.sign_in(user, via=using)
        client, other = cluster.client(using), cluster.client(ending)
        client.get_user(AccessToken=tokens["AccessToken"])
        other.revoke_token(ClientId=pool.app_id, Token=tokens["RefreshToken"])
        refresh = {"ClientId": pool.app_id, "RefreshToken": tokens["RefreshToken"]}
        return (
            outcome(client.get_user, AccessToken=tokens["AccessToken"]),
            outcome(client.get_tokens_from_refresh_token, **refresh),
        )

    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        answers = collections.Counter(executor.map(once, range(ROUNDS)))
    revoked = "NotAuthorizedException: Access Token has been revoked"
    assert answers == {(revoked, "NotAuthorizedException: Refresh Token has been revoked"): ROUNDS}


def test_a_sign_out_everywhere_holds_on_every_gateway_at_once(cluster, pool):
    chooser = random.Random(2)
    for number in range(ROUNDS):
        user = pool.make_user() if number % 10 == 0 else user
        ending, *using = (chooser.choice(NODES) for _ in range(3))
        sessions = [(cluster.client(via), pool.sign_in(user, via=via)) for via in using]
        for client, tokens in sessions:
            client.get_user(AccessToken=tokens["AccessToken"])
        cluster.client(ending).admin_user_global_sign_out(UserPoolId=pool.id, Username=user)
        for client, tokens in sessions:
            answer = outcome(client.get_user, AccessToken=tokens["AccessToken"])
            assert answer == "NotAuthorizedException: Access Token has been revoked"
            refresh = {"ClientId": pool.app_id, "RefreshToken": tokens["RefreshToken"]}
            answer = outcome(client.get_tokens_from_refresh_token, **refresh)
            assert answer == "NotAuthorizedException: Refresh Token has been revoked"


@pytest.mark.parametrize("grace", [0, 60])
def test_two_gateways_refresh_one_token_at_once(cluster, pool, grace):
    """As the grace period says: with one, both answer the same successor; without, one of them does, the other finds
    reuse, and the session is over."""
    app, user = rotating(cluster, pool, grace), pool.make_user()
    reuse = "RefreshTokenReuseException"

    def refresh(via, token):
        client = cluster.client(via)
        try:
            answer = client.get_tokens_from_refresh_token(ClientId=app, RefreshToken=token)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return answer["AuthenticationResult"]["RefreshToken"]

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        for number in range(ROUNDS // 2):
            token = pool.sign_in(user, via=NODES[number % 3], app_id=app)["RefreshToken"]
            two = [executor.submit(refresh, NODES[(number + i) % 3], token) for i in range(2)]
            got = {future.result() for future in two}
            if grace:
                assert len(got) == 1 and reuse not in got
                assert refresh(NODES[number % 3], got.pop()) != reuse
            else:
                assert reuse in got and len(got) == 2
                (successor,) = got - {reuse}
                assert refresh(NODES[number % 3], successor) == "NotAuthorizedException"
