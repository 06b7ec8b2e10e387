"""What the Dockerfile takes for granted. The image itself is built where there is a container engine."""

import re
import subprocess
import tomllib

import pytest
from chart import ROOT
from netns import BINARY

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
# What distroless/cc-debian12 has: a C library, and what compilers add.
IN_THE_IMAGE = {
    "linux-vdso.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1",
    "libstdc++.so.6",
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
}  # fmt: skip


@pytest.mark.skipif(BINARY is None, reason="needs CONCLAVE_BIN")
def test_the_program_is_linked_with_nothing_that_the_image_lacks():
    printed = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].rpartition("/")[2] for line in printed.splitlines()}
    assert names <= IN_THE_IMAGE, names - IN_THE_IMAGE


def test_the_image_is_built_with_the_toolchain_of_the_project():
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    assert re.search(r"^FROM rust:(\S+)-bookworm AS build$", DOCKERFILE, re.MULTILINE)[1] == channel
    assert re.search(r"^ENV RUSTUP_TOOLCHAIN=(\S+)$", DOCKERFILE, re.MULTILINE)[1] == channel


def test_it_runs_as_the_user_of_the_chart_and_has_no_shell():
    (base,) = re.findall(r"^FROM (gcr.io/distroless/\S+)$", DOCKERFILE, re.MULTILINE)
    assert base.endswith(":nonroot") and "USER 65532:65532" in DOCKERFILE
    after = DOCKERFILE[DOCKERFILE.index(base) :]
    assert not re.search(r"^RUN ", after, re.MULTILINE)
    assert (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()[:2] == [".git", ".venv"]
