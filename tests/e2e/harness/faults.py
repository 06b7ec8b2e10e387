"""Faults of a disk: syncs that are slow, hang or fail, and power cuts.

Syncs are changed with strace, from outside, in the running process. A power cut is the copy of a disk: the data is on a
loop-mounted ext4 image, and what ext4 has not written to the image yet is not in a copy of the image.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from harness.server import until

# Every call with which a process can ask for its data to be on disk.
SYNC_CALLS = "fdatasync,fsync,sync_file_range,msync,syncfs,sync"
# Those of them that block, on a Linux file.
BLOCKING_SYNC_CALLS = "fdatasync,fsync,msync"
SYNC_DELAY_SECONDS = 0.3
# What strace can do to them, in its own language.
SLOW = f"{BLOCKING_SYNC_CALLS}:delay_enter={int(SYNC_DELAY_SECONDS * 1e6)}"
HANGING = f"{BLOCKING_SYNC_CALLS}:delay_enter=60000000"

# How often a test loses power or crashes, and what decides when.
ROUNDS = int(os.environ.get("CONCLAVE_ROUNDS", "3"))
SEED = int(os.environ.get("CONCLAVE_SEED", "1"))

ATTACH_SECONDS_MAX = 10
STOP_SECONDS_MAX = 10
IMAGE_BYTES = 384 << 20
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

LINE = re.compile(r"^(?P<thread>\d+)\s+(?P<time>\d+\.\d+) (?P<rest>.*)$")
CALL = re.compile(r"^(?P<name>\w+)\((?:\d+<(?P<path>[^>]*)>)?(?P<rest>.*)$")
RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
RESULT = re.compile(r"= (?P<value>-?\d+|\?)(?P<note>.*?)(?: <(?P<seconds>\d+\.\d+)>)?$")


def eio(which):
    """Syncs answer EIO: `7` the seventh of each thread, `7+` all from it on."""
    return f"{BLOCKING_SYNC_CALLS}:error=EIO:when={which}"


def show(what, figure):
    """A measured figure; `pytest -rP` prints it."""
    print(f"{what}: {figure}")


@dataclasses.dataclass
class Sync:
    """One call for a sync, with the wall-clock times at which it began and returned."""

    thread: int
    name: str
    path: str
    begin: float
    end: float | None = None
    error: str | None = None
    injected: bool = False

    @property
    def of_the_log(self):
        """Whether it makes the log of the groups durable: the write-ahead log of the database in `log`."""
        return re.search(r"/log/\d+\.log$", self.path) is not None


class Strace:
    """strace on a running process. What it shows is in `syncs()`, also while it runs."""

    def __init__(self, pid, output, inject):
        self.output = pathlib.Path(output)
        self.messages = self.output.with_suffix(".err")
        command = ["strace", "-f", "-y", "-ttt", "-T", "-o", str(self.output), "-e", f"trace={SYNC_CALLS}"]
        command += ["-e", "signal=none", "-e", f"inject={inject}", "-p", str(pid)]
        with self.messages.open("wb") as messages:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=messages)
        try:
            until(lambda: self._attached(pid), ATTACH_SECONDS_MAX, "strace is attached")
        except BaseException:
            self.detach()
            raise

    def _attached(self, pid):
        """Every thread has a tracer: the process may be making threads meanwhile."""
        assert self.process.poll() is None, f"strace ended: {self.messages.read_text()}"
        return all(tracer_of(task) == self.process.pid for task in tasks(pid))

    def detach(self):
        """The process goes on without faults; a sync that hangs is made now."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(ATTACH_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def syncs(self):
        return parse(self.output.read_text(errors="replace")) if self.output.exists() else []


@contextlib.contextmanager
def strace(pid, output, inject):
    """The process has these faults while the block runs."""
    tracer = Strace(pid, output, inject)
    try:
        yield tracer
    finally:
        tracer.detach()


def require_strace():
    """strace can be attached to the processes of a test, or the test is skipped."""
    if why := why_no_strace():
        pytest.skip(why)


@functools.cache
def why_no_strace():
    if shutil.which("strace") is None:
        return "no strace: run `make deps`"
    process = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL)
    try:
        with tempfile.TemporaryDirectory() as directory, strace(process.pid, pathlib.Path(directory, "probe"), SLOW):
            return None
    except (AssertionError, TimeoutError) as error:
        return f"strace may not attach, it needs root or kernel.yama.ptrace_scope = 0: {error}"
    finally:
        process.kill()
        process.wait()


def parse(text):
    """The syncs in what strace wrote, in the order in which they began."""
    syncs, unfinished = [], {}
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        thread, at, rest = int(found["thread"]), float(found["time"]), found["rest"]
        resumed = RESUMED.match(rest)
        if resumed:
            sync = unfinished.pop(thread, None)
            if sync is not None:
                finish(sync, resumed["rest"])
            continue
        call = CALL.match(rest)
        if not call or call["name"] not in SYNC_CALLS.split(","):
            continue
        sync = Sync(thread, call["name"], call["path"] or "", at)
        syncs.append(sync)
        if "<unfinished" in rest:
            unfinished[thread] = sync
        else:
            finish(sync, call["rest"])
    return syncs


