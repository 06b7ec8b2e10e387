"""Kubernetes' own API server, controllers and scheduler, and a kubelet that runs pods as the processes of pods.py.

What Kubernetes decides is seen as it is: what it takes on, in which order pods are replaced, where they are put, whether one may be
evicted. What it leaves to others is not: there is no network policy, no metrics server, no ingress, no cert-manager.

Needs the directory KUBERNETES_BIN with kube-apiserver, kube-controller-manager, kube-scheduler and etcd, and kubectl and helm.
"""

import base64
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import traceback

import chart
from netns import OUTSIDE, run, until
from pods import Pod

from harness.server import free_ports

BIN = os.environ.get("KUBERNETES_BIN")
KUBECTL = os.environ.get("KUBECTL") or shutil.which("kubectl")
PROGRAMS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
TOKEN = "administrator"
# Machines, each in a zone.
MACHINES = {"machine-a": "zone-a", "machine-b": "zone-b", "machine-c": "zone-c", "machine-d": "zone-a"}
CLAIM_CLASS = "standard"
RESTART_SECONDS = 5


def possible():
    return BIN is not None and chart.HELM is not None and all((pathlib.Path(BIN) / name).exists() for name in PROGRAMS)


class ControlPlane:
    """The programs, each with its log in the directory."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.processes = []
        self.client_port, self.peer_port, self.port = free_ports(3)
        self.kubeconfig = directory / "kubeconfig"

    def __enter__(self):
        (self.directory / "tokens").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        run("openssl", "genrsa", "-out", self.directory / "accounts.key", "2048")
        run(
            "openssl", "rsa", "-in", self.directory / "accounts.key", "-pubout", "-out", self.directory / "accounts.pub"
        )
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [
                        {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": chart.NAMESPACE}}
                    ],
                    "clusters": [
                        {
                            "name": "test",
                            "cluster": {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True},
                        }
                    ],
                    "users": [{"name": "test", "user": {"token": TOKEN}}],
                }
            )
        )
        client, peer = f"http://127.0.0.1:{self.client_port}", f"http://127.0.0.1:{self.peer_port}"
        self.start(
            "etcd", f"--data-dir={self.directory / 'etcd'}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )  # fmt: skip
        self.start(
            "kube-apiserver", f"--etcd-servers={client}", f"--secure-port={self.port}", "--bind-address=127.0.0.1",
            f"--cert-dir={self.directory / 'apiserver'}", f"--token-auth-file={self.directory / 'tokens'}",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=198.19.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.directory / 'accounts.pub'}",
            f"--service-account-signing-key-file={self.directory / 'accounts.key'}",
        )  # fmt: skip
        until(
            lambda: self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok", 90, "the API server is ready"
        )
        self.start(
            "kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={self.directory / 'accounts.key'}", "--secure-port=0",
            "--controllers=*,-nodelifecycle,-nodeipam,-cloud-node-lifecycle",
            f"--cert-dir={self.directory / 'controllers'}",
        )  # fmt: skip
        self.start(
            "kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
            "--secure-port=0",
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()

    def start(self, program, *arguments):
        with (self.directory / f"{program}.log").open("w") as log:
            command = [pathlib.Path(BIN) / program, *arguments]
            environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": ""}
            self.processes.append(subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment))

    def kubectl(self, *arguments, check=True, stdin=None):
        command = [KUBECTL, "--kubeconfig", self.kubeconfig, *arguments]
        return run(*command, check=check, timeout=180, input=stdin)

    def helm(self, *arguments, check=True):
        return run(
            chart.HELM, "--kubeconfig", self.kubeconfig, "-n", chart.NAMESPACE, *arguments, check=check, timeout=400
        )

    def get(self, kind, name=None, labels=None):
        """Objects of the namespace, or one of them; None when it is not there."""
        more = [name] if name else []
        more += ["-l", labels] if labels else []
        done = self.kubectl("get", kind, *more, "-o", "json", check=False)
        if done.returncode != 0:
            assert "NotFound" in done.stderr, done.stderr
            return None
        found = json.loads(done.stdout)
        return found if name else found["items"]

    def status(self, kind, name, **status):
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunningPod(Pod):
    """A pod whose container is started again when it ends, unless it runs once."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.since = self.ready_since = now()
        self.was_ready = False
        self.restarts = 0
        self.ended = None

    def look(self):
        """The container's state, the pod's phase, and whether it is ready."""
        state, phase, ready = {"running": {"startedAt": self.since}}, "Running", False
        code = self.process.poll()
        if code is None:
            ready = "readinessProbe" not in self.container or self.ready
        elif self.spec["restartPolicy"] == "Never":
            state, phase = {"terminated": {"exitCode": code}}, "Failed" if code else "Succeeded"
        else:
            state = {"waiting": {"reason": "CrashLoopBackOff"}}
            self.ended = self.ended or time.monotonic()
            if time.monotonic() - self.ended > RESTART_SECONDS:
                self.process, self.ended = None, None
                self.restarts += 1
                self.start()
        if ready != self.was_ready:
            self.was_ready, self.ready_since = ready, now()
        return state, phase, ready


