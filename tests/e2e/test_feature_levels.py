"""A rolling upgrade to a version that knows a higher feature level, and the way back, which is closed.

Needs a binary with fault points, whose level a variable can change: `make test-failpoints` builds it and sets
CONCLAVE_FAILPOINTS_BIN. Without it the tests are skipped.
"""

import os

import pytest
from harness.server import until
from test_administration import Administered

# what this version knows, and what a later one would
NOW, NEXT = 1, 2

pytestmark = [
    pytest.mark.skipif("CONCLAVE_FAILPOINTS_BIN" not in os.environ, reason="no fault points: run `make test-failpoints`"),
    pytest.mark.timeout(240),
]


@pytest.fixture(autouse=True)
def binary_with_points(monkeypatch):
    monkeypatch.setenv("CONCLAVE_BIN", os.environ.get("CONCLAVE_FAILPOINTS_BIN", ""))


def restart(node, level):
    assert node.stop() == 0
    node.environment = {"CONCLAVE_FEATURE_LEVEL": str(level)}
    node.spawn()


def shown(cluster):
    """The levels that `conclave status` shows: of the nodes, and of the groups."""
    status = cluster.json("status")
    return (
        {node["node_id"]: node["feature_level"] for node in status["nodes"]},
        {group["feature_level"] for group in status["groups"]},
    )


def test_a_level_comes_with_the_last_node_and_stays(tmp_path):
    with Administered(tmp_path) as cluster:
        cluster.wait_well()
        cognito = cluster.client(1)
        pool = cognito.create_user_pool(PoolName="before")["UserPool"]["Id"]
        for number in (1, 2):
            restart(cluster.node(number), NEXT)
            cluster.node(number).wait_ready()
            cluster.wait_well()
        assert shown(cluster) == ({1: NEXT, 2: NEXT, 3: NOW}, {NOW})
        restart(cluster.node(3), NEXT)
        cluster.node(3).wait_ready()
        until(lambda: shown(cluster) == ({1: NEXT, 2: NEXT, 3: NEXT}, {NEXT}), 20, "every group is raised")
        table = cluster.administer("status").stdout
        assert "LEVEL" in table
        until(lambda: set(cluster.node(2).readings("raft_feature_level").values()) == {NEXT}, 10, "the metrics say so")

        # the version of before: it ends, says why, and harms nothing
        back = cluster.node(3)
        size = back.log_path.stat().st_size
        restart(back, NOW)
        assert back.wait_end(30) not in (0, None)
        said = back.log_path.read_bytes()[size:].decode()
        assert f"needs feature level {NEXT}, and this version of Conclave knows levels up to {NOW}" in said, said
        cognito.update_user_pool(UserPoolId=pool, UserPoolTags={"written": "without it"})

        back.environment = {"CONCLAVE_FEATURE_LEVEL": str(NEXT)}
        back.start()
        cluster.wait_well()
        cluster.check_histories()
        tags = cluster.client(3).describe_user_pool(UserPoolId=pool)["UserPool"]["UserPoolTags"]
        assert tags == {"written": "without it"}
