"""Starts the built binary as a user would, `conclave dev`, and stops it by its process id."""

import os
import pathlib
import signal
import socket
import subprocess
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[3]
READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20
LOG_TAIL_BYTES = 16_000


def binary():
    path = os.environ.get("CONCLAVE_BIN")
    if path is None:
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        path = pathlib.Path(target) / "debug" / "conclave"
    return pathlib.Path(path)


def free_ports(count):
    """Ports that nothing listens on; all are held at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def until(condition, seconds, what):
    """Polls until `condition()` is true and returns what it returned; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Server:
    """One `conclave dev` process with its own data, ports and log."""

    def __init__(self, directory, options=(), wrapper=(), environment=None, host="127.0.0.1"):
        """`options` are added to the command line; `wrapper` (strace, say) is put before it; `host` is where the public
        port listens."""
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.log_path = self.directory / "conclave.log"
        self.options = list(options)
        self.wrapper = list(wrapper)
        self.environment = environment or {}
        self.process = None
        port, management_port = free_ports(2)
        self.authority = f"{host}:{port}"
        self.endpoint = f"http{'s' if '--tls' in self.options else ''}://{self.authority}"
        self.management = f"http://127.0.0.1:{management_port}"
        self._http = requests.Session()

    def start(self):
        assert self.process is None, "already started"
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [
            *self.wrapper,
            str(binary()),
            "dev",
            "--listen",
            self.authority,
            "--management",
            self.management.removeprefix("http://"),
            "--data-dir",
            str(self.data),
            *self.options,
        ]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **self.environment},
            )
        try:
            until(self._ready_or_gone, READY_SECONDS_MAX, "the server is ready")
        except BaseException:
            self.kill()
            raise
        return self

    def _ready_or_gone(self):
        code = self.process.poll()
        if code is not None:
            raise RuntimeError(f"the server ended with {code} before it was ready:\n{self.log_tail()}")
        try:
            return self._http.get(f"{self.management}/readyz", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    def kill(self):
        """As a crash: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self):
        """As an operator would. Returns the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, signal_number):
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.send_signal(signal_number)
        try:
            return process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, after=0):
        """The end of what was logged after the byte `after`."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(after, size - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace")

    def metrics(self):
        answer = self._http.get(f"{self.management}/metrics", timeout=10)
        answer.raise_for_status()
        return answer.text
