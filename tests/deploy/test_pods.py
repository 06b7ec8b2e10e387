"""A release as local processes: what is rendered is run untouched, see pods.py. Clients never pause meanwhile, and none of
their requests fails that is sent once more.

    CONCLAVE_BIN=target/debug/conclave python -m pytest tests/deploy/test_pods.py
"""

import json
import pathlib
import re
import subprocess
import time

import netns
import pytest
from chart import CHART, changed, example
from clients import Pool, check
from netns import BINARY, Network, until
from pods import Kubernetes

pytestmark = [
    pytest.mark.skipif(not netns.possible(), reason="needs CONCLAVE_BIN, root, network namespaces"),
    pytest.mark.timeout(600),
]
README = (CHART / "README.md").read_text()
MOVED_SECONDS_MAX = 120

# The values of the README, with fewer groups and a node that is missed soon.
VALUES = changed(
    example("default"),
    clusterId="prod",
    poolGroups=3,
    deadAfterSeconds=600,
    internalTls__existingAdminSecret="conclave-admin-tls",
    gateway={"autoscaling": {"enabled": False}, "replicaCount": 2},
)

KUBECTL = """#!/bin/sh
# keeps what `kubectl create secret generic NAME --from-file=KEY=FILE` would
set -e
while [ "$1" = -n ]; do shift 2; done
[ "$1 $2" != "create namespace" ] || exit 0
[ "$1 $2 $3" = "create secret generic" ]
mkdir -p "$SECRETS/$4"; name=$4; shift 4
for option; do
    file=${option#--from-file=}; key=${file%%=*}; file=${file#*=}
    cp "$file" "$SECRETS/$name/${key##*/}"
done
"""


def commands(text, begins):
    """A block of commands of a page, from its first line on."""
    lines = text[text.index(begins) :].splitlines()
    text_from = text.rindex("\n", 0, text.index(begins)) + 1
    indent = len(text[text_from : text.index(begins)])
    block = [lines[0]]
    for line in lines[1:]:
        if line.strip() and not line.startswith(" " * indent):
            break
        block.append(line[indent:])
    return "\n".join(block)


def shell(directory, script):
    """Runs commands of a page, with a kubectl that keeps secrets as files."""
    tools = directory / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "kubectl").write_text(KUBECTL)
    (tools / "kubectl").chmod(0o755)
    if not (tools / "conclave").exists():
        (tools / "conclave").symlink_to(pathlib.Path(BINARY).resolve())
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "SECRETS": str(directory / "secrets")}
    subprocess.run(["bash", "-ec", script], cwd=directory, env=environment, check=True, timeout=60)


