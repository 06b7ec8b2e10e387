"""Whether the durability tests catch what they are for: they must fail on binaries with bugs put in on purpose.

    make test-seeded

Each bug is a cargo feature. Its binary is built into the same target directory and copied away. Not part of the main
run, since it needs two builds more.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

from harness.server import ROOT, binary

HERE = pathlib.Path(__file__).parent
FILES = ["test_durability.py", "test_durability_cluster.py"]

# The bug, and the tests that must fail with it, each with a part of what it then says.
BUGS = {
    "seeded-bug-ack-before-sync": {
        "test_no_write_is_acknowledged_before_its_sync": "acknowledged before a sync could end",
        "test_an_entry_counts_only_where_it_is_on_disk": "DID NOT RAISE",
        "test_power_cuts_while_syncs_are_slow_lose_nothing": "acknowledged",
    },
    "seeded-bug-unsynced-vote": {
        "test_a_vote_is_given_only_when_it_is_on_disk": "a leader was elected with a vote that is not on disk",
    },
}


def build(*features):
    """Builds the binary; the options are those of `make build` but for the feature, so that little is built again."""
    command = ["cargo", "build", "--package", "conclave", "--locked"]
    if features:
        command += ["--features", ",".join(features)]
    print("$", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def run_tests(names, conclave, report):
    """Runs tests on a binary. Returns for each whether it `passed`, `failed`, or what else, and its message."""
    command = [sys.executable, "-m", "pytest", *FILES, "-q", "-p", "no:cacheprovider"]
    command += ["-k", " or ".join(names), f"--junitxml={report}"]
    done = subprocess.run(
        command, cwd=HERE, env={**os.environ, "CONCLAVE_BIN": str(conclave)}, capture_output=True, text=True
    )
    results = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        outcome = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        name = case.get("name").split("[")[0]
        results[name] = ("passed", "") if outcome is None else (outcome.tag, outcome.get("message") or "")
    if not results:
        raise RuntimeError(done.stdout + done.stderr)
    return results


def build_seeded(bug, conclave):
    """The plain binary is back at its place at once: others may be using it."""
    try:
        build(bug)
        shutil.copy2(binary(), conclave)
    finally:
        build()


def main():
    missed = []
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        for bug in BUGS:
            build_seeded(bug, directory / bug)
        for bug, tests in BUGS.items():
            results = run_tests(tests, directory / bug, directory / f"{bug}.xml")
            for test, text in tests.items():
                outcome, message = results.get(test, ("not run", ""))
                caught = outcome == "failure" and text in message
                print("caught" if caught else "MISSED", bug, "by", test, outcome, repr(message[:160]), flush=True)
                if not caught:
                    missed.append(test)
    print(f"{len(missed)} missed" if missed else "all caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
