"""The audit log: who has done what to what, when, from where, and what came of it; and never a secret."""

import json
import re

import pytest
from cluster import Cluster, conclave, issue
from harness.cognito import NEW_PASSWORD, PASSWORD, refused

pytestmark = pytest.mark.timeout(120)


class Audited(Cluster):
    """A node alone, with a certificate of an administrator."""

    def __init__(self, directory):
        self.audit_path = directory / "audit.jsonl"
        super().__init__(directory, tables=f'\n[audit]\noutput = "{self.audit_path}"\n', numbers=(1,))
        issue(self.pki, 0, "admin", role="admin")

    def entries(self, after=0):
        return [json.loads(line) for line in self.audit_path.read_text().splitlines()[after:]]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Audited(tmp_path_factory.mktemp("audit")) as cluster:
        yield cluster


def test_signed_operations_are_on_record_with_their_outcome_and_without_secrets(cluster):
    before = len(cluster.entries())
    client = cluster.client(1)
    pool_id = client.create_user_pool(PoolName="audited")["UserPool"]["Id"]
    app = client.create_user_pool_client(UserPoolId=pool_id, ClientName="app", GenerateSecret=True)["UserPoolClient"]
    client.admin_create_user(UserPoolId=pool_id, Username="ada", TemporaryPassword=PASSWORD, MessageAction="SUPPRESS")
    client.admin_set_user_password(UserPoolId=pool_id, Username="ada", Password=NEW_PASSWORD, Permanent=True)
    with refused("UserNotFoundException"):
        client.admin_get_user(UserPoolId=pool_id, Username="nobody")
    limited = cluster.create_credentials(
        cluster.account, "limited", {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    )
    with refused("AccessDeniedException"):
        cluster.client(1, limited).delete_user_pool(UserPoolId=pool_id)
    entries = cluster.entries(before)
    arn = f"arn:aws:cognito-idp:us-east-1:{cluster.account}:userpool/{pool_id}"
    seen = [(entry["operation"], entry["target"], entry["outcome"]) for entry in entries]
    assert seen == [
        ("CreateUserPool", "*", "OK"),
        ("CreateUserPoolClient", arn, "OK"),
        ("AdminCreateUser", arn, "OK"),
        ("AdminSetUserPassword", arn, "OK"),
        ("AdminGetUser", arn, "UserNotFoundException"),
        ("DeleteUserPool", arn, "AccessDeniedException"),
    ]
    for entry, key in zip(entries, [cluster.credentials[0]] * 5 + [limited[0]], strict=True):
        assert (entry["kind"], entry["from"], entry["front"]) == ("api", "127.0.0.1", "aws-json")
        assert entry["access_key_id"] == key and entry["who"].startswith(f"arn:aws:iam::{cluster.account}:user/")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"])
        assert re.fullmatch(r"[0-9a-f-]{36}", entry["request_id"])
    assert entries[2]["names"] == {"Username": "ada"} and entries[0]["names"] == {"PoolName": "audited"}
    text = cluster.audit_path.read_text()
    for secret in (PASSWORD, NEW_PASSWORD, app["ClientSecret"], cluster.credentials[1], limited[1]):
        assert secret not in text


def test_administration_of_the_cluster_is_on_record_also_where_it_is_refused(cluster):
    config = ["--config", cluster.node(1).config_path]
    before = len(cluster.entries())
    conclave("status", *config)
    conclave("drain", 1, "--no-wait", *config)
    stolen = cluster.node(1).tls
    conclave("status", *config, "--certificate", stolen["certificate"], "--key", stolen["key"])
    seen = [(e["kind"], e["operation"], e["target"], e["outcome"]) for e in cluster.entries(before)]
    assert seen == [
        ("administration", "get_status", None, "OK"),
        ("administration", "drain", "1", "FailedPrecondition"),
        ("administration", "connect", None, "PermissionDenied"),
    ]
    first, _, refused_one = cluster.entries(before)
    assert first["who"] == f"CN=admin conclave://{cluster.cluster_id}/admin/0" and first["from"] == "127.0.0.1"
    assert "/node/1" in refused_one["who"]


def test_a_record_that_cannot_be_kept_keeps_the_node_from_starting(tmp_path):
    cluster = Audited(tmp_path)
    config = cluster.node(1).config_path
    config.write_text(config.read_text().replace(str(cluster.audit_path), "/nowhere/audit"))
    done = conclave("serve", "--config", config)
    assert done.returncode != 0 and "the audit log /nowhere/audit cannot be written" in done.stderr
