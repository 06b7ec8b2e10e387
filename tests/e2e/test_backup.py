"""Backups of a cluster under load, and new clusters made of them: F29 of the faults that a cluster survives."""

import hashlib
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import time

import jwt
import pyrage
import pytest
import requests
from cluster import POOL_GROUPS, Cluster, ClusterPool, Load, Node, conclave, fixed_ports, issue, must
from harness import s3
from harness.cognito import NEW_PASSWORD, refused
from harness.server import binary, until

pytestmark = pytest.mark.timeout(300)

DONE, FAILED, USAGE = 0, 1, 2
REVOKED = "Access Token has been revoked"
# Users of the cluster whose figures are taken.
USERS = int(os.environ.get("CONCLAVE_BACKUP_USERS", "2000"))


class Keys:
    """An offline identity, as `conclave backup keygen` makes it."""

    def __init__(self, path):
        self.path = path
        self.recipient = must(conclave("backup", "keygen", path))
        self.secret = re.search(r"^AGE-SECRET-KEY-1\S+$", path.read_text(), re.MULTILINE)[0]

    @property
    def table(self):
        return f'\n[backup]\nrecipients = ["{self.recipient}"]\n'


class Backed(Cluster):
    """A cluster whose backups are for the holder of `keys`, with a certificate of an administrator."""

    def __init__(self, directory, keys, **settings):
        super().__init__(directory, tables=keys.table if keys else "", **settings)
        self.administrator = issue(self.pki, 0, "admin", self.cluster_id, role="admin")

    def back_up(self, destination, *more, environment=None, via=1):
        arguments = ["backup", destination, "--config", self.node(via).config_path, "--json", *more]
        return run(*arguments, environment=environment)


class Restored(Backed):
    """The first node of a new cluster, which has not been started."""

    def __init__(self, directory, keys, cluster_id="restored", **settings):
        super().__init__(directory, keys, cluster_id=cluster_id, numbers=(1,), **settings)

    def restore(self, destination, keys, *more, environment=None):
        arguments = ["restore", destination, "--config", self.node(1).config_path, "--identity", keys.path, *more]
        return run(*arguments, environment=environment)

    def start_all(self):
        """The others are started first, as the runbook says, and wait for the one that has been restored."""
        first = self.node(1)
        for number in (2, 3):
            node = Node(
                self.directory / f"node-{number}",
                number,
                fixed_ports(3),
                {1: first.internal[1]},
                self._issue(number, number),
                self.kek,
                self.cluster_id,
                join=True,
                pool_groups=self.pool_groups,
                tables=self.tables,
            )
            self.nodes.append(node.spawn())
        first.start()

    def wait_grown(self):
        """The others have joined, and have every group."""
        for node in self.nodes[1:]:
            node.wait_ready()

        def complete():
            status = self.status()
            groups = json.loads(must(conclave("groups", "--json", "--config", self.node(1).config_path)))["groups"]
            return status["healthy"] and status["settled"] and all(len(group["voters"]) == 3 for group in groups)

        until(complete, 120, "every group has three voters")


def run(*arguments, environment=None, seconds=120):
    return subprocess.run(
        [binary(), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **(environment or {})},
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("offline") / "identity")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, keys):
    with Backed(tmp_path_factory.mktemp("backed"), keys) as cluster:
        until(lambda: cluster.status()["settled"], 60, "the cluster is settled")
        yield cluster


@pytest.fixture(scope="module")
def pool(cluster):
    return ClusterPool(cluster)


@pytest.fixture(scope="module")
def backup(cluster, pool, tmp_path_factory):
    """A backup in a directory, with one user who can sign in."""
    pool.make_user("ada")
    directory = tmp_path_factory.mktemp("backups")
    made = json.loads(must(cluster.back_up(directory)))
    return directory, made["backup_id"], made["manifest_sha256"]


def restored_cluster(path, keys, cluster, destination, *more, environment=None):
    restored = Restored(path, keys)
    restored.kek.write_text(cluster.kek.read_text())
    must(restored.restore(destination, keys, *more, environment=environment))
    restored.credentials = cluster.credentials
    return restored


