"""The pages in docs/runbooks, followed to the letter: each block that is marked `on=MACHINE` is run there, as root.

The tests stand in the order of a cluster's life, and each goes on with what the one before has left.
"""

import json
import pathlib
import re
import shutil
import textwrap

import netns
import pytest
from chart import ROOT
from clients import Pool, check
from machines import Site
from netns import Network, open_to_others, run, until

RUNBOOKS = ROOT / "docs" / "runbooks"
MEMBERS = ("node-1", "node-2", "node-3")
DISK_MIB = 400
# Users of the time of the backup.
BACKED_UP = set()

pytestmark = [
    pytest.mark.skipif(not netns.possible(), reason="needs CONCLAVE_BIN, root, network namespaces"),
    pytest.mark.timeout(300),
]


class Block:
    """Commands of a page."""

    def __init__(self, machines, script):
        self.machines, self.script = machines.split(","), textwrap.dedent(script)


def blocks(page):
    text = (RUNBOOKS / page).read_text()
    found = re.findall(r"^( *)```sh on=(\S+)\n(.*?)\n\1```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```sh on="), f"a block of {page} does not end"
    return [Block(machines, script) for _, machines, script in found]


def follow(site, page, part=slice(None)):
    """Runs the blocks of a page, or some of them. What each of them printed."""
    return [site[machine].run(block.script).stdout for block in blocks(page)[part] for machine in block.machines]


def install(site, machine):
    """Step 2 of the installation, to which other pages refer."""
    (step, *_) = [block for block in blocks("install.md") if "systemd-sysusers" in block.script]
    site[machine].run(step.script)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    open_to_others(directory)
    with Network() as network, Site(directory, network) as site:
        for name in MEMBERS:
            site.add(name, disk_mib=DISK_MIB if name == "node-3" else None)
        yield site


@pytest.fixture(scope="module")
def pool(site):
    *_, key = follow(site, "install.md")
    account = site["node-1"].run("conclave account list --config /etc/conclave/conclave.toml").stdout.split()[0]
    return Pool([f"http://{site[name].address}:9229" for name in MEMBERS], account, key)


def is_well(site):
    until(lambda: site.status()[0] == 0, 30, lambda: site.status()[1])


def test_install(site, pool):
    user = pool.make_user()
    for number in (1, 2, 3):
        assert pool.sign_in(user, via=number)["AccessToken"]
    is_well(site)
    # the service's user reads its certificate and its credential, and not the file of the key-encryption key
    read = site["node-1"].run(
        "setpriv --reuid=conclave --regid=conclave --clear-groups cat /etc/conclave/kek", check=False
    )
    assert read.returncode != 0


def test_upgrade(site, pool, capsys):
    before = [site[name].process() for name in MEMBERS]
    with pool.load() as load:
        follow(site, "upgrade.md")
    assert not {site[name].process() for name in MEMBERS} & set(before)
    check(load, capsys, "upgraded")


def test_rotate_encryption_keys(site, pool, capsys):
    for name in MEMBERS:
        site[name].run("sed -i 's/^# previous_files/for_tests = true\\nsettle_seconds = 5\\nkeep_seconds = 5\\n&/' /etc/conclave/conclave.toml")
        site[name].run("systemctl restart conclave")
        until(lambda name=name: site[name].ready, 60, f"{name} is ready")
    is_well(site)
    status = "conclave keys status --json"
    (before,) = json.loads(site["admin"].run(status).stdout)["keys"]
    user = pool.make_user()
    with pool.load() as load:
        follow(site, "rotate-encryption-keys.md")
    check(load, capsys, "another key-encryption key, cluster key and keys of pools")
    (after,) = json.loads(site["admin"].run(status).stdout)["keys"]
    assert after["wrapped_by"] != before["wrapped_by"] and after["version"] == before["version"] + 1
    assert json.loads(site["admin"].run(status).stdout)["last_resealed_ms"]
    assert pool.sign_in(user)["AccessToken"]
    assert site["node-1"].run("ls /etc/conclave").stdout.split() == ["conclave.toml", "kek", "pki"]
    is_well(site)


def test_back_up(site, pool, capsys):
    BACKED_UP.update(pool.make_user() for _ in range(3))
    with pool.load() as load:
        follow(site, "back-up.md")
    check(load, capsys, "backed up")
    is_well(site)


# Another cluster, of one node, as somebody else has it.
PREPARE_OTHER = """
umask 077
conclave pki init --dir other-pki --cluster-id other
conclave pki issue --dir other-pki --cluster-id other --node-id 1 --name node-1 --host other-1.example.com
openssl rand -hex 32 > other-kek
mkdir -p other && cp other-kek other/kek
sed 's/^cluster_id = .*/cluster_id = "other"/; /node_id = [23], address/d; s/node-1.example.com/other-1.example.com/' \\
  deploy/conclave.toml > other/node-1.toml
scp conclave deploy/conclave.service deploy/conclave.sysusers other/kek other-pki/ca.pem other/node-1.toml \\
  other-pki/node-1.pem other-pki/node-1-key.pem root@other-1.example.com:
"""
MAKE_ACCOUNT = """
account=$(conclave account create --config /etc/conclave/conclave.toml --name theirs)
echo $account
conclave credentials create --config /etc/conclave/conclave.toml --account $account --user admin
"""


