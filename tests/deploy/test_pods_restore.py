"""A release is lost, and another one is made from its backup, as local processes.

    CONCLAVE_BIN=target/debug/conclave python -m pytest tests/deploy/test_pods_restore.py
"""

import json

import netns
import pytest
from chart import all_of, changed, example, spec
from clients import Pool
from harness import s3
from netns import BINARY, OUTSIDE, Network, open_to_others, run, until
from pods import Kubernetes
from readme import README, commands, secrets, shell

pytestmark = [
    pytest.mark.skipif(not netns.possible(), reason="needs CONCLAVE_BIN, root, network namespaces"),
    pytest.mark.timeout(600),
]
GROUPS = 3
USERS = 20
VALUES = changed(
    example("default"),
    clusterId="prod",
    poolGroups=GROUPS,
    internalTls__existingAdminSecret="conclave-admin-tls",
    gateway={"autoscaling": {"enabled": False}, "replicaCount": 1},
)


def prepare(directory, cluster_id):
    """What has to be there before a release, as the README says."""
    directory.mkdir()
    open_to_others(directory)
    shell(directory, commands(README, "openssl rand -hex 32 > kek"))
    shell(directory, commands(README, "conclave pki init --cluster-id prod").replace("prod", cluster_id))


def secret(directory, name, **contents):
    target = directory / "secrets" / name
    target.mkdir()
    for key, content in contents.items():
        (target / key).write_text(content)


def voters(cluster):
    return [len(group["voters"]) for group in json.loads(cluster.admin("groups", "--json"))["groups"]]


@pytest.fixture
def bucket():
    with Network() as network, s3.Bucket(OUTSIDE) as bucket:
        bucket.network = network
        yield bucket


def test_a_lost_release_is_made_anew_from_its_backup_with_three_nodes(bucket, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    prepare(old, "prod")
    prepare(new, "prod-2")
    assert (old / "kek").read_text() != (new / "kek").read_text()
    recipient = run(BINARY, "backup", "keygen", tmp_path / "identity").stdout.split()[-1]
    url = f"s3://{s3.BUCKET}/prod"
    secret(old, "conclave-backup", **bucket.environment)
    values = changed(
        VALUES,
        backup={"enabled": True, "recipients": [recipient], "destination": url, "existingSecret": "conclave-backup"},
    )
    with Kubernetes(old, bucket.network, secrets(old)) as lost:
        lost.upgrade(values)
        for pod in lost.nodes:
            pod.wait_ready()
        gateway = lost.gateways[0]
        account = gateway.exec("conclave", "account", "create", "--name", "main").stdout
        key = gateway.exec("conclave", "credentials", "create", "--account", account.strip(), "--user", "admin").stdout
        pool = Pool([lost.service.endpoint], account, key)
        users = [pool.make_user() for _ in range(USERS)]
        before = pool.sign_in(users[0])
        [job] = [job for job in all_of(lost.manifests, "CronJob") if job["metadata"]["name"].endswith("-backup")]
        code, printed = lost.run_to_end("backup", spec(job["spec"]["jobTemplate"]))
        assert code == 0, printed
        manifest_sha256 = json.loads(printed[printed.index("{") :])["manifest_sha256"]

    identity, old_kek = (tmp_path / "identity").read_text(), (old / "kek").read_text()
    secret(new, "conclave-restore", identity=identity, **{"old-kek": old_kek})
    secret(new, "conclave-backup", **bucket.environment)
    restored = changed(
        VALUES,
        clusterId="prod-2",
        initialNodes=1,
        replicaCount=3,
        restore={
            "source": url,
            "manifestSha256": manifest_sha256,
            "existingSecret": "conclave-restore",
            "existingSecretOldKekKey": "old-kek",
            "environmentSecret": "conclave-backup",
        },
    )
    with Kubernetes(new, bucket.network, secrets(new)) as cluster:
        cluster.upgrade(restored)
        for pod in cluster.nodes:
            pod.wait_ready()
        assert "with the hashes of its manifest" in cluster.nodes[0].log_tail()
        assert "joins others" in (cluster.directory / "logs" / "conclave-1.log").read_text()
        until(lambda: voters(cluster) == [3] * (GROUPS + 1), 120, "every group has three voters")
        there = pool.at([cluster.service.endpoint])
        for user in users:
            assert there.sign_in(user)["AccessToken"]
        client = there.client()
        with pytest.raises(client.exceptions.NotAuthorizedException):
            client.get_user(AccessToken=before["AccessToken"])
        late = there.make_user()

        # the values of the restore are still there when the pod starts again: nothing happens to its data
        cluster.restart_node("conclave-0")
        assert "holds data already" in cluster.nodes[0].log_tail()
        assert there.sign_in(late)["AccessToken"]

        # as the runbook says when all have come
        cluster.upgrade(changed(restored, restore={}, bootstrap=False))
        assert not any("initContainers" in pod.spec for pod in cluster.nodes)
        assert there.sign_in(late)["AccessToken"]
