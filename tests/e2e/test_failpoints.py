"""A real process ends at a named point of its code, and nothing that was acknowledged is lost.

Needs a binary with fault points: `make test-failpoints` builds it and sets CONCLAVE_FAILPOINTS_BIN. Without it the tests are
skipped. The number of crashes at each point is CONCLAVE_POINT_ROUNDS, the seed of when they come CONCLAVE_SEED.
`crates/fault/src/lib.rs` lists the points.
"""

import os
import random
import re
import signal
import time

import botocore.exceptions
import pytest

from harness import faults
from harness.cluster import Cluster
from harness.cognito import boto_client
from harness.faults import SEED, show
from harness.ledger import GONE, Ledger
from harness.server import ROOT, until
from test_move_a_pool import POINTS as OF_IMPORTS
from test_signing_keys import POINTS as OF_KEYS
from test_two_steps import POINTS as BETWEEN_TWO_STEPS

ROUNDS = int(os.environ.get("CONCLAVE_POINT_ROUNDS", "1"))
CRASH_SECONDS_MAX = 40
SETTINGS = "[snapshots]\nentries = 40\nkeep_entries = 30\nkeep_seconds = 0\n"

pytestmark = [
    pytest.mark.skipif("CONCLAVE_FAILPOINTS_BIN" not in os.environ, reason="no fault points: run `make test-failpoints`"),
    pytest.mark.timeout(120 * ROUNDS + 60),
]

# What a write load passes by itself on every node, or on every leader; and how often until the crash at most.
UNDER_LOAD = {
    "append.before_accept": 5,
    "raft.before_append_sync": 40,
    "raft.after_append_before_callback": 40,
    "apply.before_batch": 60,
    "apply.after_batch": 60,
    "purge.before_batch": 2,
    "purge.after_batch": 2,
    "snapshot.after_checkpoint_before_meta": 2,
    "snapshot.after_temp_before_rename": 2,
    "snapshot.after_rename": 2,
}
AT_THE_LEADER = {"shard.after_commit_before_reply": 20}
AT_THE_GATEWAY = {"gateway.after_commit_before_reply": 20}
IN_AN_ELECTION = ["vote.before_sync", "vote.after_sync"]
WHILE_CATCHING_UP = ["install.after_receive", "install.after_rename_before_active", "install.after_active"]
AT_THE_FIRST_START = ["group.after_open", "membership.before_batch"]


@pytest.fixture(scope="module", autouse=True)
def binary_with_points():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONCLAVE_BIN", os.environ.get("CONCLAVE_FAILPOINTS_BIN", ""))
        yield


class World:
    """Three nodes, their ledger, and a seed."""

    def __init__(self, directory):
        self.cluster = Cluster(directory, settings=SETTINGS)
        self.rng = random.Random(SEED)
        self._load = None

    def start(self):
        self.cluster.start()
        self.key, self.secret = self.cluster.credentials()
        self.ledger = Ledger(self.gateway, boto_client(self.gateway, self.key, self.secret))
        return self

    @property
    def gateway(self):
        return self.cluster.nodes[0]

    def restart(self, node, points=""):
        node.kill()
        self.launch(node, points)
        node.wait_ready()

    def mend(self):
        for node in self.cluster.nodes:
            if node.process is None or node.process.poll() is not None or node.environment.get("CONCLAVE_FAILPOINTS"):
                node.kill()
                self.launch(node, "")
        for node in self.cluster.nodes:
            node.wait_ready()

    def launch(self, node, points):
        node.environment = {"CONCLAVE_FAILPOINTS": points}
        node.spawn()

    def crashed(self, node, point):
        """Waits until the node has ended at the point, and takes it for dead."""
        until(lambda: node.process.poll() is not None, CRASH_SECONDS_MAX, f"node {node.number} ends at {point}")
        assert node.process.returncode == -signal.SIGABRT, node.log_tail()
        assert re.search(rf"^fault point {re.escape(point)}: abort", node.log(), re.MULTILINE), node.log_tail()
        node.kill()

    def load(self, keep_going=True):
        self._load = self.ledger.load(keep_going=keep_going)
        return self._load

    def end_load(self):
        """After a failure: the next test must not find it running."""
        if self._load:
            self._load.stop()

    def load_goes_on(self, count=20):
        before = len(self.ledger.acknowledged)
        until(lambda: len(self.ledger.acknowledged) > before + count, 40, "writes go on")

    def check(self):
        for node in self.cluster.nodes:
            node.wait_ready()
        self.cluster.check_histories()
        self.ledger.check(self.rng, sign_ins=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory, binary_with_points):
    world = World(tmp_path_factory.mktemp("points"))
    try:
        yield world.start()
    finally:
        world.cluster.kill()


