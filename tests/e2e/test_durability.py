"""What was acknowledged is on disk: syncs that are slow or fail, power cuts, crashes. One node; see also
`test_durability_cluster.py`.

`docs/durability.md` says what these tests measure. The number of power cuts and crashes is CONCLAVE_ROUNDS, the seed of
what happens in them CONCLAVE_SEED.
"""

import contextlib
import random
import statistics
import subprocess
import sys
import time

import pytest
import requests

from harness import faults
from harness.cognito import boto_client, unique
from harness.faults import HANGING, ROUNDS, SEED, SLOW, SYNC_DELAY_SECONDS, eio, show
from harness.ledger import Ledger
from harness.server import until

UNREADY_SECONDS_MAX = 2
EXIT_SECONDS_MAX = 15


@pytest.fixture
def disk(tmp_path):
    """A disk that can lose power, mounted where `start_server` puts the data."""
    faults.require_disks(tmp_path)
    disk = faults.Disk(tmp_path / "images", tmp_path / "conclave" / "data")
    yield disk
    disk.remove()


def covering_sync(syncs, acknowledgement):
    """A sync of the log that began after the request was sent, and was good before the answer was there."""
    return any(
        s.of_the_log and not s.error and s.end and acknowledgement.begin <= s.begin and s.end <= acknowledgement.end
        for s in syncs
    )


def test_a_power_cut_takes_what_was_not_synced(disk):
    """The test's own disk: what was synced is there after the cut, what was only written is gone."""
    writer = Writer(disk.mount_point)
    until(lambda: "written" in writer.said.read_text(), 10, "both files are written")
    disk.cut_power(writer)
    assert (disk.mount_point / "synced").read_text() == "synced"
    assert not (disk.mount_point / "unsynced").exists()
    assert (disk.mount_point / "tail").read_text() == "begin"


class Writer:
    """A process that syncs some of what it writes, and then lives on."""

    PROGRAM = """
import os, sys, time
os.chdir(sys.argv[1])
def write(name, text, sync, flags=os.O_WRONLY | os.O_CREAT | os.O_APPEND):
    file = os.open(name, flags)
    os.write(file, text)
    if sync:
        os.fsync(file)
write("synced", b"synced", True)
write("tail", b"begin", True)
write("tail", b" and end", False)
write("unsynced", b"unsynced", False)
print("written", flush=True)
time.sleep(600)
"""

    def __init__(self, directory):
        self.said = directory.parent / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, str(directory)], stdout=said)

    def kill(self):
        self.process.kill()
        self.process.wait()


def test_no_write_is_acknowledged_before_its_sync(start_server, tmp_path):
    """With syncs of 300 ms, no write is faster, and a whole sync of the log lies between request and answer."""
    faults.require_strace()
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    cognito, pool, app = ledger.cognito, ledger.pool, ledger.app
    with faults.strace(server.process.pid, tmp_path / "strace.log", SLOW) as tracer:
        for _ in range(2):
            ledger.timed("SignUp", app.sign_up)
            name = unique("invited")
            create = {"UserPoolId": pool.id, "Username": name, "MessageAction": "SUPPRESS"}
            ledger.timed("AdminCreateUser", cognito.admin_create_user, **create)
            ledger.timed("CreateUserPool", cognito.create_user_pool, PoolName=name)
        load = ledger.load()
        time.sleep(2)
        load.stop()
    early = [a for a in ledger.acknowledged if a.end - a.begin < SYNC_DELAY_SECONDS]
    assert not early, f"acknowledged before a sync could end: {early}"
    syncs = tracer.syncs()
    of_log = [s for s in syncs if s.of_the_log and s.end]
    assert {s.name for s in of_log} == {"fdatasync"}, "the log is synced in another way than expected"
    assert all(s.injected for s in of_log), "not every sync was slow"
    unsynced = [a for a in ledger.acknowledged if not covering_sync(syncs, a)]
    assert not unsynced, f"acknowledged without a sync: {unsynced}"
    assert {"SignUp", "AdminCreateUser", "CreateUserPool", "AdminConfirmSignUp"} <= {
        a.operation for a in ledger.acknowledged
    }
    show("writes", len(ledger.acknowledged))
    show("log syncs", len(of_log))
    show("fastest write, s", round(min(a.end - a.begin for a in ledger.acknowledged), 3))


def test_reads_do_not_wait_for_syncs(start_server, tmp_path):
    """While every sync takes 300 ms and writes never pause, reads are answered as ever."""
    faults.require_strace()
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    username = ledger.pool.user()
    ledger.accounts[username] = None
    token = ledger.app.tokens(username)["AccessToken"]
    reads = {"AdminGetUser": [], "GetUser": []}

    def timed(operation, request, **arguments):
        begin = time.monotonic()
        request(**arguments)
        reads[operation].append(time.monotonic() - begin)

    with faults.strace(server.process.pid, tmp_path / "strace.log", SLOW) as tracer:
        load = ledger.load(workers=2)
        until(lambda: len(ledger.acknowledged) >= 2, 20, "writes go on")
        begin = time.time()
        for _ in range(100):
            timed("AdminGetUser", ledger.cognito.admin_get_user, UserPoolId=ledger.pool.id, Username=username)
            timed("GetUser", ledger.cognito.get_user, AccessToken=token)
        end = time.time()
        load.stop()
    during = [s for s in tracer.syncs() if s.of_the_log and s.end and s.end > begin and s.begin < end]
    syncing = sum(min(s.end, end) - max(s.begin, begin) for s in during)
    assert syncing > 0.5 * (end - begin), "there was hardly a sync to wait for"
    for operation, seconds in reads.items():
        show(f"{operation}, median ms", round(1000 * statistics.median(seconds), 1))
        # who waits for the sync in flight waits for half of one
        assert statistics.median(seconds) < SYNC_DELAY_SECONDS / 4, f"{operation} waits for syncs"


