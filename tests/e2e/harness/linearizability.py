"""Is there an order of the operations on one user that explains every answer?

The user is a register: absent, or there under one `sub`. Operations are ordered between their call and their answer
(Wing and Gong's search, with Lowe's memory of the configurations that have been seen). An operation without an answer
may have been carried out at any later time, or never.
"""

import dataclasses
import math

CREATE, DELETE, GET = "create", "delete", "get"
# What a call came to. A user who is there is answered with the `sub`.
ABSENT, EXISTS, DELETED, UNKNOWN = "absent", "exists", "deleted", "unknown"

CONFIGURATIONS_MAX = 500_000


@dataclasses.dataclass(frozen=True)
class Operation:
    """One call: `result` is a sub, or one of the words above; `end` is infinite for UNKNOWN."""

    kind: str
    result: str
    start: float
    end: float
    by: str = ""

    @property
    def unknown(self):
        return self.result == UNKNOWN


class Undecided(Exception):
    """The search has become too large."""


def unknown(kind, start, by=""):
    return Operation(kind, UNKNOWN, start, math.inf, by)


def _apply(operation, index, state, known_subs):
    """The register afterwards, as a tuple of one; None when the answer does not fit the register.

    A user made by a call without an answer has a sub that nobody was told: the index stands for it until it is read.
    """
    kind, result = operation.kind, operation.result
    if kind == CREATE:
        if result == EXISTS:
            return (state,) if state is not None else None
        return (index if operation.unknown else result,) if state is None else None
    if kind == DELETE:
        if result == ABSENT:
            return (state,) if state is None else None
        return (None,) if state is not None else None
    if result == ABSENT:
        return (state,) if state is None else None
    if isinstance(state, int) and result not in known_subs:
        return (result,)
    return (state,) if state == result else None


def explain(operations):
    """None when the history is linearizable; else what could not be placed after the longest order that was found."""
    # a read without an answer says nothing
    operations = sorted((o for o in operations if not (o.kind == GET and o.unknown)), key=lambda o: o.start)
    known_subs = {o.result for o in operations if o.kind == CREATE}
    must = sum(1 << i for i, o in enumerate(operations) if not o.unknown)
    seen = set()
    best, best_state = 0, None
    # depth first; a configuration is who has been placed, and the register
    stack = [(0, None)]
    while stack:
        placed, state = stack.pop()
        if placed & must == must:
            return None
        if (placed, state) in seen:
            continue
        seen.add((placed, state))
        if len(seen) > CONFIGURATIONS_MAX:
            raise Undecided(f"{len(operations)} operations")
        if (placed & must).bit_count() >= (best & must).bit_count():
            best, best_state = placed, state
        rest = [i for i in range(len(operations)) if not placed >> i & 1]
        horizon = min(operations[i].end for i in rest)
        # what has no answer comes last on the stack's way: it is tried when nothing else explains the rest
        for i in sorted(rest, key=lambda i: (not operations[i].unknown, -operations[i].end)):
            if operations[i].start <= horizon:
                after = _apply(operations[i], i, state, known_subs)
                if after is not None:
                    stack.append((placed | 1 << i, after[0]))
    left = [o for i, o in enumerate(operations) if not best >> i & 1 and not o.unknown]
    lines = [f"  {o.start:.4f}..{o.end:.4f} {o.by} {o.kind} -> {o.result}" for o in operations]
    return f"nothing explains {left[:3]} when the register is {best_state!r}; all:\n" + "\n".join(lines)
