"""The commands of the chart's README, run as they stand."""

import pathlib
import subprocess

from chart import CHART
from netns import BINARY

README = (CHART / "README.md").read_text()

KUBECTL = """#!/bin/sh
# keeps what `kubectl create secret generic NAME --from-file=KEY=FILE` would
set -e
while [ "$1" = -n ]; do shift 2; done
[ "$1 $2" != "create namespace" ] || exit 0
[ "$1 $2 $3" = "create secret generic" ]
mkdir -p "$SECRETS/$4"; name=$4; shift 4
for option; do
    file=${option#--from-file=}; key=${file%%=*}; file=${file#*=}
    cp "$file" "$SECRETS/$name/${key##*/}"
done
"""


def commands(text, begins):
    """A block of commands of a page, from its first line on."""
    lines = text[text.index(begins) :].splitlines()
    text_from = text.rindex("\n", 0, text.index(begins)) + 1
    indent = len(text[text_from : text.index(begins)])
    block = [lines[0]]
    for line in lines[1:]:
        if line.strip() and not line.startswith(" " * indent):
            break
        block.append(line[indent:])
    return "\n".join(block)


def shell(directory, script):
    """Runs commands of a page, with a kubectl that keeps secrets as files."""
    tools = directory / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "kubectl").write_text(KUBECTL)
    (tools / "kubectl").chmod(0o755)
    if not (tools / "conclave").exists():
        (tools / "conclave").symlink_to(pathlib.Path(BINARY).resolve())
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "SECRETS": str(directory / "secrets")}
    subprocess.run(["bash", "-ec", script], cwd=directory, env=environment, check=True, timeout=60)


def secrets(directory):
    return {
        secret.name: {path.name: path.read_bytes() for path in secret.iterdir()}
        for secret in (directory / "secrets").iterdir()
    }
