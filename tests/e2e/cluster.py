"""Three `conclave serve` processes on loopback, with mutual TLS between them, and clients that never pause. Every test of
several nodes uses these; `harness.cluster` has a plainer form of them.

    with Cluster(directory) as cluster:
        cluster.node(2).kill()

Made as an operator would: `conclave pki`, one configuration file for each node, `conclave account` and `conclave
credentials`. Nodes are started from the main thread only: they end with the thread that started them.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import threading
import time

import boto3
import botocore.config
import botocore.exceptions
import requests

from harness.cognito import ALL_FLOWS, PASSWORD, unique
from harness.server import READY_SECONDS_MAX, Server, binary, until

NODES = (1, 2, 3)
POOL_GROUPS = 3
CLUSTER_ID = "e2e"
COMMAND_SECONDS_MAX = 30
REGION = "us-east-1"

# No answer, or half of one: nobody knows whether it was done.
NO_ANSWER = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)


def fixed_ports(count):
    """Free ports that no outgoing connection is given: a node that is down must find its own again."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = []
    # where outgoing connections may have any port, there is nothing better than chance
    for port in random.sample(range(10_000, low if low > 12_000 else 60_000), 1_000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def conclave(*arguments, seconds=COMMAND_SECONDS_MAX):
    """Runs a command to its end. Returns the process, with `stdout` and `stderr` as text."""
    return subprocess.run(
        [binary(), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def must(done):
    """What a command printed; it has to have succeeded."""
    assert done.returncode == 0, f"{done.args[1:]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def make_authority(directory, cluster_id=CLUSTER_ID):
    must(conclave("pki", "init", "--dir", directory, "--cluster-id", cluster_id))


def issue(directory, node_id, name, cluster_id=CLUSTER_ID, role=None):
    """A certificate of the authority in `directory`, by default of a gateway when `node_id` is 0.

    Returns the paths of the authority, the certificate and its key.
    """
    arguments = ["--cluster-id", cluster_id, "--node-id", node_id, "--name", name]
    if role is not None:
        arguments += ["--role", role]
    if role != "admin":
        arguments += ["--host", "127.0.0.1"]
    must(conclave("pki", "issue", "--dir", directory, *arguments))
    return {
        "ca": directory / "ca.pem",
        "certificate": directory / f"{name}.pem",
        "key": directory / f"{name}-key.pem",
    }


class Node(Server):
    """One node: its configuration, its data, its process."""

    def __init__(
        self,
        directory,
        number,
        ports,
        members,
        tls,
        kek,
        cluster_id=CLUSTER_ID,
        settings="",
        join=False,
        roles=None,
        pool_groups=POOL_GROUPS,
        tables="",
    ):
        """`settings` are lines of TOML, beside the others that belong to no table, and `tables` those that come after
        them; with `join`, the node is added to the cluster of `members`. `roles` are both where they are not given.
        Without `tls` there are no certificates, as is allowed on loopback."""
        super().__init__(directory)
        self.settings = settings
        self.tables = tables
        self.pool_groups = pool_groups
        self.join = join
        self.roles = roles
        self.number = number
        public, internal, management = ports
        self.authority = f"127.0.0.1:{public}"
        self.endpoint = f"http://{self.authority}"
        self.internal = ("127.0.0.1", internal)
        self.management = f"http://127.0.0.1:{management}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config_path = self.directory / "conclave.toml"
        self.members = members
        self.tls = tls
        self.kek = kek
        self.cluster_id = cluster_id
        self.write_config()

    def write_config(self):
        # a JSON string is a TOML string too
        quoted = lambda value: json.dumps(str(value))  # noqa: E731
        host = "127.0.0.1"
        if self.join:
            others = ", ".join(f'"{host}:{port}"' for port in self.members.values())
            members = f'address = "{host}:{self.internal[1]}"\njoin = [{others}]'
        else:
            members = ", ".join(f'{{ node_id = {n}, address = "{host}:{port}" }}' for n, port in self.members.items())
            members = f"members = [{members}]"
        roles = f"roles = {json.dumps(self.roles)}\n" if self.roles else ""
        data = f"node_id = {self.number}\ndata_dir = {quoted(self.data)}\n"
        if self.roles == ["gateway"]:
            # it has neither a number nor data, and nobody reaches it
            data, members = "", members.partition("\n")[2]
        self.config_path.write_text(
            f"""cluster_id = {quoted(self.cluster_id)}
{roles}{data}pool_groups = {self.pool_groups}
public_url = "http://login.test"
{members}
{self.settings}

[listen]
public = {quoted(self.authority)}
internal = "{host}:{self.internal[1]}"
management = {quoted(self.management.removeprefix("http://"))}

[kek]
file = {quoted(self.kek)}
{self._certificates()}
{self.tables}
"""
        )

    def _certificates(self):
        if self.tls is None:
            return ""
        return "\n[internal_tls]\n" + "".join(f"{name} = {json.dumps(str(path))}\n" for name, path in self.tls.items())

    @property
    def is_gateway(self):
        return self.roles is None or "gateway" in self.roles

    @property
    def groups(self):
        """The groups that the node holds."""
        return set(self.readings("raft_term"))

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def spawn(self):
        """Starts the process and does not wait."""
        assert self.process is None, "already started"
        command = [str(binary()), "serve", "--config", str(self.config_path)]
        if shutil.which("setpriv"):
            # replaces itself by the node, which the kernel ends when the tests are gone
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **self.environment},
            )
        return self

    def wait_ready(self, seconds=READY_SECONDS_MAX):
        until(self._ready_or_gone, seconds, f"node {self.number} is ready")
        return self

    def start(self):
        self.spawn()
        try:
            return self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_end(self, seconds):
        """Waits for the process to end by itself. Returns the exit code; None when it still runs, and is killed."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self.process = None

    def readings(self, name):
        """A metric of every group of this node."""
        pattern = rf'^conclave_{name}\{{group="(\d+)"\}} (\d+)'
        return {int(group): int(value) for group, value in re.findall(pattern, self.metrics(), re.MULTILINE)}

    def gauge(self, name, group):
        """A number of one of this node's groups; None when the node does not say."""
        try:
            return self.readings(name).get(group)
        except requests.RequestException:
            return None

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
    """Nodes of one cluster, an account in it, and boto3 clients of each gateway."""

    def __init__(
        self,
        directory,
        settings="",
        public_authority=None,
        numbers=NODES,
        pool_groups=POOL_GROUPS,
        tables="",
        secure=True,
        cluster_id=CLUSTER_ID,
    ):
        """`settings` and `tables` go into every node's file; with `public_authority`, they put TLS on the public ports.
        A cluster that is not `secure` has no certificates between its nodes."""
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.public_authority = public_authority
        self.secure = secure
        self.pki = self.directory / "pki"
        self.cluster_id = cluster_id
        if secure:
            make_authority(self.pki, cluster_id)
        self.kek = self.directory / "kek"
        self.kek.write_text(secrets.token_hex(32))
        self.settings = settings
        self.tables = tables
        self.pool_groups = pool_groups
        ports = fixed_ports(3 * len(numbers))
        internal = dict(zip(numbers, ports[1::3], strict=True))
        self.nodes = [
            Node(
                self.directory / f"node-{n}",
                n,
                ports[3 * i : 3 * i + 3],
                internal,
                self._issue(n, n),
                self.kek,
                cluster_id,
                settings=settings,
                pool_groups=pool_groups,
                tables=tables,
            )
            for i, n in enumerate(numbers)
        ]
        if public_authority is not None:
            for node in self.nodes:
                node.endpoint = f"https://{node.authority}"
        self._clients = {}

    def _issue(self, number, node_id):
        return issue(self.pki, node_id, f"node-{number}", self.cluster_id) if self.secure else None

    def __enter__(self):
        try:
            self.start()
            self.account = self.create_account("e2e")
            self.credentials = self.create_credentials(self.account, "admin")
        except BaseException:
            print(self.logs({}))
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """Ends every process, one after the other."""
        for node in self.nodes:
            node.kill()

    def node(self, number):
        return self.nodes[number - 1]

    def add_node(self, seeds=None, roles=None, wait=True):
        """Starts one more node, which joins the others."""
        number = len(self.nodes) + 1
        members = {node.number: node.internal[1] for node in seeds or self.nodes}
        certificate = 0 if roles == ["gateway"] else number
        directory, tls = self.directory / f"node-{number}", self._issue(number, certificate)
        node = Node(
            directory,
            number,
            fixed_ports(3),
            members,
            tls,
            self.kek,
            self.cluster_id,
            settings=self.settings,
            join=True,
            roles=roles,
            pool_groups=self.pool_groups,
            tables=self.tables,
        )
        self.nodes.append(node)
        return node.start() if wait else node.spawn()

    def start(self):
        """Starts what is not running, all at once, and waits until every node is ready."""
        for node in self.nodes:
            if not node.running:
                node.kill()
                node.spawn()
        for node in self.nodes:
            node.wait_ready()
        return self

    def kill_all(self):
        """SIGKILL to every process before any of them is waited for."""
        for node in self.nodes:
            node.process.kill()
        for node in self.nodes:
            node.kill()

    # administration

    def command(self, *arguments, via=1):
        return conclave(*arguments[:2], "--config", self.node(via).config_path, *arguments[2:])

    def create_account(self, name):
        return must(self.command("account", "create", "--name", name))

    def create_credentials(self, account, user, policy=None):
        """An access key, as a pair."""
        more = []
        if policy is not None:
            path = self.directory / unique("policy")
            path.write_text(json.dumps(policy))
            more = ["--policy", path]
        printed = must(self.command("credentials", "create", "--account", account, "--user", user, *more))
        lines = dict(line.split("=", 1) for line in printed.splitlines())
        return lines["AWS_ACCESS_KEY_ID"], lines["AWS_SECRET_ACCESS_KEY"]

    def make_credentials(self):
        """An account of its own, and an access key in it."""
        return self.create_credentials(self.create_account(unique("account")), "test")

    def status(self):
        """What `conclave status` tells; it is settled when no group and no leader is about to be moved."""
        if not (self.pki / "admin.pem").exists():
            issue(self.pki, 0, "admin", self.cluster_id, role="admin")
        done = conclave("status", "--json", "--config", self.node(1).config_path)
        return json.loads(done.stdout) if done.stdout else {"healthy": False, "settled": False}

    def client(self, number, credentials=None):
        """boto3 against the gateway of a node; nothing is tried a second time. Shared by threads."""
        credentials = credentials or self.credentials
        key = (number, credentials)
        if key not in self._clients:
            config = botocore.config.Config(
                retries={"total_max_attempts": 1},
                parameter_validation=False,
                connect_timeout=2,
                read_timeout=15,
                max_pool_connections=50,
            )
            self._clients[key] = boto3.client(
                "cognito-idp",
                endpoint_url=self.node(number).endpoint,
                region_name=REGION,
                aws_access_key_id=credentials[0],
                aws_secret_access_key=credentials[1],
                config=config,
                verify=str(self.public_authority) if self.public_authority else None,
            )
        return self._clients[key]

    def clients(self, credentials=None):
        return [self.client(node.number, credentials) for node in self.nodes if node.is_gateway]

    # groups

    def leaders(self, group, among=None):
        """The nodes that say that they lead a group."""
        return [n for n in (self.nodes if among is None else among) if n.running and n.leads(group)]

    def leader(self, group=1, among=None, seconds=20):
        """The node that leads a group, once exactly one says so."""

        def only_one():
            leaders = self.leaders(group, among)
            return leaders[0] if len(leaders) == 1 else None

        return until(only_one, seconds, f"group {group} has one leader")

    def others(self, *nodes):
        return [n for n in self.nodes if n not in nodes]

    def check_histories(self, seconds=20):
        """All nodes come to the same applied entries of every group, and these had the same effect."""

        def same(group):
            seen = [node.history(group) for node in self.nodes]
            if None in seen or len({index for index, _ in seen}) > 1:
                return None
            assert len(set(seen)) == 1, f"the replicas of group {group} differ: {seen}"
            return seen[0]

        for group in range(self.pool_groups + 1):
            until(lambda group=group: same(group), seconds, f"group {group} is at one index on all nodes")

    def _commits(self):
        total = collections.Counter()
        for node in self.nodes:
            total.update(node.readings("store_commits_total"))
        return total

    def group_of(self, pool_id):
        """The group in which a pool lives: the one whose commits grow when users are made in it."""
        before = self._commits()
        for i in range(5):
            self.client(1).admin_create_user(UserPoolId=pool_id, Username=f"probe-{i}", MessageAction="SUPPRESS")
        grown = self._commits() - before
        grown.pop(0, None)
        group, commits = grown.most_common(1)[0]
        assert commits >= 5, grown
        for i in range(5):
            self.client(1).admin_delete_user(UserPoolId=pool_id, Username=f"probe-{i}")
        return group

    def log_sizes(self):
        return {n.number: n.log_path.stat().st_size if n.log_path.exists() else 0 for n in self.nodes}

    def logs(self, sizes):
        """What the nodes logged since `log_sizes()`, the end of it."""
        return "\n".join(f"--- log of node {n.number}\n{n.log_tail(sizes.get(n.number, 0))}" for n in self.nodes)


class ClusterPool:
    """A pool, its app client, and the group that it lives in."""

    def __init__(self, cluster):
        self.cluster = cluster
        client = cluster.client(1)
        self.id = client.create_user_pool(PoolName=unique("pool"))["UserPool"]["Id"]
        self.app_id = self.make_app()
        self.group = cluster.group_of(self.id)

    def make_app(self, via=1):
        answer = self.cluster.client(via).create_user_pool_client(
            UserPoolId=self.id, ClientName=unique("client"), ExplicitAuthFlows=ALL_FLOWS
        )
        return answer["UserPoolClient"]["ClientId"]

    def make_user(self, username=None, via=1):
        username = username or unique("user")
        client = self.cluster.client(via)
        client.admin_create_user(UserPoolId=self.id, Username=username, MessageAction="SUPPRESS")
        client.admin_set_user_password(UserPoolId=self.id, Username=username, Password=PASSWORD, Permanent=True)
        return username

    def sign_in(self, username, via=1, app_id=None):
        return self.cluster.client(via).initiate_auth(
            ClientId=app_id or self.app_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD},
        )["AuthenticationResult"]

    def names(self, via=1):
        """The names that ListUsers shows, as often as it shows them."""
        pages = self.cluster.client(via).get_paginator("list_users").paginate(UserPoolId=self.id)
        return [u["Username"] for page in pages for u in page["Users"]]


