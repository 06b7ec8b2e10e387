"""The checker of histories: it accepts what a register can answer, and finds answers that none can give."""

import dataclasses
import math
import random

import pytest
from harness.linearizability import (
    ABSENT,
    CREATE,
    DELETE,
    DELETED,
    EXISTS,
    GET,
    UNKNOWN,
    Operation,
    explain,
    unknown,
)


def history(*steps):
    """Operations one after the other."""
    return [Operation(kind, result, i, i + 0.5) for i, (kind, result) in enumerate(steps)]


@pytest.mark.parametrize(
    "steps",
    [
        [(GET, ABSENT), (CREATE, "s1"), (GET, "s1"), (CREATE, EXISTS), (DELETE, DELETED), (GET, ABSENT)],
        [(CREATE, "s1"), (DELETE, DELETED), (CREATE, "s2"), (GET, "s2")],
        [(DELETE, ABSENT), (CREATE, "s1"), (DELETE, DELETED), (DELETE, ABSENT)],
    ],
)
def test_what_a_register_answers_is_accepted(steps):
    assert explain(history(*steps)) is None


@pytest.mark.parametrize(
    "steps",
    [
        [(CREATE, "s1"), (GET, ABSENT)],
        [(CREATE, "s1"), (DELETE, DELETED), (GET, "s1")],
        [(CREATE, "s1"), (CREATE, "s2")],
        [(CREATE, "s1"), (DELETE, DELETED), (DELETE, DELETED)],
        [(CREATE, "s1"), (DELETE, DELETED), (CREATE, "s2"), (GET, "s1")],
        [(CREATE, EXISTS)],
        [(DELETE, DELETED)],
        [(GET, "s1")],
    ],
    ids=["lost", "stale", "made twice", "deleted twice", "the earlier user", "from nowhere", "of nobody", "phantom"],
)
def test_what_no_register_answers_is_found(steps):
    assert explain(history(*steps))


def test_operations_at_the_same_time_are_ordered_either_way():
    for seen in ("s1", ABSENT):
        assert explain([Operation(CREATE, "s1", 0, 10), Operation(GET, seen, 1, 2)]) is None
    # but not both ways
    reads = [Operation(GET, "s1", 1, 2), Operation(GET, ABSENT, 3, 4)]
    assert explain([Operation(CREATE, "s1", 0, 10), *reads])


def test_what_is_unknown_may_happen_late_or_never():
    there, gone = Operation(GET, "s1", 5, 6), Operation(GET, ABSENT, 3, 4)
    assert explain([unknown(CREATE, 0), gone]) is None
    assert explain([unknown(CREATE, 0), gone, there]) is None
    made = Operation(CREATE, "s1", 0, 1)
    assert explain([made, unknown(DELETE, 2), there]) is None
    assert explain([made, unknown(DELETE, 2), Operation(GET, ABSENT, 7, 8)]) is None


def test_what_is_unknown_happens_once_and_not_before_it_is_asked_for():
    made, read = Operation(CREATE, "s1", 0, 1), Operation(GET, ABSENT, 3, 4)
    assert explain([made, unknown(DELETE, 5), read])
    assert explain([made, unknown(DELETE, 2), read, Operation(GET, "s1", 5, 6)])
    # one deletion without an answer does not explain two absences
    again = [Operation(CREATE, "s2", 5, 6), Operation(GET, ABSENT, 7, 8)]
    assert explain([made, unknown(DELETE, 2), read, *again])


def run(seed, clients=5, operations=60, delayed=0.0):
    """A history of a register that answers at a random moment of each call, or of one with `delayed` replicas.

    Reads of the latter come from a copy that is behind by up to this time.
    """
    chooser = random.Random(seed)
    calls = []
    for client in range(clients):
        now = chooser.random()
        for _ in range(operations // clients):
            start = now + chooser.random()
            end = start + chooser.expovariate(1)
            calls.append((chooser.uniform(start, end), start, end, client))
            now = end
    state, done, past, subs = None, [], [(-math.inf, None)], 0
    for point, start, end, client in sorted(calls):
        kind = chooser.choice([CREATE, DELETE, GET, GET])
        if kind == GET:
            behind = point - chooser.random() * delayed
            result = next(value for when, value in reversed(past) if when <= behind) or ABSENT
        elif kind == CREATE and state is None:
            subs += 1
            state = result = f"s{subs}"
        elif kind == CREATE:
            result = EXISTS
        else:
            state, result = None, DELETED if state else ABSENT
        if kind != GET:
            past.append((point, state))
        if chooser.random() < 0.1:
            result, end = UNKNOWN, math.inf
        done.append(Operation(kind, result, start, end, f"client {client}"))
    return done


def test_every_history_of_a_real_register_is_accepted():
    for seed in range(100):
        assert explain(run(seed)) is None, f"seed {seed}"


def test_a_register_with_stale_reads_is_found():
    caught = sum(explain(run(seed, delayed=6.0)) is not None for seed in range(50))
    assert caught >= 45, f"only {caught} of 50"


def test_one_stale_read_in_a_long_history_is_found():
    """Of histories that are right, one read is made to answer what the register held before the last change."""
    for seed in range(20):
        # clients one after the other, so that there is no doubt about the order
        right = [dataclasses.replace(o, end=o.start + 1e-9) for o in run(seed, clients=1) if not o.unknown]
        right = sequential(right)
        assert explain(right) is None
        reads = [i for i, o in enumerate(right) if o.kind == GET and o.result != ABSENT]
        if not reads:
            continue
        at = random.Random(seed).choice(reads)
        stale = dataclasses.replace(right[at], result=ABSENT)
        assert explain([*right[:at], stale, *right[at + 1 :]]), f"seed {seed}"


def sequential(operations):
    """The same calls by one client, answered by a real register."""
    state, subs, done = None, 0, []
    for o in operations:
        if o.kind == CREATE and state is None:
            subs += 1
            state = result = f"s{subs}"
        elif o.kind == CREATE:
            result = EXISTS
        elif o.kind == DELETE:
            state, result = None, DELETED if state else ABSENT
        else:
            result = state or ABSENT
        done.append(dataclasses.replace(o, result=result))
    return done
