"""What the chart refuses because of what runs. Helm asks the Kubernetes API for it; here it asks a stand-in."""

import contextlib
import http.server
import json
import threading

import pytest
import yaml
from chart import HELM, Refused, changed, example, render

DEFAULT = example("default")
SET = "/apis/apps/v1/namespaces/identity/statefulsets/conclave"

pytestmark = pytest.mark.skipif(HELM is None, reason="only helm itself asks what runs")


class KubernetesApi(http.server.BaseHTTPRequestHandler):
    """As much of the API as helm asks for when it looks up the running stateful set."""

    running = None

    def do_GET(self):
        names = {
            "name": "statefulsets",
            "singularName": "",
            "namespaced": True,
            "kind": "StatefulSet",
            "verbs": ["get"],
        }
        answers = {
            "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
            "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [names]},
            SET: self.running,
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


@contextlib.contextmanager
def kubernetes(tmp_path, replicas, first):
    """The options with which helm finds a cluster of so many nodes."""
    running = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "conclave", "annotations": {"conclave-initial-nodes": str(first)}},
        "spec": {"replicas": replicas},
    }
    handler = type("Handler", (KubernetesApi,), {"running": running})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                    "users": [{"name": "test", "user": {}}],
                }
            )
        )
        yield "--dry-run=server", "--kubeconfig", kubeconfig
        server.shutdown()


@pytest.mark.parametrize("first, replicas, changes, reason", [
    (3, 3, {}, None),
    (3, 3, {"replicaCount": 5}, None),
    (3, 5, {}, "replicaCount goes from 5 to 3: drain and remove first, one after another, node 5, 4 "),
    (3, 5, {"nodeNumbers": {"4": 101}}, "node 101, 4 "),
    (3, 5, {"confirmScaleDownTo": 4}, "then set confirmScaleDownTo: 3"),
    (3, 5, {"confirmScaleDownTo": 3}, None),
    (5, 5, {"initialNodes": 5, "confirmScaleDownTo": 3}, None),
    (5, 5, {"replicaCount": 5}, "the cluster was made of 5 nodes: initialNodes stays 5"),
])  # fmt: skip
def test_nodes_are_not_taken_away_by_mistake(tmp_path, first, replicas, changes, reason):
    with kubernetes(tmp_path, replicas, first) as options:
        values = changed(DEFAULT, **changes)
        if reason is None:
            render(values, *options)
            return
        with pytest.raises(Refused, match=reason):
            render(values, *options)
