"""Administration of a cluster: who may, what operators see, and what they can do."""

import json
import re
import shutil

import grpc
import pytest
from cluster import CLUSTER_ID, NODES, POOL_GROUPS, Cluster, ClusterPool, Load, conclave, issue, must
from harness.server import until

pytestmark = pytest.mark.timeout(180)

DONE, FAILED, USAGE, UNREACHABLE, NOT_WELL = 0, 1, 2, 3, 4
ADMIN = "/conclave.admin.v1.Admin/"


class Administered(Cluster):
    """A cluster with the certificate of an administrator beside its authority, where commands look for it."""

    def __init__(self, directory, settings=""):
        super().__init__(directory, settings)
        self.administrator = issue(self.pki, 0, "admin", role="admin")

    def administer(self, *arguments, via=1):
        return conclave(*arguments, "--config", self.node(via).config_path)

    def json(self, command, via=1):
        done = self.administer(command, "--json", via=via)
        assert done.returncode in (DONE, NOT_WELL), done.stderr
        return json.loads(done.stdout)

    def wait_well(self):
        until(lambda: self.json("status")["healthy"], 30, "the cluster is well")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Administered(tmp_path_factory.mktemp("administration"), "dead_after_seconds = 600") as cluster:
        yield cluster


@pytest.fixture
def cluster(shared):
    sizes = shared.log_sizes()
    shared.start()
    shared.wait_well()
    yield shared
    # pytest shows this when the test has failed
    if all(node.running for node in shared.nodes):
        print(shared.administer("status").stdout)
    print(shared.logs(sizes))


def columns(table):
    """The rows of a table as dictionaries, cut where the head's columns begin: so they are aligned."""
    head, *rows = table.splitlines()
    starts = [m.start() for m in re.finditer(r"(?<= )\S|^\S", head)]
    cut = lambda line: [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]  # noqa: E731
    return [dict(zip(cut(head), cut(row), strict=True)) for row in rows]


# what operators see


def test_status_says_that_all_is_well(cluster):
    done = cluster.administer("status")
    assert done.returncode == DONE, done.stderr
    assert done.stdout.startswith(f"Cluster {CLUSTER_ID}, as node 1 sees it (version ")
    assert "All is well." in done.stdout
    status = cluster.json("status", via=2)
    assert (status["cluster_id"], status["answered_by"], status["problems"]) == (CLUSTER_ID, 2, [])
    assert [node["node_id"] for node in status["nodes"]] == list(NODES)
    assert [group["group"] for group in status["groups"]] == list(range(POOL_GROUPS + 1))


def test_the_tables_show_what_the_json_says(cluster):
    nodes = cluster.json("nodes")["nodes"]
    rows = columns(must(cluster.administer("nodes")))
    assert [row["NODE"] for row in rows] == [str(node["node_id"]) for node in nodes]
    for row, node in zip(rows, nodes, strict=True):
        assert (row["STATE"], row["ANSWERS"], row["ADDRESS"]) == (node["state"], "yes", node["address"])
        assert (row["GROUPS"], row["ROLES"]) == (f"0-{POOL_GROUPS}", "shard,gateway")
        assert node["groups"] == list(range(POOL_GROUPS + 1)) and abs(node["clock_skew_ms"]) < 2_000
    groups = cluster.json("groups")["groups"]
    rows = columns(must(cluster.administer("groups")))
    for row, group in zip(rows, groups, strict=True):
        assert row["GROUP"] == str(group["group"]) and row["VOTERS"] == "1 2 3"
        assert group["leader"] in NODES and group["voters"] == list(NODES)
        assert len(group["replicas"]) == 3 and all(replica["healthy"] for replica in group["replicas"])
    led = {group["group"]: group["leader"] for group in groups}
    assert {number: cluster.leader(number).number for number in led} == led


def test_the_names_in_the_json_stay(cluster):
    """Scripts read them."""
    status = cluster.json("status")
    assert set(status) == {
        "answered_by", "cluster_id", "controller", "groups", "healthy", "nodes", "problems", "settled", "version",
    }  # fmt: skip
    assert set(status["nodes"][0]) == {
        "address", "clock_skew_ms", "feature_level", "groups", "leads", "learning", "node_id", "reachable", "registered_ms",
        "replaced_by", "roles", "state", "state_changed_ms", "unreachable_ms",
    }  # fmt: skip
    assert set(status["groups"][0]) == {
        "changing", "feature_level", "group", "leader", "learners", "moving", "replicas", "term", "voters",
    }  # fmt: skip
    assert set(status["groups"][0]["replicas"][0]) == {
        "applied_index", "committed_index", "healthy", "lag_entries", "last_log_index", "node_id", "state_bytes",
    }  # fmt: skip