def secrets(directory):
    return {
        secret.name: {path.name: path.read_bytes() for path in secret.iterdir()}
        for secret in (directory / "secrets").iterdir()
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Made as the README says."""
    directory = tmp_path_factory.mktemp("release")
    # other users must be able to come here
    for path in (directory, *directory.parents):
        if path != pathlib.Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    shell(directory, commands(README, "kubectl create namespace identity"))
    shell(directory, commands(README, "openssl rand -hex 32 > kek"))
    shell(directory, commands(README, "conclave pki init --cluster-id prod"))
    with Network() as network, Kubernetes(directory, network, secrets(directory)) as cluster:
        cluster.upgrade(VALUES)
        for pod in cluster.nodes:
            pod.wait_ready()
        yield cluster


@pytest.fixture(scope="module")
def pool(cluster):
    """A pool of an account that is made as NOTES.txt says, reached through the service."""
    gateway = cluster.gateways[0]
    account = gateway.exec("conclave", "account", "create", "--name", "main").stdout
    key = gateway.exec("conclave", "credentials", "create", "--account", account.strip(), "--user", "admin").stdout
    return Pool([cluster.service.endpoint], account, key)


def issue(cluster, number, ordinal):
    """One more certificate in the secret of the nodes, by the command of the README."""
    name = f"conclave-{ordinal}"
    host = f"{name}.conclave-headless" if number == ordinal + 1 else f"conclave-node-{number}"
    shell(
        cluster.directory,
        f"""
        cd pki
        rm -f {name}.pem {name}-key.pem
        conclave pki issue --dir . --cluster-id prod --node-id {number} --name {name} \\
          --host {host}.identity.svc.cluster.local
        kubectl create secret generic conclave-internal-tls --from-file={name}.pem --from-file={name}-key.pem
    """,
    )
    cluster.secrets = secrets(cluster.directory)


def test_a_release_is_installed_and_used_as_the_readme_says(cluster, pool):
    user = pool.make_user()
    assert pool.sign_in(user)["AccessToken"]
    for gateway in cluster.gateways:
        assert gateway.exec("conclave", "account", "list").stdout.count("main") == 1
        assert gateway.get("/metrics")[1].count("conclave_raft") == 0, "it has no data"
    for node in cluster.nodes:
        # it can be told from outside that it serves nobody: the port is closed
        done = node.exec("conclave", "account", "list", check=False)
        assert done.returncode != 0, "a node has no key-encryption key"
    until(lambda: cluster.test()["conclave-test-status"][0] == 0, 30, "all is well")
    tests = cluster.test()
    assert {name: code for name, (code, _) in tests.items()} == {"conclave-test-api": 0, "conclave-test-status": 0}, (
        tests
    )
    assert "NotAuthorizedException" in tests["conclave-test-api"][1]


def test_probes_tell_a_lost_quorum_from_a_dead_process(cluster, pool):
    others = cluster.nodes[1:]
    for node in others:
        node.process.send_signal(19)
    try:
        rest = [cluster.nodes[0], *cluster.gateways]
        until(lambda: not any(pod.ready for pod in rest), 30, "nobody is ready without a quorum")
        assert all(pod.probe("livenessProbe") and pod.probe("startupProbe") for pod in rest)
    finally:
        for node in others:
            node.process.send_signal(18)
    for pod in cluster.pods.values():
        pod.wait_ready()


def test_a_rolling_restart_of_everything_fails_no_request(cluster, pool, capsys):
    with pool.load() as running:
        until(lambda: running.acks_since(running.started) > 20, 30, "clients are served")
        began = time.monotonic()
        cluster.upgrade(changed(VALUES, log__level="info,conclave=debug"))
        took = time.monotonic() - began
    check(running, capsys, f"three nodes and two gateways restarted in {took:.0f} s")


def expiry(pod):
    (found,) = re.findall(r'^conclave_certificate_expiry_timestamp_seconds\{certificate="internal"\} (\d+)',
                          pod.get("/metrics")[1], re.MULTILINE)  # fmt: skip
    return int(found)


def test_gateways_take_over_a_renewed_certificate_and_nodes_when_they_are_restarted(cluster, pool, capsys):
    gateway, node = cluster.gateways[0], cluster.nodes[0]
    before = expiry(gateway), expiry(node)
    shell(
        cluster.directory,
        """
        cd pki
        rm -f gateway.pem gateway-key.pem
        conclave pki issue --dir . --cluster-id prod --role gateway --name gateway --host conclave-gateway
        kubectl create secret generic conclave-gateway-tls --from-file=ca.crt=ca.pem \\
          --from-file=tls.crt=gateway.pem --from-file=tls.key=gateway-key.pem
    """,
    )
    with pool.load() as running:
        issue(cluster, 1, 0)
        assert all(pod.update_volumes() for pod in (gateway, node))
        until(lambda: expiry(gateway) > before[0], 30, "the gateway has the new certificate")
        # what it has stays, and can be read, until the pod is another one
        assert node.reads("/etc/conclave/pki/tls.crt").startswith("-----BEGIN")
        assert expiry(node) == before[1] and node.ready
        assert 'conclave_certificate_reloads_refused_total{port="internal"} 0' in node.get("/metrics")[1]
        cluster.restart_node("conclave-0")
        assert expiry(cluster.nodes[0]) > before[1]
    check(running, capsys, "renewed")


def numbers(cluster):
    """The nodes' numbers, with their state, as an administrator sees them."""
    return {node["node_id"]: node for node in json.loads(cluster.admin("nodes", "--json"))["nodes"]}


def test_it_grows_to_five_and_shrinks_again(cluster, pool, capsys):
    with pool.load() as running:
        for number, ordinal in ((4, 3), (5, 4)):
            issue(cluster, number, ordinal)
        began = {pod.name: pod.process.pid for pod in cluster.nodes}
        cluster.upgrade(changed(cluster.values, replicaCount=5))
        assert {name: cluster.pods[name].process.pid for name in began} == began, "growing restarts no node"
        for pod in cluster.nodes:
            pod.wait_ready()
        until(lambda: all("conclave_raft_is_voter" in pod.get("/metrics")[1] for pod in cluster.nodes), 60, "metrics")
        until(
            lambda: all(re.search(r"conclave_raft_is_voter\{.*\} 1", pod.get("/metrics")[1]) for pod in cluster.nodes),
            MOVED_SECONDS_MAX,
            "the new nodes vote",
        )
        for number in (5, 4):
            cluster.admin("drain", number)
            cluster.admin("remove", number)
        cluster.upgrade(changed(cluster.values, replicaCount=3, confirmScaleDownTo=3))
    check(running, capsys, "3 -> 5 -> 3 nodes")
    assert set(numbers(cluster)) >= {1, 2, 3}
    until(lambda: cluster.test()["conclave-test-status"][0] == 0, 30, "all is well")


def test_a_node_whose_volume_is_lost_comes_back_under_another_number(cluster, pool, capsys):
    with pool.load() as running:
        until(lambda: running.acks_since(running.started) > 20, 30, "clients are served")
        cluster.lose_node("conclave-1")
        issue(cluster, 101, 1)
        before = {pod.name: pod.process.pid for pod in cluster.nodes}
        cluster.upgrade(changed(cluster.values, nodeNumbers={"1": 101}))
        assert {name: cluster.pods[name].process.pid for name in before} == before, "no other node is restarted"
        cluster.pods["conclave-1"].wait_ready()
        cluster.admin("replace", 2, "--with", 101)
    check(running, capsys, "replaced")
    until(lambda: cluster.test()["conclave-test-status"][0] == 0, 30, "all is well")
    # the other nodes' lists of members still name node 2 under that address
    with pool.load() as running:
        cluster.upgrade(changed(cluster.values, log__level="info,conclave=trace"))
    check(running, capsys, "restarted after the replacement")


def test_a_removed_number_is_refused_and_a_new_one_is_taken(cluster, pool):
    """The claims of pods that were removed are still there."""
    cluster.upgrade(changed(cluster.values, replicaCount=4, confirmScaleDownTo=0))
    pod = cluster.pods["conclave-3"]
    until(lambda: not pod.running, 60, "node 4 ends: it was removed")
    cluster.lose_node("conclave-3")
    issue(cluster, 102, 3)
    cluster.upgrade(changed(cluster.values, nodeNumbers={"1": 101, "3": 102}))
    cluster.pods["conclave-3"].wait_ready()