def error_name(error):
    """The exception's name; for a request without an answer, that of the Python exception."""
    if isinstance(error, botocore.exceptions.ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__


def may_be_done(error):
    """Whether the request has possibly been carried out, though it failed."""
    if isinstance(error, botocore.exceptions.ClientError):
        return error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return not isinstance(error, botocore.exceptions.EndpointConnectionError)


class Failed(Exception):
    """A request that has failed for good, after the one repetition."""


class Load:
    """Threads that sign users up and in without pause, through all gateways.

    After an answer of 5xx or none at all a request is sent once more, to the next gateway. What then fails is
    *unknown*, never "did not happen".
    """

    def __init__(self, pool, threads=6, through=None):
        """`through` are the numbers of the gateways that are asked; all of them where it is not given."""
        self.pool = pool
        self.through = through or [node.number for node in pool.cluster.nodes if node.is_gateway]
        self.clients = [pool.cluster.client(number) for number in self.through]
        self.attempted = set()
        self.created = set()  # the sign-up is acknowledged
        self.usable = set()  # and so is what lets the user sign in
        self.acks = []  # when, by the monotonic clock
        self.latencies = []
        self.repeated = collections.Counter()
        self.failures = []  # (when, operation, error, how long it took)
        self.wrong = []  # definite answers that must not be
        self._stop = threading.Event()
        self._executor = concurrent.futures.ThreadPoolExecutor(threads)
        self._threads = threads
        self._prefix = unique("load")

    def __enter__(self):
        self.started = time.monotonic()
        self._workers = [self._executor.submit(self._work, n) for n in range(self._threads)]
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._executor.shutdown(wait=True)
        self.ended = time.monotonic()
        for worker in self._workers:
            worker.result()

    def _work(self, number):
        chooser = random.Random(number)
        mine = []
        for i in range(1_000_000):
            if self._stop.is_set():
                return
            try:
                mine.append(self._sign_up(f"{self._prefix}-{number}-{i}", i % 2 == 0))
                self._sign_in(mine[-1])
                self._sign_in(chooser.choice(mine))
            except Failed:
                self._stop.wait(0.05)

    def _sign_up(self, username, by_admin):
        self.attempted.add(username)
        pool = {"UserPoolId": self.pool.id, "Username": username}
        if by_admin:
            self._call("admin_create_user", "UsernameExistsException", MessageAction="SUPPRESS", **pool)
            self.created.add(username)
            self._call("admin_set_user_password", None, Password=PASSWORD, Permanent=True, **pool)
        else:
            client = {"ClientId": self.pool.app_id, "Username": username, "Password": PASSWORD}
            self._call("sign_up", "UsernameExistsException", **client)
            self.created.add(username)
            self._call("admin_confirm_sign_up", "NotAuthorizedException", **pool)
        self.usable.add(username)
        return username

    def _sign_in(self, username):
        answer = self._call(
            "initiate_auth",
            None,
            ClientId=self.pool.app_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD},
        )
        if "AuthenticationResult" not in answer:
            self.wrong.append((username, answer))

    def _call(self, operation, done_before, **request):
        """`done_before` is what a repetition answers when the first attempt was carried out."""
        start = time.monotonic()
        first = random.randrange(len(self.clients))
        for attempt in range(2):
            client = self.clients[(first + attempt) % len(self.clients)]
            try:
                answer = getattr(client, operation)(**request)
            except (*NO_ANSWER, botocore.exceptions.ClientError) as error:
                if attempt == 1 and error_name(error) == done_before:
                    answer = {}
                elif isinstance(error, botocore.exceptions.ClientError) and not may_be_done(error):
                    self.wrong.append((operation, request["Username"] if "Username" in request else "", str(error)))
                    raise Failed from error
                elif attempt == 1:
                    now = time.monotonic()
                    self.failures.append((now, operation, str(error), now - start))
                    raise Failed from error
                else:
                    self.repeated[error_name(error)] += 1
                    continue
            now = time.monotonic()
            self.acks.append(now)
            self.latencies.append(now - start)
            return answer

    def acks_since(self, when):
        return sum(1 for ack in self.acks[-1_000:] if ack > when)

    def longest_gap(self, start, end):
        """The longest time between two successive acknowledgements, of all clients, that ended in the interval."""
        acks = sorted([self.started, *self.acks, self.ended])
        return max((b - a for a, b in itertools.pairwise(acks) if start < b <= end), default=0.0)

    def summary(self):
        latencies = sorted(self.latencies)
        return (
            f"{len(self.acks)} acknowledged, {sum(self.repeated.values())} sent twice {dict(self.repeated)}, "
            f"{len(self.failures)} failed; median {statistics.median(latencies) * 1000:.0f} ms, "
            f"p99 {latencies[int(len(latencies) * 0.99)] * 1000:.0f} ms, worst {latencies[-1] * 1000:.0f} ms"
        )

    def check(self):
        """Nothing acknowledged is lost, nothing is there twice, nobody is there whom nobody signed up."""
        assert not self.wrong, self.wrong[:10]
        assert self.usable, "nothing was acknowledged"
        names = self.pool.names(via=random.choice(self.through))
        twice = [name for name, count in collections.Counter(names).items() if count > 1]
        assert not twice, f"shown twice: {twice}"
        listed = set(names)
        assert self.created <= listed, f"acknowledged and not listed: {sorted(self.created - listed)[:10]}"
        strangers = {name for name in listed if name.startswith(f"{self._prefix}-")} - self.attempted
        assert not strangers, f"whom nobody signed up: {sorted(strangers)[:10]}"

        def look(username):
            via = random.choice(self.through)
            client = self.pool.cluster.client(via)
            found = client.admin_get_user(UserPoolId=self.pool.id, Username=username)["Username"]
            if username in self.usable:
                assert self.pool.sign_in(username, via=via)["AccessToken"]
            return found

        with concurrent.futures.ThreadPoolExecutor(6) as executor:
            assert set(executor.map(look, self.created)) == self.created
