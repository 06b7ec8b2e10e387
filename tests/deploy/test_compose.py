"""The compose file: what it starts are processes here, with the files that prepare.sh makes by a stand-in for docker."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import netns
import pytest
import yaml
from aiosmtpd.controller import Controller
from chart import ROOT
from clients import Pool, check
from harness.cognito import unique
from netns import BINARY, OUTSIDE, Network, run, until
from pods import Pod

COMPOSE = ROOT / "deploy" / "compose"
HAPROXY = os.environ.get("HAPROXY") or shutil.which("haproxy")
NODES = ("node-1", "node-2", "node-3")

DOCKER = """#!/bin/bash
# docker run [OPTIONS] -v HOST:CONTAINER IMAGE ARGUMENTS: the program, with the host's path in place of the container's
set -eu
[ "$1" = run ]
shift
while [ "${1#-}" != "$1" ]; do
    case $1 in
        -v) volume=$2; shift 2 ;;
        --network | --user) shift 2 ;;
        *) shift ;;
    esac
done
shift
exec "$CONCLAVE_BIN" "${@/${volume#*:}/${volume%%:*}}"
"""

pytestmark = [
    pytest.mark.skipif(not netns.possible(), reason="needs CONCLAVE_BIN, root, network namespaces"),
    pytest.mark.timeout(180),
]


def image():
    """What the Dockerfile says of its containers: the user, and the command."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    words = {name: json.loads(value) for name, value in re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)}
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    return int(user), words["ENTRYPOINT"], words["CMD"]


class Project:
    """The services of the compose file, and what they have in common."""

    manifests, secrets = {}, {}

    def __init__(self, directory, network):
        self.directory, self.network = directory, network
        self.hosts = directory / "hosts"
        self.hosts.touch()
        self.here = directory / "compose"
        self.services = yaml.safe_load((self.here / "compose.yaml").read_text())["services"]
        self.pods = {}

    def claim(self, pod, name, group):
        path = self.directory / "volumes" / f"{name}-{pod}"
        path.mkdir(parents=True, exist_ok=True)
        # as the image's directory is
        os.chown(path, group, group)
        return path

    def up(self, name):
        service = self.services[name]
        user, entrypoint, command = image()
        mounts = [volume.split(":") for volume in service["volumes"]]
        container = {
            "name": name,
            "command": entrypoint,
            "args": service.get("command", command),
            "env": [{"name": key, "value": value} for key, value in service["environment"].items()],
            "volumeMounts": [
                {"name": f"v{i}", "mountPath": target, "readOnly": mode == ["ro"]}
                for i, (_, target, *mode) in enumerate(mounts)
            ],
            "securityContext": {
                "readOnlyRootFilesystem": service["read_only"],
                "allowPrivilegeEscalation": service["security_opt"] != ["no-new-privileges:true"],
                "capabilities": {"drop": service["cap_drop"]},
            },
        }
        volumes = [
            {"name": f"v{i}", "hostPath": {"path": str(self.here / source)}}
            for i, (source, *_) in enumerate(mounts)
            if source.startswith(".")
        ]
        spec = {
            "securityContext": {"runAsUser": user, "fsGroup": user},
            "terminationGracePeriodSeconds": int(service["stop_grace_period"].removesuffix("s")),
            "containers": [container],
            "volumes": volumes,
        }
        self.pods[name] = Pod(self, name, spec)
        lines = ["127.0.0.1 localhost", f"{OUTSIDE} mail", *(f"{p.address} {n}" for n, p in self.pods.items())]
        self.hosts.write_text("\n".join(lines) + "\n")
        self.pods[name].start()