def test_a_backup_under_load_becomes_a_cluster_of_three_that_knows_all_and_trusts_no_token_of_before(
    keys, tmp_path, record_property
):
    destination = tmp_path / "backups"
    old = Backed(tmp_path / "old", keys)
    with old:
        pool = ClusterPool(old)
        pool.make_user("ada")
        pool.make_user("eve")
        before = pool.sign_in("ada")
        jwks = requests.get(f"{old.node(1).endpoint}/{pool.id}/.well-known/jwks.json", timeout=5).json()
        locked_out = old.client(1)
        for _ in range(5):
            with refused("NotAuthorizedException"):
                locked_out.initiate_auth(
                    ClientId=pool.app_id,
                    AuthFlow="USER_PASSWORD_AUTH",
                    AuthParameters={"USERNAME": "eve", "PASSWORD": "Wrong-password-1"},
                )
        with Load(pool, threads=3) as load:
            until(lambda: len(load.usable) >= 20, 60, "users have signed up")
            acknowledged = set(load.usable)
            leads = [node.number for node in old.nodes]
            made = json.loads(must(old.back_up(destination, via=leads[-1])))
            after = len(load.usable)
            until(lambda: len(load.usable) > after, 30, "the load goes on")
        assert not load.wrong
        # what happens after the backup is not in it
        old.client(1).revoke_token(Token=before["RefreshToken"], ClientId=pool.app_id)
        old.client(1).admin_set_user_password(
            UserPoolId=pool.id, Username="ada", Password=NEW_PASSWORD, Permanent=True
        )
        old.check_histories()

    [manifest_path] = destination.glob("*/manifest.json")
    manifest = json.loads(manifest_path.read_text())
    assert manifest["began_ms"] <= manifest["cut_ms"]
    assert [group["group"] for group in manifest["groups"]] == list(range(POOL_GROUPS + 1))
    # nothing of anybody is to be read without the identity
    for file in manifest_path.parent.iterdir():
        content = file.read_bytes()
        for secret in (pool.id, pool.app_id, *sorted(acknowledged)[:3]):
            assert secret.encode() not in content, (file, secret)
    assert made["rows"] == sum(group["rows"] for group in manifest["groups"])

    began = time.monotonic()
    new = restored_cluster(tmp_path / "new", keys, old, destination, "--manifest-sha256", made["manifest_sha256"])
    try:
        restored_after = time.monotonic() - began
        new.start_all()
        serves_after = time.monotonic() - began
        pool.cluster = new
        # codes, sessions and tokens of before are void
        client = new.client(1)
        with refused("NotAuthorizedException", REVOKED):
            client.get_user(AccessToken=before["AccessToken"])
        with refused("NotAuthorizedException"):
            client.initiate_auth(
                ClientId=pool.app_id,
                AuthFlow="REFRESH_TOKEN_AUTH",
                AuthParameters={"REFRESH_TOKEN": before["RefreshToken"]},
            )
        # and others read them as before: the keys are the same
        key = {k["kid"]: k for k in jwks["keys"]}[jwt.get_unverified_header(before["IdToken"])["kid"]]
        now = requests.get(f"{new.node(1).endpoint}/{pool.id}/.well-known/jwks.json", timeout=5).json()
        assert key in now["keys"]
        # the password of the time of the backup
        tokens = pool.sign_in("ada")
        assert client.get_user(AccessToken=tokens["AccessToken"])["Username"] == "ada"
        # failed attempts are not forgotten: one more wrong password locks for longer than the first lock did
        with refused("NotAuthorizedException"):
            client.initiate_auth(
                ClientId=pool.app_id,
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": "eve", "PASSWORD": "Wrong-password-1"},
            )
        with refused("NotAuthorizedException", "Password attempts exceeded"):
            pool.sign_in("eve")
        new.wait_grown()
        grown_after = time.monotonic() - began
        names = pool.names()
        assert acknowledged <= set(names)
        assert len(names) == len(set(names))
        for via, username in zip([1, 2, 3, 1, 2, 3], sorted(acknowledged), strict=False):
            pool.sign_in(username, via=via)
        pool.make_user("grace", via=3)
        new.check_histories()
        # no node of the old cluster is known, and nobody speaks to one
        nodes = json.loads(must(conclave("nodes", "--json", "--config", new.node(1).config_path)))["nodes"]
        assert {node["address"] for node in nodes} == {f"127.0.0.1:{n.internal[1]}" for n in new.nodes}
        # and the new cluster can be backed up in its turn
        again = json.loads(must(new.back_up(tmp_path / "again")))
        must(conclave("backup", "verify", tmp_path / "again", again["backup_id"], "--identity", keys.path))
        for name, value in [("restored", restored_after), ("serves", serves_after), ("grown", grown_after)]:
            record_property(f"seconds_{name}", round(value, 1))
    finally:
        new.kill()


