"""The chart in Kubernetes' own API server, controllers and scheduler, see kubernetes.py: installed, used, upgraded, grown, shrunk, and
with a lost volume, by the commands of the README and the runbook.

    CONCLAVE_BIN=... HELM=... KUBERNETES_BIN=/directory/of/kube-apiserver/and/others python -m pytest test_kubernetes.py
"""

import json
import pathlib
import re
import subprocess

import kubernetes
import netns
import pytest
import yaml
from chart import HELM, KUBERNETES, ROOT, changed
from clients import Pool, check
from kubernetes import KUBECTL, ControlPlane, Kubelet
from netns import BINARY, Network, until
from pods import Service
from test_pods import README, VALUES, commands

pytestmark = [
    pytest.mark.skipif(not (netns.possible() and kubernetes.possible()), reason="needs KUBERNETES_BIN, helm, root"),
    pytest.mark.timeout(600),
]
# Shorter than by default: what is waited for is there without it.
QUICK = changed(VALUES, minReadySeconds=2, preStopSleepSeconds=2, gateway__minReadySeconds=1, gateway__autoscaling={})
# One that was built with `go install` takes Kubernetes for 1.20 as long as it does not ask it.
HELM_HERE = """#!/bin/sh
[ "$1" != template ] || exec {helm} "$@" --kube-version {version}
exec {helm} "$@"
"""
COMPONENT = "app.kubernetes.io/component"


class Cluster:
    """The release, as `kubectl` and clients see it."""

    def __init__(self, directory, plane, kubelet):
        self.directory, self.plane, self.kubelet = directory, plane, kubelet
        tools = directory / "bin"
        tools.mkdir()
        for name, path in (("kubectl", KUBECTL), ("conclave", BINARY)):
            (tools / name).symlink_to(pathlib.Path(path).resolve())
        (tools / "helm").write_text(HELM_HERE.format(helm=pathlib.Path(HELM).resolve(), version=KUBERNETES))
        (tools / "helm").chmod(0o755)
        (directory / "helm").symlink_to(ROOT / "helm")
        self.environment = {
            "PATH": f"{tools}:/usr/bin:/bin",
            "KUBECONFIG": str(plane.kubeconfig),
            "HOME": str(directory),
        }
        self.values = QUICK

    def shell(self, script, check=True):
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0 or not check, f"{script}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def write_values(self, **changes):
        self.values = changed(self.values, **changes)
        (self.directory / "values.yaml").write_text(yaml.safe_dump(self.values))

    def upgrade(self, check=True, **changes):
        self.write_values(**changes)
        return self.shell("helm upgrade conclave helm/conclave -n identity -f values.yaml", check)

    def wait_rolled_out(self):
        for workload in ("statefulset/conclave", "deployment/conclave-gateway"):
            self.plane.kubectl("rollout", "status", workload, "--timeout=150s")

    def admin(self, *command):
        """By the function of the README. What the job has logged, once it is done."""
        function = commands(README, "admin() {").partition("\n}\n")[0] + "\n}"
        job = self.shell(f"{function}\nadmin {' '.join(map(str, command))}").stdout.strip()
        self.plane.kubectl("wait", "--for=condition=complete", job, "--timeout=120s")
        (pod,) = self.plane.get("pods", labels=f"job-name={job.rpartition('/')[2]}")
        return (self.kubelet.directory / "logs" / f"{pod['metadata']['name']}.log").read_text()

    def pods(self, component):
        """By name, those that are not on their way out."""
        pods = self.plane.get("pods", labels=f"{COMPONENT}={component}")
        return {pod["metadata"]["name"]: pod for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    def issue(self, number, ordinal, host):
        """One more certificate in the secret of the nodes."""
        self.shell(f"""
            cd pki
            rm -f conclave-{ordinal}.pem conclave-{ordinal}-key.pem
            conclave pki issue --dir . --cluster-id prod --node-id {number} --name conclave-{ordinal} --host {host}
            kubectl -n identity create secret generic conclave-internal-tls --from-file=ca.pem --dry-run=client -o yaml \\
              $(for f in conclave-*.pem; do echo --from-file=$f; done) | kubectl apply -f -
        """)

    # what the service asks of it

    @property
    def manifests(self):
        return {("Service", "conclave"): self.plane.get("service", "conclave")}

    node_set = {"metadata": {"name": "conclave"}}

    @property
    def servers(self):
        """Whom the controllers of Kubernetes have put behind the service."""
        slices = self.plane.get("endpointslices", labels="kubernetes.io/service-name=conclave")
        ready = {
            endpoint["targetRef"]["uid"]
            for each in slices
            for endpoint in each["endpoints"] or []
            if endpoint["conditions"]["ready"]
        }
        return [pod for uid, pod in self.kubelet.pods.items() if uid in ready]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kubernetes")
    for path in (directory, *directory.parents):
        if path != pathlib.Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    with Network() as network, ControlPlane(directory / "plane") as plane:
        with Kubelet(plane, directory, network) as kubelet:
            cluster = Cluster(directory, plane, kubelet)
            for begins in (
                "kubectl create namespace identity",
                "openssl rand -hex 32 > kek",
                "conclave pki init --cluster-id prod",
            ):
                cluster.shell(commands(README, begins))
            cluster.write_values()
            cluster.shell("helm install conclave helm/conclave -n identity -f values.yaml --wait --timeout 180s")
            yield cluster
            assert kubelet.problems == [], "\n".join(kubelet.problems[:3])


@pytest.fixture(scope="module")
def pool(cluster):
    (gateway, *_) = cluster.servers
    account = gateway.exec("conclave", "account", "create", "--name", "main").stdout
    key = gateway.exec("conclave", "credentials", "create", "--account", account.strip(), "--user", "admin").stdout
    service = Service(cluster)
    yield Pool([service.endpoint], account, key)
    service.close()


def test_it_is_installed_and_tested_as_the_readme_says(cluster, pool):
    assert pool.sign_in(pool.make_user())["AccessToken"]
    tested = cluster.shell("helm test conclave -n identity").stdout
    assert tested.count("Phase:          Succeeded") == 2, tested


def test_nodes_are_on_machines_and_in_zones_of_their_own(cluster):
    machines = [pod["spec"]["nodeName"] for pod in cluster.pods("node").values()]
    assert len(set(machines)) == 3
    assert len({kubernetes.MACHINES[machine] for machine in machines}) == 3
    # it looks every 15 s
    until(lambda: len(cluster.pods("gateway")) == 2, 40, "the autoscaler keeps to its least, also without metrics")
    cluster.wait_rolled_out()


def test_the_budget_lets_one_node_go_at_a_time(cluster, pool, capsys):
    def evict(pod):
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "identity"}}
        path = f"/api/v1/namespaces/identity/pods/{pod}/eviction"
        return cluster.plane.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction), check=False)

    with pool.load() as load:
        until(lambda: load.acks_since(load.started) > 10, 30, "clients are served")
        assert evict("conclave-0").returncode == 0
        refused = evict("conclave-1")
        assert refused.returncode != 0 and "disruption budget" in refused.stderr, refused.stderr
        until(lambda: "conclave-0" in cluster.pods("node"), 60, "the pod is there again")
        cluster.wait_rolled_out()
    check(load, capsys, "a node evicted")


