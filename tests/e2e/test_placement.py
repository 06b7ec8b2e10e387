"""Nodes come and go under load: what was acknowledged stays, and clients notice nothing that one repetition does not mend."""

import shutil
import time

import pytest
import requests
from cluster import POOL_GROUPS, Cluster, ClusterPool, Load

from harness.server import until

GROUPS = set(range(POOL_GROUPS + 1))
SETTLED_SECONDS_MAX = 60
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(tmp_path):
    """A cluster of one node, whose dead nodes are replaced soon."""
    with Cluster(tmp_path, settings="dead_after_seconds = 2", numbers=(1,)) as cluster:
        yield cluster
        print(cluster.logs({}))


@pytest.fixture
def figures(capsys, request):
    def show(text):
        with capsys.disabled():
            print(f"\n  {request.node.name}: {text}", flush=True)

    return show


def settled_on(cluster, voters):
    """Every group has so many voters, all of which run, know each other, and hold nothing but that."""
    nodes = [n for n in cluster.nodes if n.running and n.roles != ["gateway"]]
    votes = [(node.readings("raft_is_voter"), node.readings("raft_voters")) for node in nodes]
    return all(
        # a replica may be closed between the two readings
        [known.get(group) for is_voter, known in votes if group in is_voter] == [voters] * voters
        and sum(is_voter.get(group, 0) for is_voter, _ in votes) == voters
        for group in GROUPS
    )


def settles_on(cluster, voters):
    until(lambda: settled_on(cluster, voters), SETTLED_SECONDS_MAX, f"every group has {voters} running voters")


def have_all(nodes):
    until(lambda: all(n.groups == GROUPS for n in nodes), SETTLED_SECONDS_MAX, f"{len(nodes)} nodes have all groups")


def test_a_cluster_grows_to_five_nodes_and_outlives_those_that_it_began_with(cluster, figures):
    pool = ClusterPool(cluster)
    begin = time.monotonic()
    took = []
    with Load(pool, threads=3, through=[1]) as growing:
        two, three = cluster.add_node(), cluster.add_node()
        settles_on(cluster, 3)
        have_all([cluster.node(1), two, three])
        took.append(time.monotonic() - begin)
        four, five = cluster.add_node(), cluster.add_node()
        until(lambda: four.groups and five.groups, SETTLED_SECONDS_MAX, "the new nodes have groups")
        settles_on(cluster, 3)
        took.append(time.monotonic() - begin)
    figures(f"1 -> 3 -> 5 nodes after {took[0]:.1f} and {took[1]:.1f} s: {growing.summary()}")
    assert not growing.failures, growing.failures[:5]
    with Load(pool, threads=3, through=[4, 5]) as shrinking:
        # the first two are gone for good: others take their groups
        for node in (cluster.node(1), two):
            node.kill()
            settles_on(cluster, 3)
        have_all([three, four, five])
    figures(f"5 -> 3 nodes: {shrinking.summary()}")
    growing.through = shrinking.through
    growing.check()
    shrinking.check()


def test_a_gateway_without_data_outlives_its_seed_and_a_shard_serves_no_public_port(cluster, figures):
    pool = ClusterPool(cluster)
    shards = [cluster.add_node(roles=["shard"]) for _ in range(2)]
    have_all([cluster.node(1), *shards])
    settles_on(cluster, 3)
    for shard in shards:
        with pytest.raises(requests.ConnectionError):
            requests.get(shard.endpoint, timeout=5)
    gateway = cluster.add_node(seeds=[cluster.node(1)], roles=["gateway"])
    assert not gateway.data.exists()
    with Load(pool, threads=3, through=[gateway.number]) as load:
        until(lambda: load.acks_since(load.started) > 10, 20, "the gateway answers")
        cluster.node(1).kill()
        killed = time.monotonic()
        until(lambda: load.acks_since(killed) > 20, 20, "the gateway goes on")
    figures(f"longest gap {load.longest_gap(killed, load.ended):.2f} s; {load.summary()}")
    assert not load.failures, load.failures[:5]
    load.check()
    # and it finds the others from their addresses alone when it starts again
    assert gateway.stop() == 0
    cluster.node(1).start()
    gateway.start()
    assert pool.sign_in(load.usable.pop(), via=gateway.number)


def test_a_gateway_and_a_node_that_joins_wait_for_a_cluster_that_is_not_there_yet(cluster):
    """Nodes of an installation start in any order, and a restore takes its time before the first of them starts."""
    one = cluster.node(1)
    one.kill()
    early = [cluster.add_node(seeds=[one], roles=roles, wait=False) for roles in (["gateway"], None)]
    for node in early:
        until(lambda node=node: "is waited for" in node.log_path.read_text(), 30, "it has not reached the cluster")
        assert node.running
        assert requests.get(f"{node.management}/livez", timeout=10).status_code == 200
        assert requests.get(f"{node.management}/readyz", timeout=10).status_code == 503
    one.start()
    for node in early:
        node.wait_ready()


def test_a_node_that_joined_and_lost_its_data_is_refused_under_its_number(cluster):
    pool = ClusterPool(cluster)
    user = pool.make_user()
    two = cluster.add_node()
    two.kill()
    shutil.rmtree(two.data)
    size = two.log_path.stat().st_size
    two.spawn()
    code = two.wait_end(20)
    said = two.log_tail(size)
    assert code not in (0, None), f"{code}: {said}"
    assert "other data" in said and "new node id" in said, said
    # with another number it is welcome
    assert pool.sign_in(user)
    three = cluster.add_node(seeds=[cluster.node(1)])
    assert pool.sign_in(user, via=three.number)