class Inbox:
    """The mail server of the file."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  the name is aiosmtpd's
        self.messages.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    directory = tmp_path_factory.mktemp("project")
    for path in (directory, *directory.parents):
        if path != pathlib.Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    shutil.copytree(COMPOSE, directory / "compose", ignore=shutil.ignore_patterns("run"))
    tools = directory / "bin"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "CONCLAVE_BIN": str(pathlib.Path(BINARY).resolve())}
    for expected in ("made; now: docker compose up", "run/ is there already"):
        done = subprocess.run([directory / "compose" / "prepare.sh"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and expected in done.stdout, done.stdout + done.stderr
    assert (directory / "compose" / "run").stat().st_mode & 0o077 == 0, "nobody else comes at the keys"
    with Network() as network:
        project = Project(directory, network)
        try:
            for name in NODES:
                project.up(name)
            for pod in project.pods.values():
                until(lambda pod=pod: (pod.get("/readyz") or (0, ""))[0] == 200, 60, pod.log_tail)
            yield project
        finally:
            for pod in project.pods.values():
                pod.remove()


def account(project):
    """As the first lines of the file say."""
    node = project.pods["node-1"]
    made = node.exec("conclave", "account", "create", "--name", "main").stdout
    return made, node.exec("conclave", "credentials", "create", "--account", made.strip(), "--user", "admin").stdout


def test_three_nodes_are_a_cluster_and_send_mail(project):
    status = ["conclave", "status"]
    until(lambda: project.pods["node-1"].exec(*status, check=False).returncode == 0, 30, "all is well")
    inbox = Inbox()
    mail = Controller(inbox, hostname=OUTSIDE, port=1025)
    mail.start()
    try:
        pool = Pool([f"http://{project.pods[name].address}:9229" for name in NODES], *account(project))
        for number in (1, 2, 3):
            address = f"{unique('user')}@example.com"
            pool.client(number).admin_create_user(
                UserPoolId=pool.id, Username=address, UserAttributes=[{"Name": "email", "Value": address}],
                DesiredDeliveryMediums=["EMAIL"],
            )  # fmt: skip
            assert [to for to, _ in inbox.messages][-1] == [address]
    finally:
        mail.stop()


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")
def test_the_load_balancer_hides_a_restart(project, capsys):
    service = project.services["balancer"]
    (volume,) = service["volumes"]
    config = project.here / volume.split(":")[0]
    namespace, address = project.network.add()
    # names are those of the project
    script = f'mount --bind "{project.hosts}" /etc/hosts; exec "$@"'
    command = ["ip", "netns", "exec", namespace, "unshare", "--mount", "--propagation", "private", "--",
               "sh", "-ec", script, "sh", HAPROXY, "-db", "-f", config]  # fmt: skip
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            endpoint = f"http://{address}:9229"
            until(lambda: run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", endpoint, check=False).stdout
                  not in ("000", "503"), 10, lambda: process.terminate() or process.stdout.read().decode())  # fmt: skip
            pool = Pool([endpoint], *account(project))
            with pool.load() as load:
                until(lambda: load.acks_since(load.started) > 20, 30, "clients are served")
                for name in NODES:
                    pod = project.pods[name]
                    assert pod.stop() == 0
                    pod.start()
                    until(lambda pod=pod: (pod.get("/readyz") or (0, ""))[0] == 200, 60, pod.log_tail)
            check(load, capsys, "three nodes restarted behind the load balancer")
            # gRPC: HTTP/2 from end to end, without an upgrade
            h2 = run(
                "curl", "-s", "--http2-prior-knowledge", "-w", "%{http_version}", "-o", "/dev/null", endpoint
            ).stdout
            assert h2 == "2"
        finally:
            process.terminate()


def test_the_file_publishes_nothing_to_other_machines():
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
    for name in NODES:
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"]
        assert (name, services[name]["volumes"][1]) == (name, f"data-{name[-1]}:/data")
    mounted = [v.split(":")[0] for s in services.values() for v in s.get("volumes", []) if v.startswith(".")]
    missing = [path for path in mounted if not path.startswith("./run/") and not (COMPOSE / path).exists()]
    assert not missing, missing
