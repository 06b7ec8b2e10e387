"""What was acknowledged is on the disks of a majority: votes, entries, slow and failing disks, the power of all nodes.

The number of power cuts is half of CONCLAVE_ROUNDS, the seed of what happens in them CONCLAVE_SEED.
"""

import random
import statistics
import time

import botocore.exceptions
import pytest

from harness import faults
from harness.cluster import Cluster
from harness.cognito import Pool, boto_client
from harness.faults import HANGING, ROUNDS, SEED, SLOW, eio, show
from harness.ledger import GONE, Ledger
from harness.server import until

GAP_SECONDS_MAX = 2
# Ten times the longest election timeout.
HANG_SECONDS = 3.5
UNANSWERED = (*GONE, botocore.exceptions.ClientError)


@pytest.fixture
def cluster(tmp_path, request):
    """Three nodes, not started yet."""
    cluster = Cluster(tmp_path / "cluster")
    failed_before = request.session.testsfailed
    yield cluster
    cluster.kill()
    if request.session.testsfailed > failed_before:
        for node in cluster.nodes:
            print(f"log of node {node.number}:", node.log_tail())


@pytest.fixture
def cluster_disks(tmp_path, cluster):
    """A disk of its own for each node, in the order of `cluster.nodes`."""
    faults.require_disks(tmp_path)
    disks = []
    try:
        for node in cluster.nodes:
            disks.append(faults.Disk(tmp_path / f"images-{node.number}", node.data))
        yield disks
    finally:
        cluster.kill()
        for disk in disks:
            disk.remove()


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_a_power_cut_of_all_nodes_loses_nothing(cluster, cluster_disks):
    """The whole cluster loses power under load; no entry that was acknowledged is gone, and no term goes back."""
    cluster.start()
    key, secret = cluster.credentials()
    ledger = Ledger(cluster.nodes[0], boto_client(cluster.nodes[0], key, secret))
    rng = random.Random(SEED)
    rounds = max(1, ROUNDS // 2)
    for _ in range(rounds):
        before = len(ledger.acknowledged)
        load = ledger.load()
        until(lambda: len(ledger.acknowledged) > before, 20, "writes go on")
        time.sleep(rng.uniform(0, 1.5))
        terms = [[node.term(group) for group in (0, 1)] for node in cluster.nodes]
        faults.cut_power(cluster.nodes, cluster_disks)
        load.wait()
        cluster.start()
        for node, then in zip(cluster.nodes, terms, strict=True):
            now = [node.term(group) for group in (0, 1)]
            assert all(n >= t for n, t in zip(now, then, strict=True)), f"node {node.number} went from {then} to {now}"
        ledger.check(rng, sign_ins=6)
    show("rounds", rounds)
    show("acknowledged writes", len(ledger.acknowledged))


def test_a_vote_is_given_only_when_it_is_on_disk(cluster, tmp_path):
    """Of three voters one is dead, and the disk of another hangs: nobody is elected until it goes on.

    A vote that is only in memory is forgotten in a power cut, and given a second time to somebody else.
    """
    faults.require_strace()
    cluster.start()
    leader = cluster.leader()
    candidate, voter = cluster.others(leader)
    term = candidate.term(cluster.GROUP)
    with faults.strace(voter.process.pid, tmp_path / "strace.log", HANGING) as tracer:
        leader.kill()
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            for node in (candidate, voter):
                assert not node.leads(cluster.GROUP), "a leader was elected with a vote that is not on disk"
            time.sleep(0.02)
        assert any(s.end is None for s in tracer.syncs()), "the voter was not asked"
    elected = cluster.leader(among=[candidate, voter])
    assert elected.term(cluster.GROUP) > term


def test_a_failed_sync_of_the_leader_moves_the_lead(cluster, tmp_path):
    """The leader's disk answers EIO once: its node ends, another one leads, and nothing acknowledged is lost."""
    faults.require_strace()
    cluster.start()
    key, secret = cluster.credentials()
    leader = cluster.leader()
    gateway, other = cluster.others(leader)
    ledger = Ledger(gateway, boto_client(gateway, key, secret))
    ended = leader.process
    with faults.strace(ended.pid, tmp_path / "strace.log", eio("12")) as tracer:
        load = ledger.load(keep_going=True)
        until(lambda: ended.poll() is not None, 60, "the leader ends by itself")
        count = len(ledger.acknowledged)
        until(lambda: len(ledger.acknowledged) > count + 20, 30, "writes go on")
        load.stop()
    failed = min(s.begin for s in tracer.syncs() if s.error == "EIO")
    assert ended.returncode == 1
    assert cluster.leader(among=[gateway, other])
    gap = longest_gap(ledger.acknowledged, since=failed - 1)
    show("longest time without an acknowledged write, s", round(gap, 2))
    assert gap < GAP_SECONDS_MAX
    leader.kill()
    leader.start()
    ledger.check(random.Random(SEED), sign_ins=6)


def test_a_slow_disk_of_the_leader_starts_no_elections(cluster, tmp_path):
    """With syncs of 300 ms on the leader alone, the others make the quorum: writes go on."""
    faults.require_strace()
    cluster.start()
    key, secret = cluster.credentials()
    leader = cluster.leader()
    gateway = cluster.others(leader)[0]
    ledger = Ledger(gateway, boto_client(gateway, key, secret))
    term = leader.term(cluster.GROUP)
    with faults.strace(leader.process.pid, tmp_path / "strace.log", SLOW) as tracer:
        begin = time.time()
        load = ledger.load()
        until(lambda: time.time() > begin + 4, 10, "some time has passed")
        load.stop()
    assert any(s.of_the_log and s.injected for s in tracer.syncs()), "no sync was slow"
    assert cluster.leader().term(cluster.GROUP) <= term + 1
    assert not ledger.refusals
    seconds = sorted(a.end - a.begin for a in ledger.acknowledged)
    show("writes", len(seconds))
    show("median write, s", round(statistics.median(seconds), 3))
    show("slowest write, s", round(seconds[-1], 3))
    ledger.check(random.Random(SEED), sign_ins=2)


def longest_gap(acknowledged, since):
    ends = sorted(a.end for a in acknowledged if a.end > since)
    return max(later - earlier for earlier, later in zip(ends, ends[1:], strict=False))


def test_an_entry_counts_only_where_it_is_on_disk(cluster, tmp_path):
    """Of three voters one is dead, and the disk of another hangs: writes are not acknowledged."""
    faults.require_strace()
    cluster.start()
    key, secret = cluster.credentials()
    leader = cluster.leader()
    dead, follower = cluster.others(leader)
    pool = Pool(leader, boto_client(leader, key, secret))
    app = pool.app_client()
    synced = follower.gauge("raft_last_log_index", cluster.GROUP)
    with faults.strace(follower.process.pid, tmp_path / "strace.log", HANGING) as tracer:
        dead.kill()
        with pytest.raises(UNANSWERED) as refusal:
            app.sign_up("early")
        if isinstance(refusal.value, botocore.exceptions.ClientError):
            assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        arrived = follower.gauge("raft_last_log_index", cluster.GROUP)
        assert tracer.syncs() and arrived > synced, "the entry did not reach the follower"
    until(lambda: signs_up(app), 20, "writes are acknowledged again")


def signs_up(app):
    try:
        return app.sign_up()["UserSub"]
    except UNANSWERED:
        return None
