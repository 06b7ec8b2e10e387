"""What no client sends must not stay in memory."""

from concurrent.futures import ThreadPoolExecutor

import requests

from harness import wire

MIB = 1 << 20
# What the allocator keeps of a burst. A server that kept the bodies would hold twelve times as much.
GROWTH_MAX = 96 * MIB
BURST = 120


def resident(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096


def send(server, body):
    try:
        return wire.post(server, body, wire.headers_for("SignUp")).status
    except requests.exceptions.ConnectionError:
        # the server may close while we still send
        return 413


def test_memory_stays_flat_under_large_deep_and_broken_bodies(start_server):
    server = start_server()
    bodies = [b"[" * (10 * MIB), b'{"a":' * MIB, b'{"ClientMetadata":{"a":"' + b"x" * (10 * MIB), b"{" * 1000]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: send(server, body), bodies))
        before = resident(server)
        statuses = set(pool.map(lambda number: send(server, bodies[number % len(bodies)]), range(BURST)))
    growth = resident(server) - before
    assert statuses <= {400, 413}, statuses
    assert growth < GROWTH_MAX, f"{growth >> 20} MiB more than before"
