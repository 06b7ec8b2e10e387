"""The unit is one that systemd takes, and the program gets by with what it leaves."""

import pathlib
import re
import shutil
import subprocess

import pytest
from chart import ROOT
from harness.cognito import Pool, boto_client
from harness.server import Server
from netns import BINARY

UNIT = ROOT / "deploy" / "conclave.service"
# systemd's own measure, from 0 to 10
EXPOSURE_MAX = 2.0
ALLOWED, FORBIDDEN = ["@system-service"], ["@privileged", "@resources"]

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_knows_every_setting(tmp_path):
    unit = tmp_path / UNIT.name
    # the program need not be installed here
    unit.write_text(
        UNIT.read_text().replace("/usr/local/bin/conclave", "/bin/true").replace("User=conclave", "User=daemon")
    )
    assert analyze("verify", unit).strip() == ""


@needs_systemd
def test_the_unit_leaves_little_to_who_breaks_in():
    level = re.search(r"exposure level for conclave.service: ([0-9.]+)", analyze("security", "--offline=true", UNIT))
    assert float(level[1]) <= EXPOSURE_MAX, level[0]


def calls(*sets):
    """The system calls in systemd's sets."""
    found = set()
    for line in analyze("syscall-filter", *sets).splitlines():
        line = line.strip().partition("#")[0].strip()
        if line.startswith("@") and line not in sets:
            found |= calls(line)
        elif line and not line.startswith("@"):
            found.add(line)
    return found


@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None or BINARY is None, reason="needs strace and CONCLAVE_BIN")
def test_the_program_makes_no_system_call_that_the_unit_forbids(tmp_path):
    text = UNIT.read_text()
    assert f"SystemCallFilter={' '.join(ALLOWED)}\nSystemCallFilter=~{' '.join(FORBIDDEN)}\n" in text
    trace = tmp_path / "calls"
    server = Server(tmp_path / "server", wrapper=["strace", "-f", "-qq", "-c", "-o", str(trace)]).start()
    pool = Pool(server, boto_client(server))
    app = pool.app_client()
    user = pool.user()
    assert app.password_sign_in(user)["AuthenticationResult"]
    strace = server.process.pid
    (child,) = pathlib.Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
    subprocess.run(["kill", "-TERM", child], check=True)
    assert server.process.wait(30) == 0
    # rows of a table, between rules and a total: shares and counts, then the name
    rows = (re.fullmatch(r"\s*[0-9.]+ .* ([a-z_0-9]+)", line) for line in trace.read_text().splitlines())
    made = {row[1] for row in rows if row} - {"total"}
    assert {"futex", "write", "fdatasync", "accept4"} <= made, made
    assert made <= calls(*ALLOWED) - calls(*FORBIDDEN), made - (calls(*ALLOWED) - calls(*FORBIDDEN))
