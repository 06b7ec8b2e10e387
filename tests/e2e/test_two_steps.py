"""What spans the directory and a pool: a process ends between the two steps, in both orders, and what it leaves is mended.

Two ways. At fault points, with a binary that has them (`make test-failpoints`): the process ends exactly there, and the
reconciler, whose minutes are made short, clears the rest away. And by SIGKILL at random times, with any binary: what was
acknowledged is as it was acknowledged, and whatever was under way can be done again.
"""

import contextlib
import os
import random
import re
import signal
import threading

import botocore.exceptions
import pytest

from harness.cognito import boto_client, unique
from harness.server import until

SEED = int(os.environ.get("CONCLAVE_SEED", "1"))
KILLS = int(os.environ.get("CONCLAVE_STEP_KILLS", "6"))
CREATE, DELETE = POINTS = ["create.after_directory", "delete.after_pool"]
# A thing may be made within two seconds, and is a leftover after four; a look every 200 ms.
SHORT = {"CONCLAVE_TIMES": "make.within=2000;reconcile.every=200"}
MENDED_SECONDS_MAX = 30
CRASH_SECONDS_MAX = 20
NO_ANSWER = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)

with_points = pytest.mark.skipif(
    "CONCLAVE_FAILPOINTS_BIN" not in os.environ, reason="no fault points: run `make test-failpoints`"
)
pytestmark = pytest.mark.timeout(180)


class Things:
    """Pools, clients or domains, through the API of one server."""

    def __init__(self, server):
        self.server = server
        self.cognito = boto_client(server)

    def restart(self, **environment):
        self.server.kill()
        self.server.environment = environment
        self.server.start()
        self.cognito = boto_client(self.server)

    def pool(self):
        return self.cognito.create_user_pool(PoolName=unique("pool"))["UserPool"]["Id"]

    def pool_ids(self):
        return {pool["Id"] for pool in self.cognito.list_user_pools(MaxResults=60)["UserPools"]}

    def is_there(self, describe, **what):
        try:
            return bool(describe(**what))
        except self.cognito.exceptions.ResourceNotFoundException:
            return False


class Pools(Things):
    """A pool with a client in it: the directory has a row of each."""

    def prepare(self):
        pass

    def create(self):
        pool_id = self.pool()
        self.cognito.create_user_pool_client(UserPoolId=pool_id, ClientName="app")
        return pool_id

    def delete(self, pool_id):
        self.cognito.delete_user_pool(UserPoolId=pool_id)

    def exists(self, pool_id):
        return self.is_there(self.cognito.describe_user_pool, UserPoolId=pool_id)

    def all(self):
        return {pool_id for pool_id in self.pool_ids() if self.exists(pool_id)}

    def nothing_is_left(self):
        """Also not in the list, which the directory has."""
        return self.pool_ids() == self.all()


class Clients(Things):
    def prepare(self):
        self.pool_id = self.pool()

    def create(self):
        answer = self.cognito.create_user_pool_client(UserPoolId=self.pool_id, ClientName="app")
        return answer["UserPoolClient"]["ClientId"]

    def delete(self, client_id):
        self.cognito.delete_user_pool_client(UserPoolId=self.pool_id, ClientId=client_id)

    def exists(self, client_id):
        return self.is_there(self.cognito.describe_user_pool_client, UserPoolId=self.pool_id, ClientId=client_id)

    def all(self):
        listed = self.cognito.list_user_pool_clients(UserPoolId=self.pool_id, MaxResults=60)["UserPoolClients"]
        return {client["ClientId"] for client in listed}

    def nothing_is_left(self):
        return True


class Domains(Things):
    def prepare(self):
        self.pool_id = self.pool()
        self.other_pool_id = self.pool()
        self.domain = unique("steps")

    def create(self):
        self.cognito.create_user_pool_domain(UserPoolId=self.pool_id, Domain=self.domain)
        return self.domain

    def delete(self, domain):
        self.cognito.delete_user_pool_domain(UserPoolId=self.pool_id, Domain=domain)

    def exists(self, domain):
        return self.cognito.describe_user_pool_domain(Domain=domain)["DomainDescription"] != {}

    def all(self):
        return {self.domain} if self.exists(self.domain) else set()

    def nothing_is_left(self):
        """Another pool can have the domain: what is left of it would keep it away."""
        try:
            self.cognito.create_user_pool_domain(UserPoolId=self.other_pool_id, Domain=self.domain)
        except self.cognito.exceptions.InvalidParameterException as error:
            assert "already associated" in str(error)
            return False
        self.cognito.delete_user_pool_domain(UserPoolId=self.other_pool_id, Domain=self.domain)
        return True


