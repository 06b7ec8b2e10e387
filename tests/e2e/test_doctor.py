"""`conclave doctor`: what is wrong with a configuration, a machine and a cluster, and what to do."""

import json
import re
import shutil

import pytest
from cluster import Cluster, conclave, issue, make_authority
from harness.server import until

pytestmark = pytest.mark.timeout(180)

WELL, NOT_WELL = 0, 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("doctor"), "dead_after_seconds = 600") as cluster:
        issue(cluster.pki, 0, "admin", role="admin")
        examined = lambda: examine(cluster.node(1).config_path)[0] == WELL  # noqa: E731
        until(examined, 60, "nothing is wrong")
        yield cluster


def examine(config):
    """The exit code, and what was found as {about: [(level, what, advice)]}."""
    done = conclave("doctor", "--config", config, "--json")
    document = json.loads(done.stdout)
    found = {}
    for finding in document["findings"]:
        found.setdefault(finding["about"], []).append((finding["level"], finding["what"], finding["advice"]))
    assert document["well"] == (done.returncode == WELL), done
    return done.returncode, found


def wrong(found, about):
    return [(level, what, advice) for level, what, advice in found.get(about, []) if level != "ok"]


def edited(cluster, tmp_path, edit):
    """The configuration of the first node, changed."""
    path = tmp_path / "conclave.toml"
    path.write_text(edit(cluster.node(1).config_path.read_text()))
    return path


def test_a_cluster_that_works_has_no_errors(cluster):
    code, found = examine(cluster.node(1).config_path)
    assert code == WELL
    for about in ("configuration", "certificates", "data", "ports", "peers", "cluster"):
        assert not [what for level, what, _ in found[about] if level == "error"], found[about]
    assert any("all is well" in what for _, what, _ in found["cluster"])
    # what works and may not go on is a warning, with what to do about it
    [(level, _, advice)] = wrong(found, "backup")
    assert level == "warning" and "conclave backup keygen" in advice
    text = conclave("doctor", "--config", cluster.node(1).config_path)
    assert text.returncode == WELL and re.search(r"^warning  backup: .*\n {9}-> ", text.stdout, re.MULTILINE)


def test_what_is_wrong_with_the_configuration_is_named_with_its_line(cluster, tmp_path):
    for edit, line, named in [
        (lambda text: text.replace("node_id = 1", "node_idd = 1", 1), 2, "node_idd"),
        (lambda text: "replication_factor = 2\n" + text, 1, "replication_factor is not odd"),
        (lambda text: text.replace("pool_groups = 3", 'pool_groups = "x"'), 4, "pool_groups"),
        (lambda text: text + "\n[snapshots]\nentries = 0\n", None, "snapshots.entries is 0"),
    ]:
        path = edited(cluster, tmp_path, edit)
        code, found = examine(path)
        assert code == NOT_WELL
        [(level, what, advice)] = found["configuration"]
        assert level == "error" and named in what and advice, what
        if line is None:
            line = len(path.read_text().splitlines())
        assert f"line {line}" in what, what
    code, found = examine(tmp_path / "nothing.toml")
    assert code == NOT_WELL and "cannot read" in found["configuration"][0][1]


def test_keys_and_certificates_that_cannot_be_used_are_named(cluster, tmp_path):
    kek = re.compile(r"file = .*kek\"")
    gone = edited(cluster, tmp_path, lambda text: kek.sub(f'file = "{tmp_path}/kek"', text))
    code, found = examine(gone)
    [(level, what, _)] = wrong(found, "kek")
    assert (code, level) == (NOT_WELL, "error") and "kek" in what
    (tmp_path / "kek").write_text("no key")
    assert examine(gone)[0] == NOT_WELL
    shutil.copy(cluster.kek, tmp_path / "kek")
    (tmp_path / "kek").chmod(0o644)
    code, found = examine(gone)
    [(level, what, advice)] = wrong(found, "kek")
    assert (code, level, advice) == (WELL, "warning", f"chmod o= {tmp_path}/kek"), what

    # of another node, of another cluster, of another authority
    other = tmp_path / "pki"
    make_authority(other, "other")
    issue(other, 1, "node-1", "other")
    for directory, name, named in [(cluster.pki, "node-2", "/node/2"), (other, "node-1", "conclave://other/")]:
        path = edited(
            cluster,
            tmp_path,
            lambda text, d=directory, n=name: text.replace(str(cluster.node(1).tls["certificate"]), f"{d}/{n}.pem")
            .replace(str(cluster.node(1).tls["key"]), f"{d}/{n}-key.pem"),
        )
        code, found = examine(path)
        assert code == NOT_WELL
        [error] = [what for level, what, _ in found["certificates"] if level == "error"]
        assert named in error, error


def test_what_is_missing_around_the_node_is_named(cluster, tmp_path):
    away = edited(cluster, tmp_path, lambda text: text.replace('data_dir = "', 'data_dir = "/nowhere/at/all'))
    code, found = examine(away)
    assert code == NOT_WELL and wrong(found, "data")[0][0] == "error"
    foreign = edited(cluster, tmp_path, lambda text: re.sub(r'public = "[^"]+"', 'public = "192.0.2.1:9229"', text))
    code, found = examine(foreign)
    assert code == NOT_WELL and "192.0.2.1:9229" in wrong(found, "ports")[0][1]

    cluster.node(3).kill()
    try:
        until(lambda: examine(cluster.node(1).config_path)[0] == NOT_WELL, 30, "the missing node is noticed")
        code, found = examine(cluster.node(1).config_path)
        [(level, what, _)] = wrong(found, "peers")
        assert level == "warning" and str(cluster.node(3).internal[1]) in what
        assert any("node 3" in what for _, what, _ in wrong(found, "cluster"))
    finally:
        cluster.node(3).start()