# who may


def ask(node, tls, method, seconds=5):
    """The code and text of a call with an empty message to the internal port."""
    read = lambda name: tls[name].read_bytes()  # noqa: E731
    credentials = grpc.ssl_channel_credentials(read("ca"), read("key"), read("certificate"))
    with grpc.secure_channel(f"{node.internal[0]}:{node.internal[1]}", credentials) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=seconds)
        except grpc.RpcError as error:
            return error.code(), error.details()
        return grpc.StatusCode.OK, ""


def test_only_certificates_of_the_role_admin_administer(cluster):
    node = cluster.node(1)
    assert ask(node, cluster.administrator, ADMIN + "ListNodes")[0] == grpc.StatusCode.OK
    others = {
        "node": node.tls,
        "gateway": issue(cluster.pki, 0, "gateway"),
        "of another cluster": issue(cluster.pki, 0, "other", cluster_id="other", role="admin"),
    }
    for method in ("GetStatus", "ListNodes", "ListGroups", "DrainNode", "UndrainNode", "ReplaceNode", "RemoveNode",
                   "TransferLeadership"):  # fmt: skip
        answers = {name: ask(node, tls, ADMIN + method) for name, tls in others.items()}
        assert {code for code, _ in answers.values()} == {grpc.StatusCode.PERMISSION_DENIED}, (method, answers)
        assert "role gateway" in answers["gateway"][1] and "not of this cluster" in answers["of another cluster"][1]
    assert "administration refused" in node.log()


@pytest.mark.parametrize(
    "method",
    ["store.v1.Shard/Read", "store.v1.Shard/Commit", "store.v1.Shard/Groups", "raft.v1.RaftTransport/Vote",
     "raft.v1.RaftTransport/Hello", "raft.v1.NodeControl/Status"],
)  # fmt: skip
def test_a_certificate_of_the_role_admin_neither_reads_nor_commits_nor_votes(cluster, method):
    code, text = ask(cluster.node(1), cluster.administrator, f"/conclave.{method}")
    assert (code, "for administration" in text) == (grpc.StatusCode.PERMISSION_DENIED, True), text


def test_a_command_with_the_certificate_of_a_node_says_which_one_is_needed(cluster):
    tls = cluster.node(1).tls
    done = conclave(
        "status", "--config", cluster.node(1).config_path, "--certificate", tls["certificate"], "--key", tls["key"]
    )
    assert done.returncode == FAILED
    assert "the certificate is of the role node; one of the role admin is needed: conclave pki issue" in done.stderr


def test_any_address_will_do_and_what_cannot_be_reached_is_named(cluster):
    tls = cluster.administrator
    files = ["--ca", tls["ca"], "--certificate", tls["certificate"], "--key", tls["key"]]
    good = "{}:{}".format(*cluster.node(3).internal)
    done = conclave("nodes", "--address", "127.0.0.1:1", "--address", good, *files)
    assert done.returncode == DONE and len(done.stdout.splitlines()) == 4, done.stderr
    done = conclave("nodes", "--address", "127.0.0.1:1,127.0.0.1:2", *files)
    assert done.returncode == UNREACHABLE
    assert "127.0.0.1:1: " in done.stderr and "127.0.0.1:2: " in done.stderr and "refused" in done.stderr


def test_usage_is_told_apart_from_failure(cluster, tmp_path):
    node = cluster.node(1)
    for arguments, text in [
        (["status"], "where is the cluster? Give --config or --address"),
        (["drain", "--config", node.config_path], "<NODE>"),
        (["status", "--address", "127.0.0.1:1", "--certificate", "a"], "--key"),
        (["status", "--address", "127.0.0.1:1", "--ca", tmp_path / "ca.pem"], "conclave pki issue --role admin"),
    ]:
        done = conclave(*arguments)
        assert (done.returncode, text in done.stderr) == (USAGE, True), (arguments, done.stderr)
    done = cluster.administer("drain", "99")
    assert (done.returncode, "there is no node 99" in done.stderr) == (FAILED, True), done.stderr


# what they can do


def test_leadership_is_transferred_from_whichever_node_is_asked(cluster):
    leader = cluster.leader(1).number
    to, via = (n for n in NODES if n != leader)
    done = cluster.administer("transfer-leadership", "--group", "1", "--to", str(to), via=via)
    assert (done.returncode, done.stdout) == (DONE, f"Node {to} leads group 1.\n"), done.stderr
    who = re.escape(f"CN=admin conclave://{CLUSTER_ID}/admin/0")
    logged = re.compile(rf'administrative change who={who} operation="transfer_leadership" subject=1 outcome="done"')
    assert logged.search(cluster.node(leader).log())