def test_an_upgrade_replaces_one_pod_after_another_and_fails_no_request(cluster, pool, capsys):
    before = {name: pod["metadata"]["uid"] for name, pod in {**cluster.pods("node"), **cluster.pods("gateway")}.items()}
    with pool.load() as load:
        cluster.upgrade(log__level="info,conclave=debug")
        cluster.wait_rolled_out()
    check(load, capsys, "helm upgrade")
    after = {pod["metadata"]["uid"] for component in ("node", "gateway") for pod in cluster.pods(component).values()}
    assert not after & set(before.values())


def test_growing_restarts_no_node_and_shrinking_asks_for_a_confirmation(cluster, pool, capsys):
    cluster.issue(4, 3, "conclave-3.conclave-headless.identity.svc.cluster.local")
    before = {name: pod["metadata"]["uid"] for name, pod in cluster.pods("node").items()}
    with pool.load() as load:
        cluster.upgrade(replicaCount=4)
        cluster.wait_rolled_out()
        now = {name: pod["metadata"]["uid"] for name, pod in cluster.pods("node").items()}
        assert set(now) == {*before, "conclave-3"} and before.items() <= now.items()
        refused = cluster.upgrade(check=False, replicaCount=3)
        assert refused.returncode != 0 and "drain and remove first, one after another, node 4 " in refused.stderr
        cluster.admin("drain", 4)
        cluster.admin("remove", 4)
        cluster.upgrade(replicaCount=3, confirmScaleDownTo=3)
        until(lambda: set(cluster.pods("node")) == set(before), 60, "the pod is gone")
    check(load, capsys, "3 -> 4 -> 3 nodes")
    assert cluster.plane.get("persistentvolumeclaim", "data-conclave-3"), "its claim is kept"
    other = cluster.upgrade(check=False, initialNodes=5, replicaCount=5)
    assert other.returncode != 0 and "the cluster was made of 3 nodes" in other.stderr
    cluster.write_values(initialNodes=3, replicaCount=3)


def test_a_lost_volume_is_replaced_as_the_runbook_says(cluster, pool, capsys):
    page = (ROOT / "docs" / "runbooks" / "replace-a-node.md").read_text()
    block = re.search(r"```sh\n(conclave pki issue .*?)```", page, re.DOTALL)[1]
    issue, upgrade, claim, pod, _ = block.replace(" \\\n", " ").splitlines()
    lost = cluster.plane.get("persistentvolumeclaim", "data-conclave-1")["metadata"]["uid"]
    cluster.issue(101, 1, re.search(r"--host +(\S+)", issue)[1])
    with pool.load() as load:
        cluster.shell("\n".join([upgrade, claim, pod]))
        cluster.write_values(nodeNumbers={"1": 101})
        until(lambda: "conclave-1" in cluster.pods("node"), 60, "the pod is there again")
        cluster.wait_rolled_out()
        assert cluster.plane.get("persistentvolumeclaim", "data-conclave-1")["metadata"]["uid"] != lost
        cluster.admin("replace", 2, "--with", 101)
    check(load, capsys, "replaced")
    tested = cluster.shell("helm test conclave -n identity").stdout
    assert tested.count("Phase:          Succeeded") == 2, tested


def test_what_is_uninstalled_leaves_its_data(cluster):
    cluster.shell("helm uninstall conclave -n identity --wait --timeout 120s")
    until(lambda: not cluster.plane.get("pods", labels=f"{COMPONENT} in (node, gateway)"), 90, "all pods are gone")
    claims = {claim["metadata"]["name"] for claim in cluster.plane.get("persistentvolumeclaims")}
    assert claims == {f"data-conclave-{n}" for n in range(4)}
