"""What the chart renders, looked at as Kubernetes and Conclave would. Needs helm 3, PyYAML and pytest; without helm it is skipped.

    python -m pytest helm
    CONCLAVE_BIN=target/debug/conclave python -m pytest helm    # also starts a node with the rendered configuration
"""

import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import tomllib
import urllib.error
import urllib.request

import pytest
import yaml

HELM = os.environ.get("HELM") or shutil.which("helm")
CHART = pathlib.Path(__file__).parent / "conclave"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
MINIMAL = CHART / "ci" / "default-values.yaml"
CERT_MANAGER = CHART / "ci" / "cert-manager-values.yaml"
FULL = CHART / "ci" / "full-values.yaml"
TRIAL = CHART / "ci" / "trial-values.yaml"
START_SECONDS_MAX = 60

pytestmark = pytest.mark.skipif(HELM is None, reason="helm is not installed")


class OneOfEachKey(yaml.SafeLoader):
    """YAML, where a key that is given twice is a mistake and not the second value."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep)


def helm(*arguments):
    return subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def template(values, *sets, kubernetes="1.34.0"):
    options = [word for one in sets for word in ("--set-json", one)]
    return helm("template", "conclave", CHART, "-n", "identity", "--kube-version", kubernetes, "-f", values, *options)


def render(values, *sets, **options):
    """The manifests by kind and name."""
    done = template(values, *sets, **options)
    assert done.returncode == 0, done.stderr
    manifests = {}
    for manifest in yaml.load_all(done.stdout, OneOfEachKey):
        key = manifest["kind"], manifest["metadata"]["name"]
        assert key not in manifests, f"{key} is there twice"
        manifests[key] = manifest
    return manifests


def one(manifests, kind):
    (found,) = [manifest for (of, _), manifest in manifests.items() if of == kind]
    return found


def kinds(manifests):
    return {kind for kind, _ in manifests}


def pods(stateful_set):
    return [f"{stateful_set['metadata']['name']}-{n}" for n in range(stateful_set["spec"]["replicas"])]


def container(stateful_set):
    (found,) = [c for c in stateful_set["spec"]["template"]["spec"]["containers"] if c["name"] == "conclave"]
    return found


def configs(manifests):
    """The configuration that each pod reads, by the pod's name."""
    stateful_set = one(manifests, "StatefulSet")
    environment = {e["name"]: e.get("value") for e in container(stateful_set)["env"]}
    volumes = {v["name"]: v for v in stateful_set["spec"]["template"]["spec"]["volumes"]}
    data = manifests["ConfigMap", volumes["config"]["configMap"]["name"]]["data"]
    (mount,) = [m for m in container(stateful_set)["volumeMounts"] if m["name"] == "config"]
    found = {}
    for pod in pods(stateful_set):
        path = pathlib.PurePath(environment["CONCLAVE_CONFIG"].replace("$(POD_NAME)", pod))
        found[pod] = tomllib.loads(data[str(path.relative_to(mount["mountPath"]))])
    assert len(found) == len(data), "there is a file that no pod reads"
    return found