def test_move_a_pool(site, pool, capsys):
    """Into a cluster that has nothing in common with the one where it is. The clients of other pools notice nothing."""
    other = site.add("other-1")
    site["admin"].run(PREPARE_OTHER)
    install(site, "other-1")
    until(lambda: other.ready, 60, "the other cluster is ready")
    account, *key = other.run(MAKE_ACCOUNT).stdout.splitlines()
    moving = pool.another()
    user = moving.make_user()
    before = moving.sign_in(user)["AccessToken"]
    with pool.load(threads=1) as load:  # for more than two minutes
        for block in blocks("move-a-pool.md"):
            for machine in block.machines:
                site[machine].run(f"POOL={moving.id} ACCOUNT={account}\n{block.script}")
    check(load, capsys, "another pool frozen and exported")
    with pytest.raises(pool.client().exceptions.ClientError, match="being moved"):
        moving.sign_in(user, via=2)
    there = moving.at([f"http://{other.address}:9229"], key="\n".join(key))
    tokens = there.sign_in(user)
    assert there.client().get_user(AccessToken=tokens["AccessToken"])["Username"] == user
    with pytest.raises(there.client().exceptions.NotAuthorizedException):
        there.client().get_user(AccessToken=before)
    described = there.client().describe_user_pool(UserPoolId=moving.id)["UserPool"]
    assert f":{account}:userpool/{moving.id}" in described["Arn"]
    there.make_user()
    left = set(other.run("ls").stdout.split())
    assert not left & {"moves", "moves.tar", "backup-identity", "exported"}, left
    pool.client().delete_user_pool(UserPoolId=moving.id)
    site.machines.pop("other-1").switch_off()
    site.update_names()
    is_well(site)


def expiry(machine):
    pattern = r'^conclave_certificate_expiry_timestamp_seconds\{certificate="internal"\} (\d+)'
    return int(re.search(pattern, machine.get("/metrics")[1], re.MULTILINE)[1])


def test_replace_certificates(site, pool, capsys):
    before = {name: (site[name].process(), expiry(site[name])) for name in MEMBERS}
    page = blocks("replace-certificates.md")
    with pool.load() as load:
        follow(site, "replace-certificates.md", slice(0, 3))
        until(lambda: expiry(site["node-1"]) > before["node-1"][1], 20, "node 1 has the new certificate")
        follow(site, "replace-certificates.md", slice(3, len(page)))
        until(lambda: all(expiry(site[name]) > before[name][1] for name in MEMBERS), 20, "all have new certificates")
    check(load, capsys, "another authority")
    assert {name: site[name].process() for name in MEMBERS} == {name: pid for name, (pid, _) in before.items()}
    # the old administrator's certificate is good for nothing any more
    old = "CONCLAVE_CERTIFICATE=replaced/pki/admin.pem CONCLAVE_KEY=replaced/pki/admin-key.pem conclave status"
    assert site["admin"].run(old, check=False).returncode != 0
    for name in MEMBERS:
        assert 'conclave_certificate_reloads_refused_total{port="internal"} 0' in site[name].get("/metrics")[1]


def test_rotate_signing_keys(site, pool, capsys):
    quick = "s/^publish_seconds = .*/publish_seconds = 2/; s/^check_seconds = .*/check_seconds = 1/"
    for name in MEMBERS:
        site[name].run(f"sed -i '{quick}' /etc/conclave/conclave.toml && systemctl restart conclave")
        until(lambda name=name: site[name].ready, 60, f"{name} is ready")
    listed = f"conclave keys list --pool {pool.id}"
    until(lambda: site["admin"].run(listed).stdout.count("PENDING") == 2, 60, "there are spares")
    user = pool.make_user()
    before = pool.sign_in(user, via=1)
    with pool.load() as load:
        (*_, last) = [site["admin"].run(f"POOL={pool.id}\n{b.script}").stdout for b in blocks("rotate-signing-keys.md")]
    check(load, capsys, "rotated and revoked")
    states = [line.split()[:2] for line in last.splitlines() if line.startswith(("id ", "access "))]
    expected = [["ACTIVE", "PENDING", "RETIRING"], ["ACTIVE", "PENDING", "RETIRING", "REVOKED"]]
    assert states == [[use, state] for use, of in zip(("id", "access"), expected, strict=True) for state in of]
    # a token of before the revocation is good for nothing, and the session goes on
    with pytest.raises(pool.client().exceptions.NotAuthorizedException):
        pool.client(2).get_user(AccessToken=before["AccessToken"])
    assert pool.sign_in(user, via=3)["AccessToken"]