@pytest.fixture(autouse=True)
def logs(request):
    """When a test fails, the ends of the nodes' logs are shown; the next one finds all nodes well."""
    failed_before = request.session.testsfailed
    if "world" in request.fixturenames:
        request.getfixturevalue("world").mend()
    yield
    if request.session.testsfailed > failed_before and "world" in request.fixturenames:
        request.getfixturevalue("world").end_load()
        for node in request.getfixturevalue("world").cluster.nodes:
            print(f"log of node {node.number}:", node.log_tail())


def test_every_point_is_crashed_at():
    """A point that nobody crashes at shows nothing."""
    text = (ROOT / "crates" / "fault" / "src" / "lib.rs").read_text()
    table = text[text.index("POINTS:") : text.index("BUGS:")]
    points = re.findall(r'"([a-z]+\.[a-z_]+)",', table)
    tested = [*UNDER_LOAD, *AT_THE_LEADER, *AT_THE_GATEWAY, *IN_AN_ELECTION, *WHILE_CATCHING_UP, *AT_THE_FIRST_START]
    tested += [*BETWEEN_TWO_STEPS, *OF_IMPORTS, *OF_KEYS]
    assert sorted(points) == sorted([*tested, "log.before_truncate", "stop.before_flush"])


@pytest.mark.parametrize("point", UNDER_LOAD)
def test_a_crash_under_load_loses_nothing(world, point):
    for _ in range(ROUNDS):
        victim = world.rng.choice(world.cluster.others(world.gateway))
        victim.kill()
        world.launch(victim, f"{point}=abort@{world.rng.randint(1, UNDER_LOAD[point])}")
        load = world.load()
        world.crashed(victim, point)
        world.load_goes_on()
        load.stop()
        world.launch(victim, "")
        world.check()
    show("acknowledged writes", len(world.ledger.acknowledged))


@pytest.mark.parametrize("point", [*AT_THE_LEADER, *AT_THE_GATEWAY])
def test_a_crash_between_commit_and_answer_does_it_once(world, point):
    """The request is *unknown*, and is done or not; all else is as acknowledged."""
    for _ in range(ROUNDS):
        victim = world.cluster.leader() if point in AT_THE_LEADER else world.gateway
        times = {**AT_THE_LEADER, **AT_THE_GATEWAY}[point]
        world.restart(victim, f"{point}=abort@{world.rng.randint(5, times)}")
        if point in AT_THE_LEADER:
            lead(world, victim)
        load = world.load(keep_going=victim is not world.gateway)
        world.crashed(victim, point)
        load.stop()
        world.launch(victim, "")
        world.check()


def leader_of_both(world):
    """The node that leads both groups; the leader of the directory is restarted until one does."""
    for _ in range(30):
        leader = world.cluster.leader(0)
        if leader is world.cluster.leader():
            return leader
        world.restart(leader)
    raise AssertionError("no node comes to lead both groups")


def lead(world, node):
    """Makes a node the leader: whoever else leads is restarted."""
    for _ in range(20):
        leader = world.cluster.leader()
        if leader is node:
            return
        world.restart(leader)
    raise AssertionError(f"node {node.number} does not come to lead")


@pytest.mark.parametrize("point", IN_AN_ELECTION)
def test_a_crash_while_voting_elects_nobody_twice(world, point):
    for _ in range(ROUNDS):
        leader = world.cluster.leader()
        victim = world.rng.choice(world.cluster.others(leader))
        terms = [node.term(world.cluster.GROUP) for node in world.cluster.nodes]
        # the third node needs the victim's vote
        victim.kill()
        leader.kill()
        world.launch(victim, f"{point}=abort")
        world.crashed(victim, point)
        world.launch(victim, "")
        world.launch(leader, "")
        world.check()
        now = [node.term(world.cluster.GROUP) for node in world.cluster.nodes]
        assert all(after >= before for after, before in zip(now, terms, strict=True)), (terms, now)