@pytest.mark.timeout(1_800)
def test_a_large_pool_is_back_within_a_minute(keys, tmp_path, record_property, capsys):
    """The figures of F29 in docs/faults.md: CONCLAVE_BACKUP_USERS=100000, and a load of sign-ins meanwhile."""
    with Backed(tmp_path / "old", keys) as old:
        pool = ClusterPool(old)
        old.client(1).update_user_pool(UserPoolId=pool.id, AutoVerifiedAttributes=["email"])
        import_users(pool, USERS)
        with Load(pool, threads=2) as load:
            until(lambda: load.usable, 30, "the load runs")
            before = time.monotonic()
            made = json.loads(must(old.back_up(tmp_path / "backups", "--rate", "0")))
            took = {"backup": time.monotonic() - before}
        assert not load.failures and not load.wrong, load.failures[:3]
    before = time.monotonic()
    must(conclave("backup", "verify", tmp_path / "backups", "--identity", keys.path, seconds=300))
    took["verify"] = time.monotonic() - before
    began = time.monotonic()
    new = restored_cluster(tmp_path / "new", keys, old, tmp_path / "backups")
    try:
        took["restore"] = time.monotonic() - began
        new.start_all()
        took["serving"] = time.monotonic() - began
        pool.cluster = new
        pool.sign_in(sorted(load.usable)[0])
        new.wait_grown()
        took["three voters"] = time.monotonic() - began
        new.check_histories()
        client = new.client(2)
        for number in (0, USERS // 2, USERS - 1):
            found = client.list_users(UserPoolId=pool.id, Filter=f'email = "user{number}@example.com"')["Users"]
            assert [user["Username"] for user in found] == [f"import{number}"]
    finally:
        new.kill()
    figures = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items())
    with capsys.disabled():
        print(f"\n  {USERS} users, {made['rows']} rows, {made['bytes']} bytes: {figures}")
    assert took["serving"] < 60


def import_users(pool, count):
    """Users of a file, as an operator brings them."""
    client = pool.cluster.client(1)
    header = client.get_csv_header(UserPoolId=pool.id)["CSVHeader"]
    role = "arn:aws:iam::123456789012:role/logs"
    job = client.create_user_import_job(UserPoolId=pool.id, JobName="users", CloudWatchLogsRoleArn=role)
    job = job["UserImportJob"]
    lines = [",".join(header)]
    for number in range(count):
        row = {"cognito:username": f"import{number}", "email": f"user{number}@example.com", "email_verified": "true"}
        row |= {"cognito:mfa_enabled": "false", "phone_number_verified": "false", "name": f"User {number}"}
        lines.append(",".join(row.get(column, "") for column in header))
    url = job["PreSignedUrl"].replace("http://login.test", pool.cluster.node(1).endpoint)
    answer = requests.put(url, data="\n".join(lines), headers={"x-amz-server-side-encryption": "aws:kms"}, timeout=300)
    assert answer.status_code == 200, answer.text
    client.start_user_import_job(UserPoolId=pool.id, JobId=job["JobId"])

    def ended():
        described = client.describe_user_import_job(UserPoolId=pool.id, JobId=job["JobId"])["UserImportJob"]
        return described if described["Status"] in ("Succeeded", "Failed", "Stopped") else None

    done = until(ended, 1_200, "the users are imported")
    assert (done["Status"], done["ImportedUsers"]) == ("Succeeded", count), done


def test_an_operator_can_keep_what_was_issued_before(cluster, pool, keys, tmp_path):
    pool.make_user("kept")
    before = pool.sign_in("kept")
    must(cluster.back_up(tmp_path / "backups"))
    refresh = {"AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": {"REFRESH_TOKEN": before["RefreshToken"]}}
    for option, access_is_good in [("--keep-refresh-tokens", False), ("--keep-tokens", True)]:
        new = restored_cluster(tmp_path / option, keys, cluster, tmp_path / "backups", option)
        try:
            new.node(1).start()
            client = new.client(1)
            if access_is_good:
                assert client.get_user(AccessToken=before["AccessToken"])["Username"] == "kept"
            else:
                with refused("NotAuthorizedException", REVOKED):
                    client.get_user(AccessToken=before["AccessToken"])
            renewed = client.initiate_auth(ClientId=pool.app_id, **refresh)["AuthenticationResult"]
            assert client.get_user(AccessToken=renewed["AccessToken"])["Username"] == "kept"
        finally:
            new.kill()


