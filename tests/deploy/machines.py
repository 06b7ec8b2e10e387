"""Machines, as much as a runbook needs of them: a name, an address, a disk, root, and a `systemctl` that knows one unit.

A machine is a root directory with this machine's programs, entered through namespaces of its own. What it runs is the
unit in deploy/: its command, its user, its state directory and its credentials.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

from netns import BINARY, LINKS, OUTSIDE, WITH_SHELL, run

DOMAIN = "example.com"
RELEASE = ["conclave.service", "conclave.sysusers", "conclave.toml"]

# The part of systemd that the runbooks use, for one unit.
SYSTEMCTL = r"""#!/bin/bash
set -eu
unit=/etc/systemd/system/conclave.service
pid() { [ -s /run/conclave.pid ] && kill -0 "$(cat /run/conclave.pid)" 2>/dev/null && cat /run/conclave.pid; }
setting() { sed -n "s/^$1=//p" "$unit"; }
start() {
    ! pid >/dev/null || return 0
    user=$(setting User)
    mkdir -p "/var/lib/$(setting StateDirectory)" /run/credentials/conclave.service
    chmod "$(setting StateDirectoryMode)" "/var/lib/$(setting StateDirectory)"
    chown "$user" "/var/lib/$(setting StateDirectory)"
    for credential in $(setting LoadCredential); do
        install -m 400 -o "$user" "${credential#*:}" "/run/credentials/conclave.service/${credential%%:*}"
    done
    # shellcheck disable=SC2046  # a command of several words
    setsid setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs -- $(setting ExecStart) \
        </dev/null >>/var/log/conclave.log 2>&1 &
    echo $! >/run/conclave.pid
}
stop() {
    local p
    if p=$(pid); then
        kill -TERM "$p"
        while kill -0 "$p" 2>/dev/null; do sleep 0.1; done
    fi
    rm -f /run/conclave.pid
}
verb=$1
shift
case $verb in
    daemon-reload) ;;
    start) start ;;
    stop) stop ;;
    restart) stop; start ;;
    reload) kill -HUP "$(pid)" ;;
    enable) [ "$1" != --now ] || start ;;
    disable) [ "$1" != --now ] || stop ;;
    is-active) if pid >/dev/null; then echo active; else echo inactive; exit 3; fi ;;
    *) echo "systemctl: $verb is not known here" >&2; exit 1 ;;