@pytest.mark.parametrize("point", WHILE_CATCHING_UP)
def test_a_crash_while_a_snapshot_is_installed_leaves_the_old_state_or_the_new(world, point):
    for _ in range(ROUNDS):
        victim = world.rng.choice(world.cluster.others(world.gateway))
        behind = victim.gauge("raft_last_applied_index", world.cluster.GROUP)
        victim.kill()
        load = world.load()
        world.load_goes_on(120)
        others = world.cluster.others(victim)
        until(lambda: all(purged(n, world.cluster.GROUP) > behind for n in others), 30, "the others have purged")
        world.launch(victim, f"{point}=abort")
        world.crashed(victim, point)
        load.stop()
        begin = time.monotonic()
        world.launch(victim, "")
        world.check()
        show("whole again after, s", round(time.monotonic() - begin, 1))


def purged(node, group):
    return node.gauge("raft_purged_index", group) or 0


@pytest.mark.parametrize("point", AT_THE_FIRST_START)
def test_a_crash_at_the_first_start_is_mended_by_the_next(tmp_path, point):
    world = World(tmp_path / "first")
    victim = world.cluster.nodes[2]
    try:
        for node in world.cluster.others(victim):
            world.launch(node, "")
        world.launch(victim, f"{point}=abort@2")
        world.crashed(victim, point)
        world.launch(victim, "")
        for node in world.cluster.nodes:
            node.wait_ready()
        world.key, world.secret = world.cluster.credentials()
        world.ledger = Ledger(world.gateway, boto_client(world.gateway, world.key, world.secret))
        load = world.load()
        world.load_goes_on(10)
        load.stop()
        world.check()
    finally:
        world.cluster.kill()


def test_a_crash_while_stopping_loses_nothing(world):
    for _ in range(ROUNDS):
        victim = world.rng.choice(world.cluster.others(world.gateway))
        world.restart(victim, "stop.before_flush=abort")
        load = world.load()
        world.load_goes_on()
        victim.process.send_signal(signal.SIGTERM)
        world.crashed(victim, "stop.before_flush")
        load.stop()
        world.launch(victim, "")
        world.check()


def test_a_crash_while_a_log_is_truncated_is_mended_by_the_next_start(world):
    """A leader writes entries that nobody else takes; when it comes back they have to go."""
    point = "log.before_truncate"
    old = leader_of_both(world)
    others = world.cluster.others(old)
    for node in others:
        world.restart(node, "append.before_accept=error")
    assert world.cluster.leader() is old
    lonely = boto_client(old, world.key, world.secret)
    before = old.gauge("raft_last_log_index", world.cluster.GROUP)
    with pytest.raises((*GONE, botocore.exceptions.ClientError)):
        lonely.admin_create_user(UserPoolId=world.ledger.pool.id, Username="nobody-else", MessageAction="SUPPRESS")
    assert old.gauge("raft_last_log_index", world.cluster.GROUP) > before, "no entry was written"
    for node in world.cluster.nodes:
        node.kill()
    for node in others:
        world.launch(node, "")
    leader = world.cluster.leader(among=others)
    known = boto_client(leader, world.key, world.secret)
    known.admin_create_user(UserPoolId=world.ledger.pool.id, Username="for-all", MessageAction="SUPPRESS")
    known.admin_delete_user(UserPoolId=world.ledger.pool.id, Username="for-all")
    world.launch(old, f"{point}=abort")
    world.crashed(old, point)
    world.launch(old, "")
    world.check()


def test_a_long_absence_under_load_is_made_up_for_by_a_snapshot(world):
    """F22: a node misses far more than the others keep, and is back within 30 s."""
    victim = world.rng.choice(world.cluster.others(world.gateway))
    victim.kill()
    load = world.load()
    world.load_goes_on(300)
    world.launch(victim, "")
    begin = time.monotonic()
    victim.wait_ready()
    load.stop()
    world.check()
    took = time.monotonic() - begin
    show("whole again after, s", round(took, 1))
    assert took < 30


def test_a_power_cut_right_after_a_snapshot_has_its_name_leaves_it_whole(tmp_path):
    """What has a name is synced: the name may be on disk before anything that is written later."""
    world = World(tmp_path / "cut")
    victim = world.cluster.nodes[2]
    faults.require_disks(tmp_path)
    disk = faults.Disk(tmp_path / "images", victim.data)
    try:
        world.start()
        world.restart(victim, "snapshot.after_rename=sleep:20000")
        load = world.load()
        until(lambda: "fault point snapshot.after_rename" in victim.log(), CRASH_SECONDS_MAX, "a snapshot is named")
        # later syncs of the log commit the name as well
        world.load_goes_on(10)
        disk.cut_power(victim)
        load.stop()
        world.launch(victim, "")
        world.check()
    finally:
        world.cluster.kill()
        disk.remove()