def test_a_bucket_keeps_backups_and_with_the_keys_in_them_the_identity_alone_restores(cluster, pool, keys, tmp_path):
    pool.make_user("bucket")
    with s3.Bucket() as bucket:
        url = f"s3://{s3.BUCKET}/some/prefix"
        made = json.loads(must(cluster.back_up(url, "--with-keys", environment=bucket.environment)))
        names = set(bucket.objects)
        prefix = f"some/prefix/{made['backup_id']}"
        files = [f"group-{group:03}.age" for group in range(POOL_GROUPS + 1)]
        assert names == {f"{prefix}/{name}" for name in [*files, "keys.age", "manifest.json"]}
        assert not bucket.uploads
        listed = json.loads(must(run("backup", "list", url, "--json", environment=bucket.environment)))["backups"]
        assert [(b["backup_id"], b["with_keys"]) for b in listed] == [(made["backup_id"], True)]
        must(run("backup", "verify", url, environment=bucket.environment))
        must(run("backup", "verify", url, "--identity", keys.path, environment=bucket.environment))
        # another key-encryption key, and nobody has the old one
        new = Restored(tmp_path / "new", keys)
        assert new.kek.read_text() != cluster.kek.read_text()
        must(new.restore(url, keys, environment=bucket.environment))
        new.credentials = cluster.credentials
        try:
            new.node(1).start()
            pool_there = ClusterPool.__new__(ClusterPool)
            pool_there.cluster, pool_there.id, pool_there.app_id = new, pool.id, pool.app_id
            pool_there.sign_in("bucket")
        finally:
            new.kill()
        # a bucket that takes nothing more: it is said, and what is there is no backup
        bucket.full = True
        done = cluster.back_up(url, environment=bucket.environment)
        assert done.returncode == FAILED, done
        bucket.full = False
        listed = json.loads(must(run("backup", "list", url, "--json", environment=bucket.environment)))["backups"]
        assert [b["backup_id"] for b in listed] == [made["backup_id"]]


def test_another_key_encryption_key_needs_the_old_one(cluster, pool, keys, backup, tmp_path):
    destination, *_ = backup
    new = Restored(tmp_path / "new", keys)
    done = new.restore(destination, keys)
    assert done.returncode == FAILED and "--old-kek-file" in done.stderr, done
    must(new.restore(destination, keys, "--old-kek-file", cluster.kek))
    new.credentials = cluster.credentials
    try:
        new.node(1).start()
        pool_there = ClusterPool.__new__(ClusterPool)
        pool_there.cluster, pool_there.id, pool_there.app_id = new, pool.id, pool.app_id
        pool_there.sign_in("ada")
    finally:
        new.kill()


