"""Values that make no cluster are refused, and the README lists those that there are."""

import json

import pytest
import yaml
from chart import CHART, Refused, changed, example, render

DEFAULT = example("default")
LAMBDA = {"endpoint": "https://l", "region": "r", "accessKeyId": "A", "existingSecretKey": "b"}
WEBHOOK = {"arn": "arn:aws:lambda:x", "url": "https://h", "existingSecretKey": "a"}
GATEWAY_API = {"enabled": True, "parentRefs": [{"name": "public"}]}

REFUSED = {
    "no cluster": ({"clusterId": ""}, "clusterId is needed"),
    "no URL": ({"publicUrl": ""}, "publicUrl is needed"),
    "no key": ({"kek__existingSecret": ""}, "kek.existingSecret is needed"),
    "no certificates": ({"internalTls": {}}, "with certificates only"),
    "no certificate of gateways": ({"internalTls__existingGatewaySecret": ""}, "existingGatewaySecret is needed"),
    "two sources of certificates": ({"internalTls__certManager": {"enabled": True}}, "not both"),
    "two sources of the public certificate": (
        {"publicTls": {"existingSecret": "a", "certManager": {"enabled": True}}},
        "publicTls takes one of",
    ),
    "a public certificate of nobody": ({"publicTls__certManager": {"enabled": True}}, "issuerRef.name is needed"),
    "a backup to nowhere": ({"backup": {"enabled": True}}, "backup.destination is needed"),
    "a backup for nobody": (
        {"backup": {"enabled": True, "destination": "s3://b/c"}},
        "backup.recipients is needed",
    ),
    "a recipient that is none": ({"backup": {"recipients": ["age1x"]}}, "backup/recipients"),
    "a restore to three nodes": ({"restore": {"source": "s3://b/c", "existingSecret": "a"}}, "initialNodes must be 1"),
    "a restore that nobody can read": (
        {"initialNodes": 1, "restore": {"source": "s3://b/c"}},
        "restore.existingSecret is needed",
    ),
    "a restore that does not stay": (
        {"initialNodes": 1, "persistence": {"enabled": False}, "restore": {"source": "/b", "existingSecret": "a"}},
        "persistence.enabled is needed",
    ),
    "administration without a certificate": ({"admin__command": ["status"]}, "existingAdminSecret is needed"),
    "an even number of first nodes": ({"initialNodes": 4, "replicaCount": 4}, "initialNodes"),
    "fewer nodes than the first": ({"replicaCount": 1}, "replicaCount is less than initialNodes"),
    "an even number of replicas": ({"replicationFactor": 2}, "replicationFactor"),
    "a number that a later pod has": (
        {"replicaCount": 4, "nodeNumbers": {"1": 4}},
        "the pods 1 and 3 are both node 4",
    ),
    "a number of the first nodes": ({"nodeNumbers": {"1": 2}}, "no number is used again"),
    "a number given twice": ({"nodeNumbers": {"0": 9, "1": 9}}, "are both node 9"),
    "a number of no pod": ({"nodeNumbers": {"conclave-1": 9}}, "nodeNumbers"),
    "too many groups": ({"poolGroups": 63}, "poolGroups"),
    "a URL that ends with a slash": ({"publicUrl": "https://id.example.com/"}, "publicUrl"),
    "a name that is no part of a URI": ({"clusterId": "a b"}, "clusterId"),
    "a name that is no host in a URI": ({"clusterId": "a..b"}, "clusterId"),
    "an unknown value": ({"replicas": 3}, "replicas"),
    "an unknown value below": ({"kek__value": "00"}, "value"),
    "an unknown limit": ({"limits": {"pools": 3}}, "limits"),
    "two kinds of key": (
        {"kek": {"existingSecret": "a", "directory": True, "vault": {"address": "https://v", "key": "k"}}},
        "kek takes one of directory and vault",
    ),
    "a key of Vault without a name": ({"kek__vault": {"address": "https://v"}}, "kek.vault.key is needed"),
    "a key that is sent in the clear": ({"kek__vault": {"address": "http://v", "key": "k"}}, "address"),
    "functions without a secret": (
        {"triggers": {"webhooks": [WEBHOOK]}},
        "triggers.existingSecret is needed",
    ),
    "a function of nobody": (
        {"triggers": {"existingSecret": "a", "lambda": LAMBDA}},
        "triggers.lambda.functions is needed",
    ),
    "a webhook without a secret": (
        {"triggers": {"existingSecret": "a", "webhooks": [{"arn": "arn:aws:lambda:x", "url": "https://h"}]}},
        "existingSecretKey",
    ),
    "a call that takes more than a minute": (
        {"triggers": {"existingSecret": "a", "timeoutSeconds": 21, "webhooks": [WEBHOOK]}},
        "more than a minute",
    ),
    "a lease that is none": ({"signingKeys": {"leaseSeconds": 0}}, "leaseSeconds"),
    "an ingress without a host": ({"ingress": {"enabled": True}}, "ingress.hostname is needed"),
    "a route without a gateway": ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is needed"),
    "two kinds of route of one host": (
        {"httpRoute": GATEWAY_API, "grpcRoute": GATEWAY_API},
        "a host has one kind of route",
    ),
    "two budgets": ({"pdb": {"minAvailable": 2}}, "pdb takes one"),
    "two budgets of gateways": ({"gateway": {"pdb": {"minAvailable": 2}}}, "gateway.pdb takes one"),
    "more gateways than there may be": ({"gateway": {"autoscaling": {"minReplicas": 11}}}, "more than maxReplicas"),
    "nothing to scale by": ({"gateway": {"autoscaling": {"targetCPU": ""}}}, "needs one of targetCPU"),
    "mail without a sender": ({"email": {"host": "mail"}}, "email.from is needed"),
    "a user without a password": (
        {"email": {"host": "mail", "from": "a@example.com", "username": "a"}},
        "email.existingSecret is needed",
    ),
    "a password in the clear": (
        {"email": {"host": "m", "from": "a@b.c", "username": "a", "existingSecret": "s", "security": "none"}},
        "not sent without encryption",
    ),
    "messages to nowhere": ({"sms": {"gateway": "webhook"}}, "sms.url is needed"),
    "sns without a region": (
        {"sms": {"gateway": "sns", "url": "https://sns.example.com", "existingSecret": "a", "account": "b"}},
        "sms.region is needed",
    ),
    "twilio without an account": (
        {"sms": {"gateway": "twilio", "url": "https://api.twilio.com", "existingSecret": "a", "from": "+1"}},
        "sms.account is needed",
    ),
}


@pytest.mark.parametrize("changes, reason", REFUSED.values(), ids=REFUSED.keys())
def test_values_that_make_no_cluster_are_refused(changes, reason):
    with pytest.raises(Refused, match=reason.replace(".", "[.]")):
        render(changed(DEFAULT, **changes))


def paths(values, above=()):
    """Every value that is no table of further ones, as the names on the way to it."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from paths(value, (*above, key))
        else:
            yield (*above, key), value


def test_the_readme_lists_every_value_with_its_default():
    lines = [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    listed = {key.strip(" `"): default.strip(" `") for key, default in (line.split("|")[1:3] for line in lines)}
    used = set()
    for path, value in paths(yaml.safe_load((CHART / "values.yaml").read_text())):
        (name,) = {".".join(path[:length]) for length in range(1, len(path) + 1)} & set(listed)
        assert listed[name] in (json.dumps(value), "see values.yaml"), name
        used.add(name)
    assert used == set(listed)
