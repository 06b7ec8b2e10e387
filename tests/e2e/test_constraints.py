"""Every constraint of the inputs that are built, broken one at a time: the exception and its text."""

import re

import pytest

from harness import constraints, wire

BREAKS = list(constraints.breaks())


@pytest.mark.parametrize("broken", BREAKS, ids=str)
def test_a_broken_constraint_is_named(server, broken):
    answer = wire.call(server, broken.operation, broken.body)
    assert (answer.status, answer.error) == (400, "InvalidParameterException")
    count = re.match(r"(\d+) validation errors? detected: Value", answer.message)
    assert count, answer.message
    assert answer.message.count("failed to satisfy constraint: ") == int(count[1])
    assert broken.text in answer.message
    part = getattr(broken.text, "part", None)
    assert part is None or part in answer.message


def test_the_model_gives_enough_to_break():
    assert {b.operation for b in BREAKS} == set(constraints.OPERATIONS)
    assert len(BREAKS) > 300


def test_all_violations_are_told_at_once(server):
    answer = wire.call(server, "SignUp", {"ClientId": "not-a-client", "SecretHash": ""})
    assert answer.error == "InvalidParameterException"
    assert answer.message.startswith("4 validation errors detected: ")
    for path in ("clientId", "secretHash", "username"):
        assert f" at '{path}' failed" in answer.message


def test_a_secret_is_not_repeated(server):
    answer = wire.call(server, "SignUp", {"ClientId": "a", "Username": "b", "Password": " secret-with-space"})
    assert "Value at 'password' failed to satisfy constraint" in answer.message
    assert "secret-with-space" not in answer.message