def test_a_disk_that_hangs_is_noticed_and_so_is_its_return(start_server, tmp_path):
    """Syncs that do not return make the node unready within seconds; nothing has failed, so it goes on afterwards."""
    faults.require_strace()
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    with faults.strace(server.process.pid, tmp_path / "strace.log", HANGING):
        load = ledger.load(keep_going=True)
        begin = time.monotonic()
        until(lambda: not is_ready(server), 10, "the server is not ready any more")
        show("not ready after, s", round(time.monotonic() - begin, 1))
        answer = requests.get(f"{server.management}/readyz", timeout=2)
        assert answer.text == "not ready: the disk hangs: a sync of the log has not returned\n"
        assert requests.get(f"{server.management}/livez", timeout=2).status_code == 200
    until(lambda: is_ready(server), 20, "the server is ready again")
    load.stop()
    ledger.check(random.Random(SEED), sign_ins=2)
    assert ledger.app.sign_up()["UserSub"]


@pytest.mark.parametrize("failing", ["1+", "2", "7+", "26", "60+"])
def test_nothing_is_acknowledged_after_a_sync_has_failed(start_server, tmp_path, failing):
    """The n-th sync of each thread answers EIO, `n+`: all after it too. A later one that succeeds proves nothing."""
    faults.require_strace()
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    process = server.process
    with faults.strace(process.pid, tmp_path / "strace.log", eio(failing)) as tracer:
        load = ledger.load()
        until(lambda: not is_ready(server), 60, "the server is not ready any more")
        unready = time.time()
        until(lambda: process.poll() is not None, EXIT_SECONDS_MAX, "the server ends by itself")
        load.wait()
    syncs = tracer.syncs()
    failed = check_failed_syncs(syncs, ledger)
    again = [s for s in syncs if s.of_the_log and s.begin > failed]
    assert not again, f"the log was synced again after an error: {again}"
    assert process.returncode == 1
    # a request that was under way may have the last line
    last = [line for line in server.log().splitlines() if line.startswith("conclave: ")]
    assert "nothing is acknowledged any more" in last[-1]
    assert unready - failed < UNREADY_SECONDS_MAX
    show("acknowledged before the error", len(ledger.acknowledged))
    show("not ready after, s", round(unready - failed, 3))
    server.kill()
    server.start()
    ledger.check(random.Random(SEED), sign_ins=5)
    assert ledger.app.sign_up()["UserSub"], "the restarted server takes no writes"


@pytest.mark.parametrize("failing", ["4+", "40"])
def test_a_power_cut_after_a_failed_sync_loses_nothing(disk, start_server, tmp_path, failing):
    """As above; and what the failed sync has left unwritten is lost."""
    faults.require_strace()
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    with faults.strace(server.process.pid, tmp_path / "strace.log", eio(failing)) as tracer:
        load = ledger.load()
        until(lambda: "EIO" in tracer.output.read_text(), 60, "a sync fails")
        disk.cut_power(server)
        load.wait()
    check_failed_syncs(tracer.syncs(), ledger)
    server.start()
    ledger.check(random.Random(SEED), sign_ins=10)
    show("acknowledged before the error", len(ledger.acknowledged))


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_power_cuts_under_load_lose_nothing(disk, start_server):
    """At random times the power fails. What was acknowledged is there, and the next round goes on with it."""
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    lose_again_and_again(server, ledger, disk.cut_power)


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_power_cuts_while_syncs_are_slow_lose_nothing(disk, start_server, tmp_path):
    """As above with syncs of 300 ms, so that nearly every cut comes while one is under way."""
    faults.require_strace()
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    lose_again_and_again(server, ledger, disk.cut_power, strace_log=tmp_path / "strace.log")


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_crashes_under_load_lose_nothing(start_server):
    """As above with `kill -9`: what was written and not synced is still there, and must not be half of something."""
    server = start_server()
    ledger = Ledger(server, boto_client(server))
    lose_again_and_again(server, ledger, lambda server: server.kill())


def lose_again_and_again(server, ledger, end, strace_log=None):
    rng = random.Random(SEED)
    for _ in range(ROUNDS):
        with contextlib.ExitStack() as slow:
            if strace_log:
                slow.enter_context(faults.strace(server.process.pid, strace_log, SLOW))
            before = len(ledger.acknowledged)
            load = ledger.load()
            until(lambda: len(ledger.acknowledged) > before, 20, "writes go on")
            time.sleep(rng.uniform(0, 1.5))
            end(server)
            load.wait()
        server.start()
        ledger.check(rng, sign_ins=6)
    show("rounds", ROUNDS)
    show("seed", SEED)
    show("acknowledged writes", len(ledger.acknowledged))


def is_ready(server):
    try:
        return requests.get(f"{server.management}/readyz", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def check_failed_syncs(syncs, ledger):
    """No acknowledgement without a good sync, and none of a request that came after the first error.

    Returns when that error was.
    """
    failed = min(s.begin for s in syncs if s.error == "EIO" and s.injected)
    late = [a for a in ledger.acknowledged if a.begin > failed]
    assert not late, f"acknowledged after a failed sync: {late}"
    unsynced = [a for a in ledger.acknowledged if not covering_sync(syncs, a)]
    assert not unsynced, f"acknowledged without a sync: {unsynced}"
    return failed
