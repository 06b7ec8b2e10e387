"""A cluster of `conclave serve` nodes on loopback: there, and nowhere else, Conclave needs no certificates."""

import os
import pathlib
import re
import secrets
import subprocess

import requests

from harness.server import Server, binary, free_ports, until

ELECTION_SECONDS_MAX = 20


class Node(Server):
    """One node. It starts without waiting: a first node waits for the others."""

    def __init__(self, cluster, node_id, internal):
        super().__init__(cluster.directory / f"node-{node_id}")
        self.cluster = cluster
        self.node_id = node_id
        self.internal = f"127.0.0.1:{internal}"
        self.config = self.directory / "conclave.toml"

    def write_config(self):
        members = [f'{{ node_id = {n.node_id}, address = "{n.internal}" }}' for n in self.cluster.nodes]
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'cluster_id = "{self.cluster.name}"\n'
            f"node_id = {self.node_id}\n"
            f'data_dir = "{self.data}"\n'
            f'public_url = "{self.cluster.nodes[0].endpoint}"\n'
            f"pool_groups = 1\n"
            f"members = [{', '.join(members)}]\n"
            f"[listen]\n"
            f'public = "{self.authority}"\n'
            f'internal = "{self.internal}"\n'
            f'management = "{self.management.removeprefix("http://")}"\n'
            f'[kek]\nfile = "{self.cluster.kek}"\n'
            f"{self.cluster.settings}\n"
        )

    def launch(self):
        assert self.process is None, "already started"
        with self.log_path.open("ab") as log:
            command = [str(binary()), "serve", "--config", str(self.config)]
            environment = {**os.environ, **self.environment}
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def wait_ready(self):
        until(self._ready_or_gone, ELECTION_SECONDS_MAX, f"node {self.node_id} is ready")

    def start(self):
        self.launch()
        self.wait_ready()
        return self

    def gauge(self, name, group):
        """A number of one of this node's groups; None when the node does not say."""
        try:
            text = self.metrics()
        except requests.RequestException:
            return None
        found = re.search(rf'^conclave_{name}\{{group="{group}"\}} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else None

    def leads(self, group):
        return self.gauge("raft_is_leader", group) == 1

    def term(self, group):
        return self.gauge("raft_term", group)

    def history(self, group):
        """How far a group's state has come, and the checksum over all that was applied; None when not told."""
        try:
            text = self.metrics()
        except requests.RequestException:
            return None
        names = ("raft_last_applied_index", "raft_history")
        found = [re.search(rf'^conclave_{n}\{{group="{group}"\}} (\d+)', text, re.MULTILINE) for n in names]
        return tuple(int(f[1]) for f in found) if all(found) else None


class Cluster:
    """Three nodes by default, the directory (group 0) and one group of pools (group 1)."""

    GROUP = 1

    def __init__(self, directory, name="test", size=3, settings=""):
        """`settings` are added to the nodes' configuration files: tables, in TOML."""
        self.directory = pathlib.Path(directory)
        self.name = name
        self.settings = settings
        self.kek = self.directory / "kek"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kek.write_text(secrets.token_hex(32))
        self.nodes = [Node(self, n, port) for n, port in enumerate(free_ports(size), start=1)]
        for node in self.nodes:
            node.write_config()

    def start(self):
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        return self

    def leader(self, group=GROUP, among=None):
        """The node that leads a group, once one does."""
        nodes = self.nodes if among is None else among

        def found():
            leaders = [n for n in nodes if n.leads(group)]
            return max(leaders, key=lambda n: n.term(group) or 0, default=None)

        return until(found, ELECTION_SECONDS_MAX, f"group {group} has a leader")

    def others(self, *nodes):
        return [n for n in self.nodes if n not in nodes]

    def credentials(self):
        """An account and an access key, made with the command line as an operator would."""
        account = self._admin("account", "create", "--name", "test").strip()
        made = self._admin("credentials", "create", "--account", account, "--user", "test")
        values = dict(line.split("=", 1) for line in made.splitlines() if "=" in line)
        return values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"]

    def _admin(self, *arguments):
        command = [str(binary()), *arguments, "--config", str(self.nodes[0].config)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=os.environ
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def check_histories(self, seconds=20):
        """All nodes come to the same applied entries of every group, and these had the same effect."""

        def same(group):
            seen = [node.history(group) for node in self.nodes]
            if None in seen or len({index for index, _ in seen}) > 1:
                return None
            assert len(set(seen)) == 1, f"the replicas of group {group} differ: {seen}"
            return seen[0]

        for group in (0, self.GROUP):
            until(lambda group=group: same(group), seconds, f"group {group} is at one index on all nodes")

    def kill(self):
        for node in self.nodes:
            node.kill()
