"""Releases without gateways, as local processes: nodes that serve the API with TLS, and a single node that grows."""

import json
import re

import netns
import pytest
from chart import changed, example
from clients import Pool, check
from netns import OUTSIDE, Network, open_to_others, run, until
from pods import Kubernetes
from readme import README, commands, secrets, shell

pytestmark = [
    pytest.mark.skipif(not netns.possible(), reason="needs CONCLAVE_BIN, root, network namespaces"),
    pytest.mark.timeout(300),
]
VALUES = changed(example("small"), clusterId="prod", poolGroups=3, email={}, sms={}, publicTls={})


@pytest.fixture
def directory(tmp_path):
    open_to_others(tmp_path)
    shell(tmp_path, commands(README, "openssl rand -hex 32 > kek"))
    shell(tmp_path, commands(README, "conclave pki init --cluster-id prod"))
    return tmp_path


def pool_of(cluster, endpoint, verify=None):
    node = cluster.nodes[0]
    account = node.exec("conclave", "account", "create", "--name", "main").stdout
    key = node.exec("conclave", "credentials", "create", "--account", account.strip(), "--user", "admin").stdout
    return Pool([endpoint], account, key, verify=verify)


def test_nodes_serve_the_api_with_a_certificate_that_is_renewed_while_they_run(directory, capsys):
    def public_certificate(name):
        """A new one of the same authority, in the secret."""
        target = directory / "secrets" / "conclave-public-tls"
        target.mkdir(exist_ok=True)
        authority = ["-CA", directory / "public.pem", "-CAkey", directory / "public-key.pem"]
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{OUTSIDE}",
            "-addext", "basicConstraints=critical,CA:FALSE",
            *authority, "-keyout", target / "tls.key", "-out", target / "tls.crt",
        )  # fmt: skip
        return secrets(directory)

    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
        "-subj", "/CN=authority", "-keyout", directory / "public-key.pem", "-out", directory / "public.pem",
    )  # fmt: skip
    values = changed(VALUES, publicTls={"existingSecret": "conclave-public-tls"})
    with Network() as network, Kubernetes(directory, network, public_certificate("first")) as cluster:
        cluster.upgrade(values)
        assert not cluster.gateways
        for node in cluster.nodes:
            node.wait_ready()
        endpoint = cluster.service.endpoint.replace("http:", "https:")
        pool = pool_of(cluster, endpoint, verify=str(directory / "public.pem"))
        tests = cluster.test()
        assert tests["conclave-test-api"][0] == 0, tests
        with pool.load() as load:
            cluster.secrets = public_certificate("second")
            for node in cluster.nodes:
                assert node.update_volumes()
            taken_over = r'^conclave_certificate_reloads_total\{port="public"\} [1-9]'
            for node in cluster.nodes:
                until(
                    lambda node=node: re.search(taken_over, node.get("/metrics")[1], re.MULTILINE),
                    30,
                    "it is taken over",
                )
            cluster.upgrade(changed(values, log__level="info,conclave=debug"))
        check(load, capsys, "nodes that serve the API, restarted")


def test_a_single_node_grows_to_three_and_none_makes_the_cluster_again(directory, capsys):
    values = changed(VALUES, initialNodes=1, replicaCount=1, service={"ports": {"http": 9229}})
    with Network() as network, Kubernetes(directory, network, secrets(directory)) as cluster:
        cluster.upgrade(values).nodes[0].wait_ready()
        pool = pool_of(cluster, cluster.service.endpoint)
        with pool.load() as load:
            cluster.upgrade(changed(values, replicaCount=3))
            for node in cluster.nodes:
                node.wait_ready()

            def voters():
                return [len(group["voters"]) for group in json.loads(cluster.admin("groups", "--json"))["groups"]]

            until(lambda: voters() == [3] * 4, 90, "every group has three voters")
            until(lambda: cluster.test()["conclave-test-status"][0] == 0, 30, "all is well")
            cluster.upgrade(changed(values, replicaCount=3, bootstrap=False))
        check(load, capsys, "1 -> 3 nodes, and restarted")
        assert all(node.ready for node in cluster.nodes)
