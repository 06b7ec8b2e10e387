"""Settings of a pool with operations of their own: risk configurations, log delivery, the signing certificate."""

import base64
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from harness.cluster import Cluster
from harness.cognito import Pool, boto_client, refused, unique
from harness.mail import Mail
from harness.server import until

LOG_GROUP = "arn:aws:logs:us-east-1:111122223333:log-group:messages"
BUCKET = "arn:aws:s3:::activity"
STREAM = "arn:aws:firehose:us-east-1:111122223333:deliverystream/activity"

MESSAGES = {
    "EventSource": "userNotification",
    "LogLevel": "ERROR",
    "CloudWatchLogsConfiguration": {"LogGroupArn": LOG_GROUP},
}
ACTIVITY = {"EventSource": "userAuthEvents", "LogLevel": "INFO"}

COMPROMISED = {"EventFilter": ["SIGN_IN"], "Actions": {"EventAction": "BLOCK"}}
TAKEOVER = {
    "NotifyConfiguration": {
        "From": "security@example.com",
        "ReplyTo": "help@example.com",
        "SourceArn": "arn:aws:ses:us-east-1:111122223333:identity/example.com",
        "BlockEmail": {"Subject": "Blocked", "HtmlBody": "<p>Blocked</p>", "TextBody": "Blocked"},
        "NoActionEmail": {"Subject": "Noticed", "TextBody": "Noticed"},
    },
    "Actions": {
        "LowAction": {"Notify": False, "EventAction": "NO_ACTION"},
        "HighAction": {"Notify": True, "EventAction": "MFA_REQUIRED"},
    },
}
EXCEPTIONS = {"BlockedIPRangeList": ["192.0.2.0/24"], "SkippedIPRangeList": ["2001:db8::/32", "10.0.0.1/32"]}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A node with two accounts: a client of each, and a pool of the first."""
    cluster = Cluster(tmp_path_factory.mktemp("accounts"), size=1)
    node = cluster.start().nodes[0]
    owner, other = (boto_client(node, *cluster.credentials()) for _ in range(2))
    yield owner, other, Pool(node, owner)
    cluster.kill()


def risk(cognito, pool_id, **of):
    got = cognito.describe_risk_configuration(UserPoolId=pool_id, **of)["RiskConfiguration"]
    got.pop("LastModifiedDate", None)
    return got


def test_a_risk_configuration_from_beginning_to_end(make_pool, cognito):
    pool = make_pool()
    client = {"ClientId": pool.app_client().id}
    for of in ({}, client):
        ids = {"UserPoolId": pool.id, **of}
        assert risk(cognito, **{"pool_id": pool.id, **of}) == ids
        wanted = {
            "CompromisedCredentialsRiskConfiguration": COMPROMISED,
            "AccountTakeoverRiskConfiguration": TAKEOVER,
            "RiskExceptionConfiguration": EXCEPTIONS,
        }
        made = cognito.set_risk_configuration(**ids, **wanted)["RiskConfiguration"]
        assert made.pop("LastModifiedDate")
        assert made == {**ids, **wanted}
        assert risk(cognito, pool.id, **of) == made
        # as a whole: what is left out is not there any more
        cognito.set_risk_configuration(**ids, RiskExceptionConfiguration=EXCEPTIONS)
        assert risk(cognito, pool.id, **of) == {**ids, "RiskExceptionConfiguration": EXCEPTIONS}
    cognito.set_risk_configuration(UserPoolId=pool.id)
    assert risk(cognito, pool.id) == {"UserPoolId": pool.id}
    assert "RiskExceptionConfiguration" in risk(cognito, pool.id, **client)


def test_what_is_left_out_of_compromised_credentials_is_every_event(make_pool, cognito):
    pool = make_pool()
    cognito.set_risk_configuration(
        UserPoolId=pool.id, CompromisedCredentialsRiskConfiguration={"Actions": {"EventAction": "NO_ACTION"}}
    )
    got = risk(cognito, pool.id)["CompromisedCredentialsRiskConfiguration"]
    assert set(got["EventFilter"]) == {"SIGN_IN", "SIGN_UP", "PASSWORD_CHANGE"}


# The rules are documented, the texts are judgement.
@pytest.mark.parametrize(
    "settings, text",
    [
        (
            {"AccountTakeoverRiskConfiguration": {"Actions": {"LowAction": {"Notify": True, "EventAction": "BLOCK"}}}},
            "NotifyConfiguration is required when an action has Notify set to true.",
        ),
        (
            {"RiskExceptionConfiguration": {"BlockedIPRangeList": ["192.0.2.1"]}},
            "192.0.2.1 is not an IP address range in CIDR notation.",
        ),
        (
            {"RiskExceptionConfiguration": {"SkippedIPRangeList": ["192.0.2.0/40"]}},
            "192.0.2.0/40 is not an IP address range in CIDR notation.",
        ),
    ],
)
def test_a_risk_configuration_that_is_not_good_is_refused(pool, cognito, settings, text):
    with refused("InvalidParameterException", text):
        cognito.set_risk_configuration(UserPoolId=pool.id, **settings)
    assert risk(cognito, pool.id) == {"UserPoolId": pool.id}


def test_the_modes_of_threat_protection_are_kept(make_pool, cognito):
    add_ons = {
        "AdvancedSecurityMode": "ENFORCED",
        "AdvancedSecurityAdditionalFlows": {"CustomAuthMode": "AUDIT"},
    }
    pool = make_pool(UserPoolTier="PLUS", UserPoolAddOns=add_ons)
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["UserPoolAddOns"] == add_ons
    with refused("FeatureUnavailableInTierException"):
        make_pool(UserPoolAddOns=add_ons)


def logs(cognito, pool_id):
    return cognito.get_log_delivery_configuration(UserPoolId=pool_id)["LogDeliveryConfiguration"]


def test_log_delivery_from_beginning_to_end(make_pool, cognito):
    pool = make_pool(UserPoolTier="PLUS")
    assert logs(cognito, pool.id) == {"UserPoolId": pool.id, "LogConfigurations": []}
    for destination in (
        {"S3Configuration": {"BucketArn": BUCKET}},
        {"FirehoseConfiguration": {"StreamArn": STREAM}},
        {"CloudWatchLogsConfiguration": {"LogGroupArn": LOG_GROUP}},
    ):
        wanted = [MESSAGES, {**ACTIVITY, **destination}]
        made = cognito.set_log_delivery_configuration(UserPoolId=pool.id, LogConfigurations=wanted)
        assert made["LogDeliveryConfiguration"] == {"UserPoolId": pool.id, "LogConfigurations": wanted}
        assert logs(cognito, pool.id) == made["LogDeliveryConfiguration"]
    cognito.set_log_delivery_configuration(UserPoolId=pool.id, LogConfigurations=[])
    assert logs(cognito, pool.id)["LogConfigurations"] == []


# The rules are those of the API reference, the texts are judgement.
@pytest.mark.parametrize(
    "wanted, text",
    [
        ([{**MESSAGES, "LogLevel": "INFO"}], "The log level of the event source userNotification must be ERROR."),
        (
            [{"EventSource": "userNotification", "LogLevel": "ERROR"}],
            "The event source userNotification must have one destination.",
        ),
        (
            [{"EventSource": "userNotification", "LogLevel": "ERROR", "S3Configuration": {"BucketArn": BUCKET}}],
            "The event source userNotification can only be logged to CloudWatch Logs.",
        ),
        (
            [MESSAGES, MESSAGES],
            "There is more than one log configuration for the event source userNotification.",
        ),
    ],
)
def test_a_log_configuration_that_is_not_good_is_refused(pool, cognito, wanted, text):
    with refused("InvalidParameterException", text):
        cognito.set_log_delivery_configuration(UserPoolId=pool.id, LogConfigurations=wanted)


def test_the_log_of_user_activity_belongs_to_the_plus_plan(pool, cognito):
    with refused("FeatureUnavailableInTierException"):
        cognito.set_log_delivery_configuration(
            UserPoolId=pool.id, LogConfigurations=[{**ACTIVITY, "S3Configuration": {"BucketArn": BUCKET}}]
        )


def notifications(node):
    """The lines about messages that were not delivered, with the pool and log group that stand with them."""
    found = []
    for line in node.log().splitlines():
        if "message not delivered" not in line or not line.startswith("{"):
            continue
        entry = json.loads(line)
        spans = [span for span in entry.get("spans", []) if span["name"] == "user_notification"]
        found += [(entry["level"], span["user_pool_id"], span["log_group"]) for span in spans]
    return found


def test_what_becomes_of_messages_is_in_the_log(tmp_path):
    """A delivery that is waited for, and one that is not because users are hidden."""
    mail = Mail(tmp_path / "mail").start()
    cluster = Cluster(tmp_path / "cluster", size=1, settings=mail.configuration())
    for node in cluster.nodes:
        node.environment["CONCLAVE_LOG_FORMAT"] = "json"
    try:
        node = cluster.start().nodes[0]
        cognito = boto_client(node, *cluster.credentials())
        silent, logged = (Pool(node, cognito, AutoVerifiedAttributes=["email"]) for _ in range(2))
        cognito.set_log_delivery_configuration(UserPoolId=logged.id, LogConfigurations=[MESSAGES])
        mail.refusal = "550 no such mailbox"
        for pool in (silent, logged):
            app = pool.app_client(PreventUserExistenceErrors="ENABLED")
            to = unique("reader") + "@example.com"
            username = unique("user")
            with refused("CodeDeliveryFailureException"):
                app.sign_up(username, email=to)
            assert to not in node.log()
            app.resend(username)
        expected = [("ERROR", logged.id, LOG_GROUP)] * 2
        until(lambda: len(notifications(node)) >= 2, 20, "both messages are in the log")
        assert notifications(node) == expected
    finally:
        cluster.kill()
        mail.stop()


def certificate(cognito, pool_id):
    return cognito.get_signing_certificate(UserPoolId=pool_id)["Certificate"]


def test_the_signing_certificate_is_the_pools_own(make_pool, cognito):
    pool, other = make_pool(), make_pool()
    text = certificate(cognito, pool.id)
    parsed = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
    assert parsed.subject.rfc4514_string() == f"CN={pool.id}"
    assert isinstance(parsed.public_key(), rsa.RSAPublicKey)
    assert parsed.public_key().key_size == 2048
    years = (parsed.not_valid_after_utc - parsed.not_valid_before_utc).days / 365.25
    assert 9.9 < years < 10.1
    # it is signed by its own key
    parsed.public_key().verify(
        parsed.signature, parsed.tbs_certificate_bytes, padding.PKCS1v15(), parsed.signature_hash_algorithm
    )
    assert certificate(cognito, pool.id) == text
    assert certificate(cognito, other.id) != text


def test_every_gateway_answers_one_certificate_also_after_a_restart(tmp_path):
    cluster = Cluster(tmp_path / "cluster").start()
    try:
        credentials = cluster.credentials()
        first, second, third = (boto_client(node, *credentials) for node in cluster.nodes)
        pool = Pool(cluster.nodes[0], first)
        text = certificate(second, pool.id)
        assert certificate(first, pool.id) == certificate(third, pool.id) == text
        cluster.kill()
        cluster.start()
        assert certificate(first, pool.id) == text
    finally:
        cluster.kill()


@pytest.mark.parametrize(
    "operation, more",
    [
        ("describe_risk_configuration", {}),
        ("set_risk_configuration", {"RiskExceptionConfiguration": EXCEPTIONS}),
        ("get_log_delivery_configuration", {}),
        ("set_log_delivery_configuration", {"LogConfigurations": [MESSAGES]}),
        ("get_signing_certificate", {}),
    ],
)
def test_a_pool_of_another_account_looks_like_none(stranger, operation, more):
    owner, other, pool = stranger
    for pool_id in (pool.id, "us-east-1_000000000"):
        with refused("ResourceNotFoundException", f"User pool {pool_id} does not exist."):
            getattr(other, operation)(UserPoolId=pool_id, **more)
    if operation == "describe_risk_configuration":
        assert risk(owner, pool.id) == {"UserPoolId": pool.id}
        assert logs(owner, pool.id)["LogConfigurations"] == []


def test_a_client_of_another_pool_has_no_risk_configuration_here(make_pool, cognito):
    pool, other = make_pool(), make_pool()
    for client_id in (other.app_client().id, "unknown", "ALL"):
        with refused("ResourceNotFoundException"):
            cognito.describe_risk_configuration(UserPoolId=pool.id, ClientId=client_id)
        with refused("ResourceNotFoundException"):
            cognito.set_risk_configuration(UserPoolId=pool.id, ClientId=client_id)