def test_a_lost_node_makes_the_status_an_error(cluster):
    cluster.node(3).kill()
    until(lambda: cluster.administer("status").returncode == NOT_WELL, 10, "the loss is noticed")
    status = cluster.json("status")
    assert not status["healthy"]
    assert any(re.match("node 3 (does not answer|has not answered)", problem) for problem in status["problems"]), status
    assert any("has 2 of 3 replicas working" in problem for problem in status["problems"]), status
    done = cluster.administer("replace", "2")
    assert (done.returncode, "node 2 answers" in done.stderr) == (FAILED, True), done.stderr


def test_status_answers_without_a_quorum(cluster):
    for n in (2, 3):
        cluster.node(n).kill()
    status = until(lambda: lost_directory(cluster), 20, "the loss is noticed")
    assert status["answered_by"] == 1 and len(status["groups"]) == POOL_GROUPS + 1
    done = cluster.administer("nodes")
    assert done.returncode == UNREACHABLE and "the directory does not answer" in done.stderr


def lost_directory(cluster):
    status = cluster.json("status")
    return status if any("the directory does not answer" in problem for problem in status["problems"]) else None


def test_a_lost_node_is_replaced_by_a_new_one_under_load_and_its_number_is_gone(tmp_path):
    with Administered(tmp_path / "cluster", "dead_after_seconds = 600") as cluster:
        pool = ClusterPool(cluster)
        new = cluster.add_node()
        until(lambda: state(cluster, new.number) == "active", 20, "the new node takes groups")
        lost = cluster.leader(pool.group)
        left = [node.number for node in cluster.others(lost)]
        with Load(pool, threads=2, through=left) as load:
            until(lambda: load.acks_since(load.started) > 10, 20, "requests are answered")
            lost.kill()
            done = cluster.administer(
                "replace", lost.number, "--with", new.number, "--timeout", "60", via=left[0]
            )
            assert done.returncode == DONE, done.stderr + done.stdout + cluster.logs({})
            assert done.stdout.startswith(f"Node {lost.number} is replaced and removed."), done.stdout
            assert re.search(rf"replacing node {lost.number}: \d of \d groups moved", done.stderr), done.stderr
        load.check()
        assert not load.failures, load.failures
        nodes = {node["node_id"]: node for node in cluster.json("nodes", via=left[0])["nodes"]}
        assert (nodes[lost.number]["state"], nodes[lost.number]["replaced_by"]) == ("removed", new.number)
        groups = cluster.json("groups", via=left[0])["groups"]
        assert {tuple(group["voters"]) for group in groups} == {tuple(left)}
        # it is back, with all that it had, and is not let in
        size = lost.log_path.stat().st_size
        lost.spawn()
        assert lost.wait_end(30) not in (0, None)
        assert "has been removed from the cluster" in lost.log_tail(size)
        done = cluster.administer("replace", lost.number, via=left[0])
        assert (done.returncode, "does not come back" in done.stderr) == (FAILED, True), done.stderr


def test_a_node_is_drained_under_load_and_removed(cluster):
    new = cluster.add_node()
    until(lambda: state(cluster, new.number) == "active", 20, "the new node takes groups")
    pool = ClusterPool(cluster)
    with Load(pool, threads=2) as load:
        done = cluster.administer("remove", "2")
        assert (done.returncode, "drain it first" in done.stderr) == (FAILED, True), done.stderr
        done = cluster.administer("drain", "2", "--timeout", "20")
        assert done.returncode == DONE, done.stderr + done.stdout
        assert done.stdout.startswith("Node 2 is drained."), done.stdout
        assert re.search(r"draining node 2: \d of \d groups moved", done.stderr), done.stderr
    load.check()
    assert not load.failures, load.failures
    nodes = {node["node_id"]: node for node in cluster.json("nodes")["nodes"]}
    assert nodes[2]["groups"] == [] and nodes[2]["leads"] == [] and nodes[2]["state"] == "drained"
    assert nodes[new.number]["groups"] == list(range(POOL_GROUPS + 1))
    assert cluster.administer("drain", "2").returncode == DONE, "again: nothing"
    done = cluster.administer("remove", "2")
    assert done.returncode == DONE, done.stderr
    assert state(cluster, 2) == "removed"
    done = cluster.administer("undrain", "2")
    assert (done.returncode, "does not come back" in done.stderr) == (FAILED, True), done.stderr
    cluster.node(2).kill()
    shutil.rmtree(cluster.node(2).data)


def state(cluster, number):
    found = [node["state"] for node in cluster.json("nodes")["nodes"] if node["node_id"] == number]
    return found[0] if found else None