def projected(stateful_set, pod):
    """What a pod sees of the certificates: path in the container to (secret, key)."""
    (volume,) = [v for v in stateful_set["spec"]["template"]["spec"]["volumes"] if v["name"] == "pki"]
    (mount,) = [m for m in container(stateful_set)["volumeMounts"] if m["name"] == "pki"]
    below = mount["subPathExpr"].replace("$(POD_NAME)", pod)
    return {
        item["path"].replace(below, mount["mountPath"], 1): (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
        if item["path"].startswith(f"{below}/")
    }


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_lint_and_renders_without_a_secret(values):
    done = helm("lint", "--strict", CHART, "-f", values)
    assert done.returncode == 0, done.stdout + done.stderr
    manifests = render(values)
    assert "Secret" not in kinds(manifests)
    assert {"StatefulSet", "ConfigMap", "Service"} <= kinds(manifests)


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_each_pod_reads_a_configuration_with_its_number_and_the_same_members(values):
    manifests = render(values)
    stateful_set = one(manifests, "StatefulSet")
    headless = manifests["Service", stateful_set["spec"]["serviceName"]]
    assert headless["spec"]["clusterIP"] == "None" and headless["spec"]["publishNotReadyAddresses"]
    assert stateful_set["spec"]["podManagementPolicy"] == "Parallel"
    found = configs(manifests)
    for ordinal, (pod, config) in enumerate(found.items()):
        assert config["node_id"] == ordinal + 1
        address = config["members"][ordinal]["address"]
        assert address.startswith(f"{pod}.{headless['metadata']['name']}.identity.svc.")
        assert address.endswith(":9230")
    alike = [{key: value for key, value in config.items() if key != "node_id"} for config in found.values()]
    assert all(config == alike[0] for config in alike)
    assert [member["node_id"] for member in alike[0]["members"]] == [c["node_id"] for c in found.values()]


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_file_that_the_configuration_names_is_mounted(values):
    manifests = render(values)
    stateful_set = one(manifests, "StatefulSet")
    spec = stateful_set["spec"]["template"]["spec"]
    (kek,) = [v["secret"] for v in spec["volumes"] if v["name"] == "kek"]
    keks = {f"/etc/conclave/kek/{item['path']}" for item in kek["items"]}
    mounts = {m["name"]: m["mountPath"] for m in container(stateful_set)["volumeMounts"]}
    for pod, config in configs(manifests).items():
        assert config["data_dir"] == mounts["data"]
        assert {config["kek"]["file"], *config["kek"].get("previous_files", [])} == keks
        assert set(config["internal_tls"].values()) == set(projected(stateful_set, pod))


@pytest.mark.parametrize("values", [CERT_MANAGER, FULL, TRIAL], ids=lambda path: path.stem)
def test_cert_manager_is_asked_for_the_identity_of_each_pod(values):
    manifests = render(values)
    stateful_set = one(manifests, "StatefulSet")
    certificates = {
        m["spec"]["secretName"]: m["spec"] for (kind, _), m in manifests.items() if kind == "Certificate"
    }
    for pod, config in configs(manifests).items():
        files = projected(stateful_set, pod)
        (secret,) = {name for name, _ in files.values()}
        keys = {setting: files[path][1] for setting, path in config["internal_tls"].items()}
        assert keys == {"ca": "ca.crt", "certificate": "tls.crt", "key": "tls.key"}
        certificate = certificates[secret]
        own = config["members"][config["node_id"] - 1]
        assert certificate["dnsNames"] == [own["address"].removesuffix(":9230")]
        assert certificate["uris"] == [f"conclave://{config['cluster_id']}/node/{config['node_id']}"]
        assert {"server auth", "client auth"} <= set(certificate["usages"])


def test_without_an_issuer_the_chart_makes_an_authority_and_with_one_it_does_not():
    own = render(CERT_MANAGER)
    (authority,) = [m for m in own.values() if m["kind"] == "Certificate" and m["spec"].get("isCA")]
    issuers = {m["metadata"]["name"]: m["spec"] for m in own.values() if m["kind"] == "Issuer"}
    assert "selfSigned" in issuers[authority["spec"]["issuerRef"]["name"]]
    for manifest in own.values():
        if manifest["kind"] == "Certificate" and manifest is not authority:
            issuer = issuers[manifest["spec"]["issuerRef"]["name"]]
            assert issuer == {"ca": {"secretName": authority["spec"]["secretName"]}}
    given = render(FULL)
    assert "Issuer" not in kinds(given)
    named = [m["spec"]["issuerRef"]["name"] for m in given.values() if m["kind"] == "Certificate"]
    assert named == ["conclave-internal"] * 7


def test_pods_have_no_rights_and_write_to_their_data_only():
    stateful_set = one(render(MINIMAL), "StatefulSet")
    pod = stateful_set["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container(stateful_set)["securityContext"]
    assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    writable = [m["name"] for m in container(stateful_set)["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["data"]
    assert [c["metadata"]["name"] for c in stateful_set["spec"]["volumeClaimTemplates"]] == ["data"]


def test_probes_ask_the_management_port_and_only_readiness_asks_for_the_quorum():
    found = container(one(render(MINIMAL), "StatefulSet"))
    assert {"name": "management", "containerPort": 9000} in found["ports"]
    paths = {probe: found[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert {found[probe]["httpGet"]["port"] for probe in paths} == {"management"}
    custom = container(one(render(FULL), "StatefulSet"))["startupProbe"]
    assert custom == {"tcpSocket": {"port": "management"}, "failureThreshold": 600}


def test_at_most_one_node_is_taken_away_and_no_two_share_a_machine():
    manifests = render(MINIMAL)
    stateful_set = one(manifests, "StatefulSet")
    selector = stateful_set["spec"]["selector"]
    budget = one(manifests, "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": selector}
    pod = stateful_set["spec"]["template"]["spec"]
    (apart,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart == {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    assert [c["labelSelector"] for c in pod["topologySpreadConstraints"]] == [selector]


@pytest.mark.parametrize("values", [MINIMAL, FULL], ids=lambda path: path.stem)
def test_the_internal_port_is_open_to_nodes_only(values):
    manifests = render(values)
    policy = one(manifests, "NetworkPolicy")["spec"]
    nodes = one(manifests, "StatefulSet")["spec"]["selector"]
    assert policy["podSelector"] == nodes
    to_internal = [r for r in policy["ingress"] if any(p["port"] == 9230 for p in r["ports"])]
    assert to_internal == [{"ports": [{"port": 9230}], "from": [{"podSelector": nodes}]}]
    assert "internal" not in [p["name"] for p in manifests["Service", "conclave"]["spec"]["ports"]]


def test_services_and_monitors_find_the_pods():
    manifests = render(FULL)
    labels = one(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"].items()
    services = {name: m for (kind, name), m in manifests.items() if kind == "Service"}
    for service in services.values():
        assert service["spec"]["selector"].items() <= labels
    monitor = one(manifests, "ServiceMonitor")["spec"]
    chosen = [
        name
        for name, service in services.items()
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        and monitor["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    ]
    assert chosen == ["conclave-headless"]
    backend = one(manifests, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "conclave", "port": {"name": "http"}}


def test_a_change_of_the_configuration_restarts_pods_and_a_label_of_the_release_does_not():
    def pod_template(*sets):
        return one(render(MINIMAL, *sets), "StatefulSet")["spec"]["template"]

    assert pod_template() == pod_template('service.labels={"a":"b"}')
    assert pod_template() != pod_template('publicUrl="https://other.example.com"')


def test_what_an_old_kubernetes_does_not_know_is_left_out():
    old = one(render(MINIMAL, kubernetes="1.25.0"), "StatefulSet")
    assert "lifecycle" not in container(old)
    assert "persistentVolumeClaimRetentionPolicy" not in old["spec"]
    assert template(MINIMAL, kubernetes="1.24.0").returncode != 0


REFUSED = {
    "no cluster": ('clusterId=""', "clusterId is needed"),
    "no URL": ('publicUrl=""', "publicUrl is needed"),
    "no key": ('kek.existingSecret=""', "kek.existingSecret is needed"),
    "no certificates": ('internalTls.existingSecret=""', "with certificates only"),
    "two sources of certificates": ("internalTls.certManager.enabled=true", "takes one of"),
    "an even number of nodes": ("replicaCount=4", "replicaCount"),
    "too many groups": ("poolGroups=63", "poolGroups"),
    "a URL that ends with a slash": ('publicUrl="https://id.example.com/"', "publicUrl"),
    "a name that is no part of a URI": ('clusterId="a b"', "clusterId"),
    "a name that is no host in a URI": ('clusterId="a..b"', "clusterId"),
    "an unknown value": ("replicas=3", "replicas"),
    "an unknown value below": ('kek.value="00"', "value"),
    "an ingress without a host": ("ingress.enabled=true", "ingress.hostname is needed"),
    "two budgets": ("pdb.minAvailable=2", "pdb takes one"),
}


@pytest.mark.parametrize("value, reason", REFUSED.values(), ids=REFUSED.keys())
def test_values_that_make_no_cluster_are_refused(value, reason):
    done = template(MINIMAL, value)
    assert done.returncode != 0 and reason in done.stderr, done.stderr


def paths(values, above=()):
    """Every value that is no table of further ones, as the names on the way to it."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from paths(value, (*above, key))
        else:
            yield (*above, key), value


def test_the_readme_lists_every_value_with_its_default():
    lines = [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    listed = {key.strip(" `"): default.strip(" `") for key, default in (line.split("|")[1:3] for line in lines)}
    used = set()
    for path, value in paths(yaml.safe_load((CHART / "values.yaml").read_text())):
        (name,) = {".".join(path[:length]) for length in range(1, len(path) + 1)} & set(listed)
        assert listed[name] in (json.dumps(value), "see values.yaml"), name
        used.add(name)
    assert used == set(listed)


class KubernetesApi(http.server.BaseHTTPRequestHandler):
    """As much of the API as helm asks for when it looks up the running stateful set."""

    nodes = None

    def do_GET(self):
        names = {"name": "statefulsets", "singularName": "", "namespaced": True, "kind": "StatefulSet", "verbs": ["get"]}
        answers = {
            "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [names]},
            "/apis/apps/v1/namespaces/identity/statefulsets/conclave": {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "conclave", "annotations": {"conclave-nodes": self.nodes}},
            },
        }
        answer = answers.get(self.path.partition("?")[0])
        body = json.dumps(answer or {"kind": "Status", "status": "Failure", "code": 404}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("nodes, accepted", [("3", True), ("5", False)])
def test_the_number_of_nodes_of_a_running_cluster_cannot_change(nodes, accepted, tmp_path):
    handler = type("Handler", (KubernetesApi,), {"nodes": nodes})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump({
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": url}}],
                "users": [{"name": "test", "user": {}}],
            })
        )
        done = helm(
            "template", "conclave", CHART, "-n", "identity", "-f", MINIMAL, "--kube-version", "1.34.0",
            "--dry-run=server", "--kubeconfig", kubeconfig,
        )
        server.shutdown()
    if accepted:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0 and "made with 5 nodes" in done.stderr, done.stderr


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.skipif("CONCLAVE_BIN" not in os.environ, reason="CONCLAVE_BIN is not set")
def test_a_node_starts_with_the_rendered_configuration_and_the_certificates_of_the_readme(tmp_path):
    binary = pathlib.Path(os.environ["CONCLAVE_BIN"]).resolve()
    manifests = render(MINIMAL, "replicaCount=1", "poolGroups=1")
    (pod, config), = configs(manifests).items()
    own = config["members"][0]["address"]

    pki = tmp_path / "pki"
    for arguments in (
        ["init"],
        ["issue", "--node-id", "1", "--name", pod, "--host", own.removesuffix(":9230")],
    ):
        command = [binary, "pki", *arguments, "--dir", pki, "--cluster-id", config["cluster_id"]]
        subprocess.run(command, check=True, timeout=60)
    etc = tmp_path / "etc"
    (etc / "pki").mkdir(parents=True)
    for path, (_, key) in projected(one(manifests, "StatefulSet"), pod).items():
        shutil.copy(pki / key, etc / pathlib.PurePath(path).relative_to("/etc/conclave"))
    (etc / "kek").mkdir()
    (etc / "kek" / "kek").write_text("00" * 32)

    text = manifests["ConfigMap", "conclave"]["data"][f"{pod}.toml"]
    management = f"127.0.0.1:{free_port()}"
    for rendered, here in (
        ("/etc/conclave", str(etc)),
        ('"/data"', f'"{tmp_path / "data"}"'),
        ("0.0.0.0:9229", "127.0.0.1:0"),
        ("0.0.0.0:9230", "127.0.0.1:0"),
        ("0.0.0.0:9000", management),
    ):
        assert rendered in text
        text = text.replace(rendered, here)
    (tmp_path / "conclave.toml").write_text(text)

    command = [binary, "serve", "--config", tmp_path / "conclave.toml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            while not answers(f"http://{management}/readyz"):
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline, "the node does not become ready"
                time.sleep(0.1)
        finally:
            process.terminate()
        assert process.wait(timeout=START_SECONDS_MAX) == 0


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