KINDS = [Pools, Clients, Domains]


@pytest.fixture
def things(request, start_server, monkeypatch):
    """One kind of things, on a server of its own, which has fault points where there are any."""
    if "CONCLAVE_FAILPOINTS_BIN" in os.environ:
        monkeypatch.setenv("CONCLAVE_BIN", os.environ["CONCLAVE_FAILPOINTS_BIN"])
    things = request.param(start_server())
    things.prepare()
    return things


def crash_at(things, point, operation):
    """The operation has no answer, because the process ends at the point."""
    things.restart(CONCLAVE_FAILPOINTS=f"{point}=abort@1")
    with pytest.raises(NO_ANSWER):
        operation()
    until(lambda: things.server.process.poll() is not None, CRASH_SECONDS_MAX, f"the process ends at {point}")
    assert things.server.process.returncode == -signal.SIGABRT, things.server.log_tail()
    assert re.search(rf"^fault point {re.escape(point)}: abort", things.server.log(), re.MULTILINE)


def mended(things):
    """What the reconciler says that it has cleared away since the start; and nothing is left."""
    log_bytes = len(things.server.log())

    def removed():
        lines = re.findall(r"cleared away what a crash has left.*", things.server.log()[log_bytes:])
        return sum(int(re.search(r"removed=(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", line))[1]) for line in lines)

    until(removed, MENDED_SECONDS_MAX, "the reconciler has cleared something away")
    assert things.nothing_is_left()
    return removed()


@with_points
@pytest.mark.parametrize("things", KINDS, indirect=True)
def test_what_is_cut_short_while_it_is_made_was_never_there(things):
    before = things.all()
    crash_at(things, CREATE, things.create)
    things.restart(**SHORT)
    assert things.all() == before
    mended(things)
    assert things.all() == before


@with_points
@pytest.mark.parametrize("things", KINDS, indirect=True)
def test_what_is_cut_short_while_it_is_deleted_is_gone(things):
    kept = things.create() if not isinstance(things, Domains) else None
    made = things.create()
    crash_at(things, DELETE, lambda: things.delete(made))
    things.restart(**SHORT)
    assert not things.exists(made)
    mended(things)
    assert things.all() == ({kept} if kept else set())


@with_points
@pytest.mark.parametrize("things", KINDS, indirect=True)
def test_a_repetition_finishes_a_deletion_that_was_cut_short(things):
    """Without the reconciler: whoever repeats the request is not told that there is nothing."""
    made = things.create()
    crash_at(things, DELETE, lambda: things.delete(made))
    # a pool cannot be told from one in the making before twice that time
    things.restart(CONCLAVE_TIMES="make.within=1")
    things.delete(made)
    things.restart()
    assert not things.exists(made)
    assert things.nothing_is_left()


@pytest.mark.parametrize("things", KINDS, indirect=True)
def test_a_kill_at_any_time_leaves_what_was_acknowledged(things):
    """Makes and deletes without pause, until the process is killed."""
    rng = random.Random(SEED)
    for _ in range(KILLS):
        there, going = things.all(), None
        killer = threading.Timer(rng.uniform(0.05, 0.6), things.server.process.kill)
        killer.start()
        with contextlib.suppress(*NO_ANSWER):
            while True:
                there.add(things.create())
                if isinstance(things, Domains) or rng.random() < 0.5:
                    going = rng.choice(sorted(there))
                    things.delete(going)
                    there.discard(going)
                    going = None
        killer.join()
        things.restart()
        found = things.all()
        assert there - {going} <= found, "what was acknowledged is there"
        assert len(found - there) <= 1, "what was deleted is not, and one creation at most was under way"
        for thing in found | {going} - {None}:
            # it may be gone
            with contextlib.suppress(botocore.exceptions.ClientError):
                things.delete(thing)
            assert not things.exists(thing)
        if isinstance(things, Domains):
            # what was reserved is the same pool's to have
            things.delete(things.create())
            assert things.nothing_is_left()
        assert things.all() == set()