def test_what_is_damaged_is_named_and_restores_nothing(backup, keys, cluster, tmp_path):
    source, backup_id, _ = backup
    new = Restored(tmp_path / "new", keys)
    new.kek.write_text(cluster.kek.read_text())

    def damaged(change):
        copy = tmp_path / secrets.token_hex(4)
        shutil.copytree(source, copy)
        change(copy / backup_id)
        return copy

    def edit(name, edit):
        def change(directory):
            path = directory / name
            path.write_bytes(edit(path.read_bytes()))

        return change

    def forge(directory):
        # cut off, and a manifest that says so
        path = directory / "group-001.age"
        content = path.read_bytes()[:-1]
        path.write_bytes(content)
        manifest = json.loads((directory / "manifest.json").read_text())


        entry = manifest["groups"][1]
        entry["bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        (directory / "manifest.json").write_text(json.dumps(manifest))

    def swap(directory):
        one, two = directory / "group-001.age", directory / "group-002.age"
        content = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(content)

    def flip(content):
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    for change, named in [
        (edit("group-000.age", flip), "group-000.age"),
        (edit("group-001.age", lambda content: content[:-1]), "group-001.age"),
        (lambda directory: (directory / "group-002.age").unlink(), "group-002.age"),
        (swap, "group-001.age"),
        (forge, "damaged or incomplete"),
        (edit("manifest.json", lambda content: content[:-20]), "manifest"),
        (edit("manifest.json", lambda content: content.replace(b'"format": 1', b'"format": 9')), "format 9"),
    ]:
        copy = damaged(change)
        for done in (
            conclave("backup", "verify", copy, backup_id, "--identity", keys.path),
            new.restore(copy, keys, backup_id),
        ):
            assert done.returncode == FAILED and named in done.stderr, (named, done)
        if (new.node(1).data / "restoring").exists():
            # no node starts on half of a cluster
            done = conclave("serve", "--config", new.node(1).config_path)
            assert done.returncode == FAILED and "restore" in done.stderr, done
    # without the identity the files are compared, and what is in them is not
    assert conclave("backup", "verify", damaged(forge), backup_id).returncode == DONE
    # and after all that, the undamaged one restores
    must(new.restore(source, keys))


def test_a_restore_is_refused_that_would_harm_or_be_another_cluster(backup, keys, cluster, tmp_path):
    destination, _, sha256 = backup
    other = Keys(tmp_path / "other")
    new = Restored(tmp_path / "new", keys)
    new.kek.write_text(cluster.kek.read_text())
    config = new.node(1).config_path.read_text()

    def with_config(text):
        new.node(1).config_path.write_text(text)
        done = new.restore(destination, keys)
        new.node(1).config_path.write_text(config)
        return done

    done = with_config(config.replace('cluster_id = "restored"', f'cluster_id = "{cluster.cluster_id}"'))
    assert done.returncode == USAGE and "new cluster_id" in done.stderr, done
    done = with_config(config.replace("members = [", 'members = [{ node_id = 9, address = "127.0.0.1:9" }, '))
    assert done.returncode == USAGE and "alone in members" in done.stderr, done
    done = with_config(config.replace("pool_groups = 3", "pool_groups = 4"))
    assert done.returncode == USAGE and "pool_groups is 4" in done.stderr, done
    done = new.restore(destination, other)
    assert done.returncode == FAILED and "other recipients" in done.stderr, done
    done = new.restore(destination, keys, "--manifest-sha256", "0" * 64)
    assert done.returncode == FAILED and sha256 in done.stderr, done
    done = new.restore(destination, keys, "../../etc")
    assert done.returncode == USAGE, done
    done = new.restore(tmp_path / "nothing", keys)
    assert done.returncode == FAILED, done
    # a directory with data is left as it is
    must(new.restore(destination, keys))
    identity = (new.node(1).data / "IDENTITY").read_bytes()
    done = new.restore(destination, keys)
    assert done.returncode == FAILED and "is not empty" in done.stderr, done
    assert (new.node(1).data / "IDENTITY").read_bytes() == identity


def test_an_administrator_can_have_a_backup_made_and_nobody_else_can(cluster, keys, tmp_path):
    gateway = issue(cluster.pki, 0, "gateway", cluster.cluster_id)
    for who in (gateway, cluster.node(2).tls):
        certificate = ["--certificate", who["certificate"], "--key", who["key"]]
        done = cluster.back_up(tmp_path / "none", *certificate)
        assert done.returncode == FAILED and "refused" in done.stderr, done
    assert not (tmp_path / "none").exists()
    done = run("backup", tmp_path / "none")
    assert done.returncode == USAGE, done
    done = run("backup")
    assert done.returncode == USAGE and "where is the backup" in done.stderr, done
    done = cluster.back_up("ftp://somewhere")
    assert done.returncode == USAGE, done


def test_nodes_without_recipients_say_what_is_missing(tmp_path):
    alone = Backed(tmp_path, None, numbers=(1,))
    with alone:
        done = alone.back_up(tmp_path / "none")
        assert done.returncode == FAILED and "backup.recipients" in done.stderr, done
    assert not (tmp_path / "none").exists()


def test_files_are_those_of_age(backup, keys):
    """Another implementation of the format opens them, and one byte less it does not."""
    destination, backup_id, _ = backup
    identity = pyrage.x25519.Identity.from_str(keys.secret)
    assert str(identity.to_public()) == keys.recipient
    for path in (pathlib.Path(destination) / backup_id).glob("*.age"):
        content = path.read_bytes()
        assert pyrage.decrypt(content, [identity])
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(content[:-1], [identity])
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", backup_id)


def test_an_identity_is_made_once_and_kept_from_others(tmp_path):
    keys = Keys(tmp_path / "identity")
    assert keys.path.stat().st_mode & 0o777 == 0o600
    done = conclave("backup", "keygen", keys.path)
    assert done.returncode == FAILED and "is there already" in done.stderr
    assert str(pyrage.x25519.Identity.from_str(keys.secret).to_public()) == keys.recipient