def finish(sync, text):
    result = RESULT.search(text)
    if not result:
        return
    note = result["note"]
    sync.injected = "INJECTED" in note or "DELAYED" in note
    if result["value"] == "?" or result["seconds"] is None:
        return
    sync.end = sync.begin + float(result["seconds"])
    if result["value"].startswith("-"):
        sync.error = note.split()[0]


def tasks(pid):
    """The directories in /proc of a process's threads."""
    return list(pathlib.Path(f"/proc/{pid}/task").iterdir())


def status_of(task, field):
    try:
        text = (task / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return re.search(rf"^{field}:\s+(\S+)", text, re.MULTILINE)[1]


def tracer_of(task):
    tracer = status_of(task, "TracerPid")
    return tracer if tracer is None else int(tracer)


def freeze(pid):
    """Stops a process, and returns when none of its threads runs any more. Returns the tracers that it has stopped too.

    A tracer would let a sync go on when its delay is over.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_stopped(pid)
    tracers = {tracer_of(task) for task in tasks(pid)} - {0, None}
    for tracer in tracers:
        os.kill(tracer, signal.SIGSTOP)
        wait_stopped(tracer)
    wait_stopped(pid)
    return tracers


def wait_stopped(pid):
    # t: stopped by its tracer; Z, X, none: ended meanwhile
    stopped = {"T", "t", "Z", "X", None}
    until(lambda: all(status_of(t, "State") in stopped for t in tasks(pid)), STOP_SECONDS_MAX, "the process is stopped")


class Disk:
    """An ext4 file system in a file, mounted at `mount_point`.

    Nothing reaches the file on its own while a test runs: metadata is committed after five minutes instead of five
    seconds, and a file that is renamed over another is not written for that. So only what was synced is in a copy.
    """

    OPTIONS = "loop,commit=300,noauto_da_alloc,noinit_itable,noatime"

    def __init__(self, directory, mount_point):
        self.directory = pathlib.Path(directory)
        self.mount_point = pathlib.Path(mount_point)
        self.generation = 0
        self.mounted = False
        self.directory.mkdir(parents=True, exist_ok=True)
        self.mount_point.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        command("mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "8192", "-E", "nodiscard", self.image)
        self.mount()

    @property
    def image(self):
        return self.directory / f"disk-{self.generation}.img"

    def mount(self):
        command("mount", "-t", "ext4", "-o", self.OPTIONS, self.image, self.mount_point)
        self.mounted = True

    def unmount(self):
        """Also gives the loop device back. A server that was killed may hold files for a moment longer."""
        if not self.mounted:
            return
        for _ in range(50):
            done = run("umount", self.mount_point)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        else:
            command("umount", "--lazy", self.mount_point)
        self.mounted = False

    def cut_power(self, server):
        """The server ends as if the power had failed now, and the disk then holds what had reached it."""
        cut_power([server], [self])

    def copy(self):
        """Whoever writes must be frozen, or the copy would hold a mixture of two times."""
        before = self.image
        self.generation += 1
        command("cp", "--sparse=always", before, self.image)
        return before

    def remove(self):
        self.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)


def cut_power(servers, disks):
    """The power of all fails at once: `disks` are theirs."""
    tracers = set().union(*(freeze(server.process.pid) for server in servers))
    before = [disk.copy() for disk in disks]
    for server in servers:
        os.kill(server.process.pid, signal.SIGKILL)
    for tracer in tracers:
        os.kill(tracer, signal.SIGCONT)
    for server in servers:
        server.kill()
    for disk, image in zip(disks, before, strict=True):
        disk.unmount()
        image.unlink()
        disk.mount()


def require_disks(directory):
    """Loop devices can be mounted, or the test is skipped."""
    if os.geteuid() != 0:
        pytest.skip("power cuts need root, for loop devices")
    missing = [c for c in ("mkfs.ext4", "mount", "umount", "cp") if shutil.which(c, path=SYSTEM_PATH) is None]
    if missing:
        pytest.skip(f"power cuts need {', '.join(missing)}")
    probe = pathlib.Path(directory) / "probe"
    try:
        Disk(probe / "images", probe / "mnt").remove()
    except RuntimeError as error:
        pytest.skip(f"no loop device can be mounted here: {error}")


def run(name, *arguments):
    return subprocess.run(
        [name, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": SYSTEM_PATH},
    )


def command(name, *arguments):
    done = run(name, *arguments)
    if done.returncode != 0:
        raise RuntimeError(f"{name}: {done.stderr.strip()}")