class Kubelet:
    """Runs what is bound to the machines, and tells how it is. Pods' volumes are read when a pod starts, and every second."""

    def __init__(self, plane, directory, network):
        self.plane, self.directory, self.network = plane, directory, network
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.pods = {}
        self.sent = {}
        self.ending = {}
        self.problems = []
        self.manifests, self.secrets = {}, {}
        self.services = []
        self._stop = threading.Event()

    def __enter__(self):
        for name, zone in MACHINES.items():
            labels = {
                "kubernetes.io/hostname": name,
                "topology.kubernetes.io/zone": zone,
                "kubernetes.io/arch": "amd64",
            }
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            self.plane.kubectl("create", "-f", "-", stdin=json.dumps(node))
            size = {"cpu": "8", "memory": "16Gi", "pods": "20"}
            self.plane.status(
                "node", name, capacity=size, allocatable=size, conditions=[{"type": "Ready", "status": "True"}]
            )
            # what a new node has until its own controller takes it away
            self.plane.kubectl("taint", "node", name, "node.kubernetes.io/not-ready:NoSchedule-", check=False)
        storage = {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
            "metadata": {"name": CLAIM_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        }  # fmt: skip
        self.plane.kubectl("create", "-f", "-", stdin=json.dumps(storage))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in [self._thread, *self.ending.values()]:
            thread.join(60)
        for pod in list(self.pods.values()):
            pod.remove()

    def _run(self):
        while not self._stop.is_set():
            try:
                self._look()
            except Exception:
                self.problems.append(traceback.format_exc())
            self._stop.wait(0.3)

    def _look(self):
        kinds = "pods,secrets,configmaps,services,persistentvolumeclaims"
        objects = self.plane.get(kinds)
        by_kind = {}
        for each in objects:
            by_kind.setdefault(each["kind"], []).append(each)
        self.secrets = {
            secret["metadata"]["name"]: {key: base64.b64decode(value) for key, value in secret.get("data", {}).items()}
            for secret in by_kind.get("Secret", [])
        }
        self.manifests = {("ConfigMap", each["metadata"]["name"]): each for each in by_kind.get("ConfigMap", [])}
        self.services = by_kind.get("Service", [])
        for claim in by_kind.get("PersistentVolumeClaim", []):
            if claim["status"]["phase"] == "Pending":
                self._provision(claim)
        seen = {pod["metadata"]["uid"]: pod for pod in by_kind.get("Pod", [])}
        self._names(seen.values())
        for uid in set(self.pods) - set(seen):
            self.pods.pop(uid).remove()
        for uid, pod in seen.items():
            self._tend(uid, pod)

    def _provision(self, claim):
        name = claim["metadata"]["name"]
        volume = {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{name}-{claim['metadata']['uid'][:8]}"},
            "spec": {
                "capacity": claim["spec"]["resources"]["requests"], "accessModes": claim["spec"]["accessModes"],
                "storageClassName": claim["spec"]["storageClassName"], "hostPath": {"path": "/nowhere"},
                "claimRef": {"namespace": chart.NAMESPACE, "name": name, "uid": claim["metadata"]["uid"]},
            },
        }  # fmt: skip
        self.plane.kubectl("create", "-f", "-", stdin=json.dumps(volume), check=False)

    def claim(self, pod, name, group):
        """The directory of a claim of the API's, by its uid: a new claim is a new disk."""
        claim = self.plane.get("persistentvolumeclaim", f"{name}-{pod}")
        path = self.directory / "volumes" / claim["metadata"]["uid"]
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, 0, group)
            path.chmod(0o2770)
        return path

    def _names(self, pods):
        lines = ["127.0.0.1 localhost"]
        domain = f"{chart.NAMESPACE}.svc.cluster.local"
        for service in self.services:
            name, spec = service["metadata"]["name"], service["spec"]
            chosen = [
                p for p in pods if (spec.get("selector") or {"": ""}).items() <= p["metadata"].get("labels", {}).items()
            ]
            for pod in chosen:
                run_by = self.pods.get(pod["metadata"]["uid"])
                if run_by is None:
                    continue
                if spec["clusterIP"] == "None":
                    lines.append(f"{run_by.address} {name}.{domain}")
                    if pod["spec"].get("subdomain") == name:
                        lines.append(f"{run_by.address} {pod['spec']['hostname']}.{name}.{domain}")
            if spec["clusterIP"] != "None":
                lines.append(f"{OUTSIDE} {name}.{domain}")
        text = "\n".join(lines) + "\n"
        if self.hosts.read_text() != text:
            self.hosts.write_text(text)

    def _tend(self, uid, pod):
        name, spec = pod["metadata"]["name"], pod["spec"]
        runs = self.pods.get(uid)
        if pod["metadata"].get("deletionTimestamp"):
            if uid not in self.ending:
                self.ending[uid] = threading.Thread(target=self._end, args=(uid, pod), daemon=True)
                self.ending[uid].start()
            return
        if runs is None:
            self._begin(uid, name, spec, pod["status"])
            return
        runs.update_volumes()
        self._tell(uid, name, runs)

    def _begin(self, uid, name, spec, status):
        wanted = {s for v in spec.get("volumes", []) for _, (kind, s, _) in chart.contents(v) if kind == "Secret"}
        # a pod waits for its secrets
        if spec.get("nodeName") and status.get("phase") == "Pending" and wanted <= set(self.secrets):
            volumes = [v for v in spec.get("volumes", []) if "persistentVolumeClaim" not in v]
            self.pods[uid] = RunningPod(self, name, {**spec, "volumes": volumes})
            self.pods[uid].start()

    def _tell(self, uid, name, runs):
        state, phase, ready = runs.look()
        conditions = {"Ready": ready, "ContainersReady": ready, "Initialized": True, "PodScheduled": True}
        status = {
            "phase": phase, "podIP": runs.address, "podIPs": [{"ip": runs.address}], "startTime": runs.since,
            "conditions": [
                {"type": kind, "status": str(truth), "lastTransitionTime": runs.ready_since if kind == "Ready" else runs.since}
                for kind, truth in conditions.items()
            ],
            "containerStatuses": [{
                "name": runs.container["name"], "ready": ready, "started": True, "restartCount": runs.restarts,
                "state": state, "image": runs.container["image"], "imageID": runs.container["image"],
            }],
        }  # fmt: skip
        if self.sent.get(uid) != status:
            patch = json.dumps({"status": status})
            self.plane.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", patch, check=False)
            self.sent[uid] = status

    def _end(self, uid, pod):
        """As a kubelet: what preStop says, then the signal, then the object goes."""
        runs = self.pods.get(uid)
        if runs is not None and runs.process is not None and runs.running:
            (container,) = pod["spec"]["containers"]
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            time.sleep(sleep)
            code = runs.stop()
            if code != 0 and "has been removed from the cluster" not in runs.log_tail():
                self.problems.append(f"{runs.name} ended with {code}:\n{runs.log_tail()}")
        self.plane.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", check=False)