def test_grow_and_shrink(site, pool, capsys):
    site.add("node-4")
    started = False
    with pool.load() as load:
        for block in blocks("grow.md"):
            if "node-4" in block.machines and not started:
                install(site, "node-4")
                started = True
            if "drain 4" in block.script:
                until(lambda: site.node_states()[4]["groups"], 60, "the new node has groups")
            for machine in block.machines:
                site[machine].run(block.script)
    check(load, capsys, "3 -> 4 -> 3 nodes")
    assert site.node_states()[4]["state"] == "removed"
    is_well(site)


def test_disk_full(site, pool, capsys):
    (see, grow, last) = blocks("disk-full.md")
    node = site["node-3"]
    with pool.load(through=[1, 2]) as load:
        free = int(node.run("df --output=avail -B1 /var/lib/conclave | tail -1").stdout)
        node.run(f"fallocate -l {free - DISK_MIB * 2**20 * 3 // 100} /var/lib/conclave/something")
        until(lambda: node.get("/readyz")[0] == 503, 30, "the node notices")
        said = node.run(see.script).stdout
        assert "the disk is nearly full" in said and "/something" in said, said
        node.run(grow.script)
        site["admin"].run(last.script)
    check(load, capsys, "a full disk")
    node.run("rm /var/lib/conclave/something")


def test_lose_a_quorum(site, pool):
    user = pool.make_user()
    for name in ("node-2", "node-3"):
        site[name].run("systemctl stop conclave")
    until(lambda: not site["node-1"].ready, 30, "nobody is ready without a quorum")
    see, alone, second, third, last = blocks("lose-a-quorum.md")
    done = site["admin"].run(see.script)
    said = done.stdout + done.stderr
    assert "the directory does not answer" in said and "1 2! 3!" in said, said
    alone = site["node-1"].run(alone.script).stdout
    assert alone.startswith("ok\n") and "not ready: " in alone, alone
    # the second machine is another one, with the disk of the first
    site["node-2"].switch_off()
    site["node-2"].switch_on()
    site["node-2"].run(second.script)
    until(lambda: site["node-1"].ready, 30, "and with it the first one")
    assert pool.sign_in(user)["AccessToken"]
    site["node-3"].run(third.script)
    site["admin"].run(last.script)


def test_replace_a_node(site, pool, capsys):
    is_well(site)
    lost = site.machines.pop("node-2")
    lost.switch_off()
    shutil.rmtree(lost.root / "var/lib/conclave")
    site.update_names()
    site.add("node-5")
    started = False
    with pool.load(through=[1, 3]) as load:
        for block in blocks("replace-a-node.md"):
            if "node-5" in block.machines and not started:
                install(site, "node-5")
                started = True
            for machine in block.machines:
                site[machine].run(block.script)
    check(load, capsys, "replaced")
    states = site.node_states()
    assert states[2]["state"] == "removed" and states[5]["state"] == "active", states
    is_well(site)


def test_a_node_that_has_lost_its_data_does_not_come_back_under_its_number(site, pool):
    """What the page says of it."""
    node = site["node-3"]
    node.run("systemctl stop conclave; find /var/lib/conclave -mindepth 1 -delete; systemctl start conclave")
    until(lambda: node.process() is None, 60, "it ends")
    assert "new node id" in node.log, node.log[-2_000:]
    until(lambda: site["node-1"].ready, 30, "the others go on")
    assert run("curl", "-s", f"http://{site['node-1'].address}:9000/livez").stdout == "ok\n"


def test_restore(site, pool, capsys):
    """From what was backed up at the beginning, before nodes came and went."""
    later = pool.make_user()
    for machine in site.nodes:
        machine.run("systemctl stop conclave", check=False)
    names = ("new-1", "new-2", "new-3")
    for name in names:
        site.add(name)
    follow(site, "restore.md")
    new = pool.at([f"http://{site[name].address}:9229" for name in names])
    assert BACKED_UP and BACKED_UP <= set(new.names()) and later not in new.names()
    for via, user in zip([1, 2, 3], sorted(BACKED_UP), strict=False):
        assert new.sign_in(user, via=via)["AccessToken"]
    with new.load() as load:
        new.make_user()
    check(load, capsys, "restored")
    left = set(site["new-1"].run("ls").stdout.split())
    assert not left & {"backups", "backups.tar", "backup-identity", "kek", "new-kek"}, left


def test_every_page_is_followed():
    followed = re.findall(r'"([a-z-]+\.md)"', pathlib.Path(__file__).read_text())
    pages = {path.name for path in RUNBOOKS.glob("*.md") if "```sh on=" in path.read_text()}
    assert pages == set(followed) & pages