esac
"""

# Copies into root's home on another machine: scp FILE... root@MACHINE:
SCP = r"""#!/bin/bash
set -eu
host=${!#}
host=${host#root@}
[ "${host%:}" != "$host" ]
cp -- "${@:1:$#-1}" "/srv/machines/${host%:}/disk$HOME"
"""

JOURNALCTL = """#!/bin/sh
# journalctl -u conclave -n LINES
[ "$1 $2 $3" = "-u conclave -n" ] && exec tail -n "$4" /var/log/conclave.log
"""

# Namespaces that last as long as the machine.
BOOT = """
root=$1
mount --bind "$root" "$root"
for path in {paths}; do mount --rbind "/$path" "$root/$path"; mount -o remount,bind,ro "$root/$path"; done
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$2" "$root/srv/machines"
{disk}
hostname "$3"
echo up
exec sleep infinity
"""


class Machine:
    """Switched on until it is lost."""

    def __init__(self, site, name, disk_mib=None):
        """With `disk_mib`, /var/lib/conclave is a disk of its own, of that size."""
        self.site, self.name = site, name
        self.host = f"{name}.{DOMAIN}"
        self.directory = site.directory / self.host
        self.root = self.directory / "disk"
        self.disk_mib = disk_mib
        self.namespace, self.address = site.network.add()
        self._make_root()
        self._boot()

    def _make_root(self):
        for path in [*WITH_SHELL, "usr/local/bin", "usr/local/sbin", "etc/systemd/system", "etc/sysusers.d", "proc", "dev",
                     "tmp", "run", "var/lib", "var/log", "root", "srv/machines", "var/lib/conclave"]:  # fmt: skip
            (self.root / path).mkdir(parents=True, exist_ok=True)
        (self.root / "root").chmod(0o700)
        for name, target in LINKS.items():
            (self.root / name).symlink_to(target)
        etc = self.root / "etc"
        (etc / "passwd").write_text("root:x:0:0::/root:/bin/bash\n")
        (etc / "group").write_text("root:x:0:\n")
        (etc / "hostname").write_text(self.name + "\n")
        for name, text in (("systemctl", SYSTEMCTL), ("scp", SCP), ("journalctl", JOURNALCTL)):
            tool = self.root / "usr/local/sbin" / name
            tool.write_text(text)
            tool.chmod(0o755)

    def _boot(self):
        paths = " ".join(WITH_SHELL)
        disk = ""
        if self.disk_mib:
            disk = f'mount -t tmpfs -o size={self.disk_mib}m disk "$root/var/lib/conclave"'
        command = [
            "ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts", "--propagation", "private", "--",
            "sh", "-ec", BOOT.format(paths=paths, disk=disk), "sh", self.root, self.site.directory, self.host,
        ]  # fmt: skip
        self.holder = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert self.holder.stdout.readline() == b"up\n"

    def run(self, script, seconds=240, check=True):
        """Runs a script as root would, logged in."""
        into = ["nsenter", "--target", self.holder.pid, "--mount", "--net", "--uts", "--"]
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb",
        }  # fmt: skip
        shell = ["chroot", self.root, "bash", "-lec", f"cd\n{script}"]
        # what is started in the background must not hold the output open: it has a log of its own
        return run(*into, *shell, env=environment, check=check, timeout=seconds)

    def process(self):
        """The id of the running program, or None."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.root / "run/conclave.pid").read_text())
            os.kill(pid, 0)
            return pid

    def get(self, path):
        """What the management port answers to somebody on another machine: status and body."""
        done = run(
            "curl", "-s", "--max-time", "5", "-w", "\n%{http_code}", f"http://{self.address}:9000{path}", check=False
        )
        if done.returncode != 0:
            return None
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    @property
    def ready(self):
        return (self.get("/readyz") or (0, ""))[0] == 200

    @property
    def log(self):
        path = self.root / "var/log/conclave.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def switch_off(self):
        """As when the power goes. The disk stays."""
        if pid := self.process():
            os.kill(pid, 9)
        self.holder.kill()
        self.holder.wait()
        self.site.network.remove(self.namespace)

    def switch_on(self):
        (self.root / "run/conclave.pid").unlink(missing_ok=True)
        self.namespace, self.address = self.site.network.add()
        self._boot()
        self.site.update_names()


class Site:
    """Machines that know each other by name, and one from which they are administered, with a release on it."""

    def __init__(self, directory, network):
        self.directory, self.network = directory, network
        self.machines = {}

    def __enter__(self):
        admin = self.add("admin")
        home = admin.root / "root"
        (home / "deploy").mkdir()
        shutil.copy(BINARY, home / "conclave")
        shutil.copy(BINARY, admin.root / "usr/local/bin/conclave")
        deploy = pathlib.Path(__file__).parents[2] / "deploy"
        for name in RELEASE:
            shutil.copy(deploy / name, home / "deploy" / name)
        return self

    def __exit__(self, *_):
        for machine in self.machines.values():
            with contextlib.suppress(Exception):
                machine.switch_off()

    def add(self, name, **options):
        self.machines[name] = Machine(self, name, **options)
        self.update_names()
        return self.machines[name]

    def __getitem__(self, name):
        return self.machines[name]

    def update_names(self):
        lines = ["127.0.0.1 localhost", f"{OUTSIDE} id.{DOMAIN}"]
        lines += [f"{machine.address} {machine.host} {name}" for name, machine in self.machines.items()]
        for machine in self.machines.values():
            (machine.root / "etc/hosts").write_text("\n".join(lines) + "\n")

    @property
    def nodes(self):
        return [machine for name, machine in self.machines.items() if name.startswith("node-")]

    def status(self):
        """What an administrator sees: the exit code and the text of `conclave status`."""
        done = self["admin"].run("conclave status", check=False)
        return done.returncode, done.stdout + done.stderr

    def node_states(self):
        printed = self["admin"].run("conclave nodes --json").stdout
        return {node["node_id"]: node for node in json.loads(printed)["nodes"]}
