"""Whether the tests catch what they are for: each must fail on a build with a bug put in on purpose.

    make test-seeded                # all bugs
    make test-seeded BUGS=M3,M7     # some

The bugs are listed in `crates/fault/src/lib.rs`. One build has all of them, and CONCLAVE_SEEDED_BUG chooses one; without it the
same tests must pass on the same build. Not part of the main run, since the workspace is built once more.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

from harness.server import ROOT, binary

HERE = pathlib.Path(__file__).parent
FEATURES = ["--features", "conclave/failpoints"]
SECONDS_MAX = 900


@dataclasses.dataclass
class Rust:
    """A test of the workspace: the target that it is in, its name, and a part of what it says when it fails."""

    target: str
    name: str
    text: str

    def run(self, build, bug):
        """Returns whether it passed, and what it said."""
        command = [build.executables[self.target], "--exact", self.name, "--nocapture"]
        done = subprocess.run(
            command, env=environment(bug), capture_output=True, text=True, errors="replace", timeout=SECONDS_MAX
        )
        output = done.stdout + done.stderr
        assert "running 1 test" in output, f"there is no test {self.name} in {self.target}"
        return done.returncode == 0, output


@dataclasses.dataclass
class EndToEnd:
    """A test with the built binary."""

    file: str
    name: str
    text: str

    def run(self, build, bug):
        with tempfile.TemporaryDirectory() as directory:
            report = pathlib.Path(directory) / "report.xml"
            command = [sys.executable, "-m", "pytest", self.file, "-q", "-p", "no:cacheprovider"]
            command += ["-k", self.name, f"--junitxml={report}"]
            variables = {"CONCLAVE_BIN": build.binary, "CONCLAVE_FAILPOINTS_BIN": build.binary}
            done = subprocess.run(
                command, cwd=HERE, env={**environment(bug), **variables}, capture_output=True, text=True
            )
            cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
        assert cases, f"there is no test {self.name} in {self.file}:\n{done.stdout}"
        skipped = [case.find("skipped").get("message") for case in cases if case.find("skipped") is not None]
        assert not skipped, f"{self.name} was skipped: {skipped}"
        return done.returncode == 0, done.stdout


def environment(bug):
    variables = {k: v for k, v in os.environ.items() if k not in ("CONCLAVE_SEEDED_BUG", "CONCLAVE_FAILPOINTS")}
    return {**variables, "CONCLAVE_SEEDED_BUG": bug} if bug else variables


ONE_NODE = "test_durability.py"
THREE_NODES = "test_durability_cluster.py"
POINTS = "test_failpoints.py"

# The number in docs/seeded-bugs.md, the bug's name, and the tests that must fail with it.
BUGS = {
    "M1": (
        "ack-before-sync",
        [
            EndToEnd(ONE_NODE, "test_no_write_is_acknowledged_before_its_sync", "acknowledged before a sync could end"),
            EndToEnd(THREE_NODES, "test_an_entry_counts_only_where_it_is_on_disk", "DID NOT RAISE"),
            EndToEnd(ONE_NODE, "test_power_cuts_while_syncs_are_slow_lose_nothing", "acknowledged"),
        ],
    ),
    "M2": (
        "unsynced-vote",
        [
            EndToEnd(
                THREE_NODES,
                "test_a_vote_is_given_only_when_it_is_on_disk",
                "a leader was elected with a vote that is not on disk",
            )
        ],
    ),
    "M3": (
        "applied-apart",
        [
            Rust(
                "conclave_shard",
                "state_db::tests::a_copy_made_at_any_moment_is_the_state_after_some_entry",
                "a state between two entries",
            )
        ],
    ),
    "M4": ("follower-read", [Rust("shard", "cluster::only_the_leader_answers", "left: true")]),
    "M5": ("wall-clock-lease", [Rust("shard", "cluster::without_a_quorum_nothing_is_answered", "Ok(")]),
    "M6": (
        "ack-before-quorum",
        [EndToEnd(THREE_NODES, "test_an_entry_counts_only_where_it_is_on_disk", "DID NOT RAISE")],
    ),
    "M7": ("purge-before-mark", [EndToEnd(POINTS, "purge.after_batch", "before it was ready")]),
    "M8": ("clock-in-apply", [Rust("shard", "cluster::replicas_have_the_same_history", "histories differ")]),
    "M9": (
        "read-then-write",
        [
            Rust(
                "conclave_identity",
                "users::confirm_sign_up::tests::of_two_confirmations_at_once_one_wins",
                "panicked",
            )
        ],
    ),
    "M10": (
        "attempts-in-the-gateway",
        [
            Rust(
                "conclave_identity",
                "auth::tests::lockout::failures_through_all_gateways_count_together",
                "panicked",
            )
        ],
    ),
    "M11": (
        "retiring-key-dropped",
        [
            Rust(
                "conclave_identity",
                "auth::tests::signing_keys::tokens_of_a_key_are_good_until_it_is_removed",
                "panicked",
            )
        ],
    ),
    "M12": (
        "ids-ignored",
        [
            Rust(
                "network",
                "the_routing_client_is_linearizable_whatever_the_network_and_the_nodes_do",
                "no order explains",
            )
        ],
    ),
    "M13": (
        "snapshot-renamed-before-sync",
        [EndToEnd(POINTS, "test_a_power_cut_right_after_a_snapshot", "before it was ready")],
    ),
    "M14": ("any-incarnation", [Rust("shard", "cluster::a_node_that_has_lost_its_data_is_kept_out", "in time")]),
}


class Build:
    """The workspace with all bugs, none of them chosen."""

    def __init__(self, directory):
        print("building with fault points", flush=True)
        cargo("build", "--workspace", "--locked", *FEATURES)
        self.binary = str(directory / "conclave")
        shutil.copy2(binary(), self.binary)
        messages = cargo("test", "--workspace", "--locked", *FEATURES, "--no-run", "--message-format=json")
        self.executables = {}
        for line in messages.splitlines():
            message = json.loads(line)
            if message.get("executable") and message["profile"]["test"]:
                self.executables[message["target"]["name"]] = message["executable"]
        # others may be using the plain binary, which stands at the same place
        cargo("build", "--workspace", "--locked")


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"cargo {' '.join(arguments)} failed")
    return done.stdout


def evidence(test, output):
    """The line that shows the failure; a simulation says its seed there."""
    lines = [line.strip() for line in output.splitlines()]
    seeds = [line for line in lines if line.startswith("seed ")]
    found = seeds or [line for line in lines if test.text in line]
    return found[0].removeprefix("E").strip()[:110] if found else "?"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bugs", nargs="?", default="", help="M1,M2,...; all when there are none")
    chosen = parser.parse_args().bugs
    numbers = [number for number in chosen.split(",") if number] or list(BUGS)
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as directory:
        build = Build(pathlib.Path(directory))
        controls = set()
        for number in numbers:
            bug, tests = BUGS[number]
            for test in tests:
                passed, output = test.run(build, bug)
                caught = not passed and test.text in output
                what = evidence(test, output) if caught else output[-1500:]
                print("caught" if caught else "MISSED", number, bug, "by", test.name, "|", what, flush=True)
                rows.append((number, bug, test.name, what if caught else "MISSED"))
                if not caught:
                    wrong.append(f"{number} {test.name}")
                if test.name not in controls:
                    controls.add(test.name)
                    passed, output = test.run(build, None)
                    if not passed:
                        print("FAILS WITHOUT THE BUG", test.name, output[-1500:], flush=True)
                        wrong.append(f"{test.name} fails without a bug")
    print("\n| bug | name | caught by | with |\n| --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    print(f"\n{len(wrong)} wrong: {wrong}" if wrong else "\nall caught, and all tests pass without a bug")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
