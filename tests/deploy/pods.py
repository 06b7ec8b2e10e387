"""Runs what is rendered as local processes, as a kubelet would.

Each pod has a network namespace with an address of its own and a root directory with nothing but its image, its volumes
and the names of the cluster, and runs as the user that the manifest says, with a read-only root. Commands, environment,
files, ports and addresses are those of the manifests, untouched.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import chart
from netns import BINARY, ENTER, LINKS, OUTSIDE, WITH_SHELL, libraries, run, until

ENTRYPOINT = "/usr/local/bin/conclave"
# which distroless images have
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
READY_SECONDS_MAX = 90
COMMAND_SECONDS_MAX = 120


class Volume:
    """A directory that is replaced as a kubelet does it: the files behind a link that is moved in one step."""

    def __init__(self, directory, owner):
        self.directory, self.owner, self.version = directory, owner, 0
        directory.mkdir(parents=True)

    def write(self, contents, mode):
        """Whether the contents, bytes by name, are other ones than before."""
        current = self.directory / "..data"
        if current.exists() and {path.name: path.read_bytes() for path in current.iterdir()} == contents:
            return False
        self.version += 1
        old = current.resolve() if current.exists() else None
        new = self.directory / f"..{self.version}"
        new.mkdir()
        for name, content in contents.items():
            path = new / name
            path.write_bytes(content)
            os.chown(path, 0, self.owner)
            path.chmod(mode)
            link = self.directory / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        (self.directory / "..next").symlink_to(new.name)
        (self.directory / "..next").rename(current)
        if old is not None:
            shutil.rmtree(old)
        return True


class Pod:
    """A pod with one container, and others that end before it starts."""

    def __init__(self, cluster, name, spec):
        self.cluster, self.name, self.spec = cluster, name, spec
        (self.container,) = spec["containers"]
        self.directory = cluster.directory / "pods" / name
        self.root = self.directory / "root"
        self.log_path = cluster.directory / "logs" / f"{name}.log"
        self.log_path.parent.mkdir(exist_ok=True)
        self.user = spec["securityContext"]["runAsUser"]
        self.group = spec["securityContext"]["fsGroup"]
        self.process = None
        self.namespace, self.address = cluster.network.add()
        self.volumes = {}
        self.update_volumes()
        self.mounts = self.make_root(self.container, self.root)

    @property
    def environment(self):
        return self.environment_of(self.container)

    def environment_of(self, container):
        found = {}
        for source in container.get("envFrom", []):
            secret = self.cluster.secrets[source["secretRef"]["name"]]
            found.update({name: value.decode() for name, value in secret.items()})
        found.update(chart.environment(container, self.name))
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **found}

    @staticmethod
    def command_of(container):
        command = container.get("command") or [ENTRYPOINT]
        return [*command, *container.get("args", [])]

    def contents(self, volume):
        """What is in a volume of secrets or a config map, as bytes by name; and their mode."""
        if "configMap" in volume:
            data = self.cluster.manifests["ConfigMap", volume["configMap"]["name"]]["data"]
            return {name: text.encode() for name, text in data.items()}, 0o644
        found = {}
        for path, (_, name, key) in chart.contents(volume):
            secret = self.cluster.secrets[name]
            found.update(secret if key == "*" else {path: secret[key]})
        return found, (volume.get("secret") or volume["projected"])["defaultMode"]

    def update_volumes(self):
        """As a kubelet does it from time to time. Whether something has changed."""
        changed = False
        for volume in self.spec.get("volumes", []):
            if "emptyDir" in volume or "hostPath" in volume:
                continue
            if volume["name"] not in self.volumes:
                self.volumes[volume["name"]] = Volume(self.directory / "volumes" / volume["name"], self.group)
            changed |= self.volumes[volume["name"]].write(*self.contents(volume))
        return changed

    def make_root(self, container, root):
        """What a container sees. The mounts that are to be made in it."""
        for path in ["usr/local/bin", "etc/conclave", "proc", "dev"]:
            (root / path).mkdir(parents=True)
        for path in ("etc/hosts", ENTRYPOINT[1:]):
            (root / path).touch()
        mounts = [("/proc", "proc", "ro"), ("/dev", "dev", "rw"), (BINARY, ENTRYPOINT[1:], "ro")]
        mounts += [(self.cluster.hosts, "etc/hosts", "ro")]
        if self.command_of(container)[0] == ENTRYPOINT:
            for file in (*libraries(), AUTHORITIES):
                (root / file.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, root / file.relative_to("/"))
        else:
            for path in WITH_SHELL:
                (root / path).mkdir(parents=True)
                mounts.append((f"/{path}", path, "ro"))
            for name, target in LINKS.items():
                (root / name).symlink_to(target)
        host_paths = {v["name"]: v["hostPath"]["path"] for v in self.spec.get("volumes", []) if "hostPath" in v}
        for mount in container.get("volumeMounts", []):
            where = mount["mountPath"][1:]
            mode = "ro" if mount.get("readOnly") else "rw"
            sub = mount.get("subPath") or mount.get("subPathExpr", "").replace("$(POD_NAME)", self.name)
            if mount["name"] in self.volumes:
                source = self.volumes[mount["name"]].directory / sub
            elif mount["name"] in host_paths:
                source = host_paths[mount["name"]]
            else:
                source = self.cluster.claim(self.name, mount["name"], self.group)
            target = root / where
            if sub:
                # a kubelet would make a directory, and the pod would be broken for good
                assert source.exists(), f"{source.name} is not in the secret"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            else:
                target.mkdir(parents=True, exist_ok=True)
            mounts.append((source, where, mode))
        return mounts

    def start(self):
        """A container in the pod: a file of a volume is what it is now. Those before it have ended well."""
        assert self.process is None
        for first in self.spec.get("initContainers", []):
            root = self.directory / f"root-{first['name']}"
            code = self.launch(first, root, self.make_root(first, root)).wait(COMMAND_SECONDS_MAX)
            assert code == 0, f"{first['name']} of {self.name} ended with {code}:\n{self.log_tail()}"
            shutil.rmtree(root)
        self.process = self.launch(self.container, self.root, self.mounts)
        return self

    def launch(self, container, root, mounts):
        script = [f'mount --bind "{root}" "{root}"']
        for source, where, mode in mounts:
            source = pathlib.Path(source).resolve()
            script.append(f'mount --rbind "{source}" "{root}/{where}"')
            if mode == "ro":
                script.append(f'mount -o remount,bind,ro "{root}/{where}"')
        security = container["securityContext"]
        if security["readOnlyRootFilesystem"]:
            script.append(f'mount -o remount,bind,ro "{root}"')
        assert security["allowPrivilegeEscalation"] is False and security["capabilities"] == {"drop": ["ALL"]}
        # the process is the one that is started here, from the first program to the last
        script.append('exec "$@"')
        enter = self.enter(*self.command_of(container), root=root)
        command = ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--propagation", "private", "--",
                   "sh", "-ec", "\n".join(script), "sh", *enter]  # fmt: skip
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment_of(container)
            )

    def enter(self, *command, root=None):
        root = root or self.root
        return [sys.executable, str(ENTER), str(root), str(self.user), str(self.group), *map(str, command)]

    def exec(self, *command, check=True):
        """As `kubectl exec`: a command in the pod's container."""
        into = ["nsenter", "--target", self.process.pid, "--mount", "--net", "--"]
        return run(*into, *self.enter(*command), env=self.environment, check=check, timeout=COMMAND_SECONDS_MAX)

    def reads(self, path):
        """What the container reads in a file."""
        return pathlib.Path(f"/proc/{self.process.pid}/root{path}").read_text()

    def get(self, path, timeout=2):
        """The status and the body of the management port, as a probe asks it; None when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:9000{path}", timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return None

    def probe(self, name):
        """Whether a probe of the container succeeds."""
        probe = self.container[name]["httpGet"]
        assert (probe["port"], 9000) in [(port["name"], port["containerPort"]) for port in self.container["ports"]]
        return (self.get(probe["path"]) or (0, ""))[0] == 200

    @property
    def ready(self):
        return self.running and self.probe("readinessProbe")

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_ready(self):
        def ready():
            assert self.running, f"{self.name} has ended:\n{self.log_tail()}"
            return self.ready

        until(ready, READY_SECONDS_MAX, lambda: f"{self.name} is ready: {self.get('/readyz')}\n{self.log_tail()}")
        return self

    def wait_end(self, seconds=COMMAND_SECONDS_MAX):
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None

    def stop(self):
        """As a kubelet does it, without the time that load balancers get to hear of it. The exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_end(self.spec["terminationGracePeriodSeconds"])

    def remove(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.cluster.network.remove(self.namespace)
        shutil.rmtree(self.directory)

    def log_tail(self):
        return self.log_path.read_text(errors="replace")[-6_000:] if self.log_path.exists() else ""


class Kubernetes:
    """As much of a cluster as a release needs: secrets, claims, the stateful set, the deployment, the service."""

    def __init__(self, directory, network, secrets):
        self.directory, self.network, self.secrets = directory, network, secrets
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.pods = {}
        self.deployed = 0
        self.service = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pod in list(self.pods.values()):
            pod.remove()
        if self.service is not None:
            self.service.close()

    def upgrade(self, values):
        """Renders, and brings nodes and gateways to what is rendered, as their controllers do it."""
        self.values = values
        self.manifests = chart.render(values)
        self.node_set = chart.one(self.manifests, "StatefulSet")
        for pod in self.pods.values():
            pod.update_volumes()
        wanted = chart.pods(self.node_set)
        for name in [pod.name for pod in self.nodes if pod.name not in wanted][::-1]:
            # a node that was removed from the cluster has ended, or will in a moment
            pod = self.pods.pop(name)
            assert pod.stop() == 0 or "has been removed from the cluster" in pod.log_tail(), pod.log_tail()
            pod.remove()
        # all at once: podManagementPolicy is Parallel
        for name in wanted:
            if name not in self.pods:
                self.start_node(name)
        self.update_names()
        if self.service is None:
            self.service = Service(self)
        for pod in self.nodes[::-1]:
            if self.revision(pod.spec) != self.revision(chart.spec(self.node_set)):
                self.restart_node(pod.name)
        self.upgrade_gateways()
        return self

    @staticmethod
    def revision(spec):
        return json.dumps(spec, sort_keys=True)

    def start_node(self, name):
        self.pods[name] = Pod(self, name, chart.spec(self.node_set)).start()
        return self.pods[name]

    def restart_node(self, name):
        """The pod ends and another one of its name begins."""
        assert self.pods[name].stop() == 0, self.pods[name].log_tail()
        self.pods.pop(name).remove()
        pod = self.start_node(name)
        self.update_names()
        return pod.wait_ready()

    def lose_node(self, name):
        """A machine and its disk are gone."""
        self.pods.pop(name).remove()
        self.update_names()
        shutil.rmtree(self.directory / "claims" / f"data-{name}")

    def upgrade_gateways(self):
        """A new pod is ready before an old one goes: maxSurge is 1, maxUnavailable 0."""
        for deployment in chart.all_of(self.manifests, "Deployment"):
            assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
            config = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            old = [pod for pod in self.gateways if pod.revision != config]
            scaler = chart.all_of(self.manifests, "HorizontalPodAutoscaler")
            count = scaler[0]["spec"]["minReplicas"] if scaler else deployment["spec"]["replicas"]
            while len(self.gateways) - len(old) < count:
                self.deployed += 1
                name = f"{deployment['metadata']['name']}-{config[:10]}-{self.deployed:05}"
                self.pods[name] = Pod(self, name, chart.spec(deployment)).start()
                self.pods[name].revision = config
                self.pods[name].wait_ready()
                if old:
                    self.stop_gateway(old.pop().name)
            for pod in old:
                self.stop_gateway(pod.name)

    def stop_gateway(self, name):
        pod = self.pods.pop(name)
        # what preStop waits for: the service no longer sends anybody there
        self.service.leave(pod)
        assert pod.stop() == 0, pod.log_tail()
        pod.remove()

    def run_to_end(self, name, spec):
        """A pod of a job or a test. Its exit code and what it printed."""
        pod = Pod(self, name, spec)
        before = pod.log_path.stat().st_size if pod.log_path.exists() else 0
        try:
            code = pod.start().wait_end()
            return code, pod.log_path.read_text()[before:]
        finally:
            pod.remove()

    def admin(self, *command):
        """A command of administration, as the job of the README runs it. What it printed."""
        values = chart.changed(self.values, admin__command=[str(word) for word in command])
        code, printed = self.run_to_end("admin", chart.spec(chart.one(chart.render(values), "Job")))
        assert code == 0, f"{command} ended with {code}:\n{printed}"
        return printed

    def test(self):
        """As `helm test`: the exit code and the output of each test."""
        tests = chart.all_of(self.manifests, "Pod")
        return {test["metadata"]["name"]: self.run_to_end(test["metadata"]["name"], test["spec"]) for test in tests}

    def update_names(self):
        """What the headless service and the service are called."""
        set_name, domain = self.node_set["metadata"]["name"], f"{chart.NAMESPACE}.svc.cluster.local"
        lines = ["127.0.0.1 localhost", f"{OUTSIDE} {set_name}.{domain}"]
        for pod in self.nodes:
            lines.append(f"{pod.address} {pod.name}.{self.node_set['spec']['serviceName']}.{domain}")
            for service in chart.all_of(self.manifests, "Service"):
                if service["spec"]["selector"].get("statefulset.kubernetes.io/pod-name") == pod.name:
                    lines.append(f"{pod.address} {service['metadata']['name']}.{domain}")
        # in place: the file is mounted
        self.hosts.write_text("\n".join(lines) + "\n")

    def claim(self, pod, name, group):
        path = self.directory / "claims" / f"{name}-{pod}"
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, 0, group)
            path.chmod(0o2770)
        return path

    @property
    def nodes(self):
        """In the order of their ordinals."""
        nodes = [pod for pod in self.pods.values() if pod.name.rpartition("-")[0] == self.node_set["metadata"]["name"]]
        return sorted(nodes, key=lambda pod: int(pod.name.rpartition("-")[2]))

    @property
    def gateways(self):
        return [pod for pod in self.pods.values() if pod not in self.nodes]

    @property
    def servers(self):
        return self.gateways or self.nodes


class Service:
    """Sends each new connection to the next ready pod that serves the API, as kube-proxy does. Open ones stay."""

    def __init__(self, cluster):
        self.cluster = cluster
        port = cluster.manifests["Service", cluster.node_set["metadata"]["name"]]["spec"]["ports"][0]["port"]
        self.endpoint = f"http://{OUTSIDE}:{port}"
        self._left = set()
        self._next = 0
        self._listener = socket.create_server((OUTSIDE, port), backlog=128)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self):
        # wakes who waits for connections: until then the port is not free
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def leave(self, pod):
        self._left.add(pod.name)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError):
            ready = [pod for pod in self.cluster.servers if pod.name not in self._left and pod.ready]
            if not ready:
                return
            self._next += 1
            server = socket.create_connection((ready[self._next % len(ready)].address, 9229), timeout=5)
            server.settimeout(None)
            with server:
                back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
                back.start()
                self._copy(client, server)
                back.join()

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
