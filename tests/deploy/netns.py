"""Network namespaces of this machine's own, each with an address, for processes that must each have the same ports.

Needs root and Linux. Addresses are of 198.18.0.0/15, which is for tests (RFC 2544), on a bridge of this machine.
"""

import functools
import os
import pathlib
import shutil
import subprocess
import time

BINARY = os.environ.get("CONCLAVE_BIN")
ENTER = pathlib.Path(__file__).parent / "enter.py"
# Where the bridge is: clients are here, outside of all namespaces.
OUTSIDE = "198.18.0.1"
# What of this machine a root directory with a shell is made of.
WITH_SHELL = ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc/ssl", "etc/alternatives"]
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def possible():
    tools = ["ip", "unshare", "nsenter", "mount", "curl", "ldd"]
    return BINARY is not None and os.geteuid() == 0 and all(map(shutil.which, tools))


def run(*command, **options):
    check = options.pop("check", True)
    options = {"timeout": 30, "capture_output": True, "text": True, **options}
    done = subprocess.run([str(word) for word in command], **options)
    assert done.returncode == 0 or not check, f"{done.args} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(0.05)
    return result


@functools.cache
def libraries():
    """What the program is linked with: of an image without a shell there is nothing else."""
    return [pathlib.Path(word) for word in run("ldd", BINARY).stdout.split() if word.startswith("/")]


class Network:
    """A bridge, and a namespace for each process that is to have an address of its own."""

    def __init__(self, name="conclave"):
        self.bridge = f"{name}-test"[:15]
        self.name = name
        self.namespaces = []
        self._last = 1

    def __enter__(self):
        # what a run that was killed has left
        run("ip", "link", "delete", self.bridge, check=False)
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{OUTSIDE}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        return self

    def __exit__(self, *_):
        for namespace in list(self.namespaces):
            self.remove(namespace)
        run("ip", "link", "delete", self.bridge, check=False)

    def add(self):
        """A namespace and its address."""
        self._last += 1
        number = self._last
        assert number < 255, "no address is left"
        namespace, address, outside = f"{self.name}-{number}", f"198.18.0.{number}", f"cnclv{number}"
        # what a run that was killed has left
        run("ip", "netns", "delete", namespace, check=False)
        run("ip", "link", "delete", outside, check=False)
        run("ip", "netns", "add", namespace)
        self.namespaces.append(namespace)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        run("ip", "link", "set", outside, "master", self.bridge, "up")
        for words in (
            ["address", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", OUTSIDE],
        ):
            run("ip", "-n", namespace, *words)
        return namespace, address

    def remove(self, namespace):
        self.namespaces.remove(namespace)
        # the kernel takes its time over a namespace
        run("ip", "link", "delete", f"cnclv{namespace.rpartition('-')[2]}", check=False)
        run("ip", "netns", "delete", namespace, check=False)
