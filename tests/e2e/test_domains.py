"""CreateUserPoolDomain, DescribeUserPoolDomain, UpdateUserPoolDomain, DeleteUserPoolDomain."""

import pytest

from harness.cognito import boto_client, refused, unique

CERTIFICATE = {"CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/0"}


def describe(cognito, domain):
    return cognito.describe_user_pool_domain(Domain=domain)["DomainDescription"]


def test_a_domain_from_beginning_to_end(make_pool, cognito):
    pool, domain = make_pool(), unique("prefix-")
    assert describe(cognito, domain) == {}
    made = cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    assert made["ManagedLoginVersion"] == 1
    got = describe(cognito, domain)
    assert (got["UserPoolId"], got["Domain"], got["Status"]) == (pool.id, domain, "ACTIVE")
    assert got["AWSAccountId"] == "000000000000"
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["Domain"] == domain
    with refused(
        "InvalidParameterException",
        "User pool cannot be deleted. It has a domain configured that should be deleted first.",
    ):
        cognito.delete_user_pool(UserPoolId=pool.id)
    cognito.update_user_pool_domain(UserPoolId=pool.id, Domain=domain, ManagedLoginVersion=2)
    assert describe(cognito, domain)["ManagedLoginVersion"] == 2
    cognito.delete_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    assert describe(cognito, domain) == {}
    assert "Domain" not in cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]
    with refused("InvalidParameterException", "No such domain or user pool exists."):
        cognito.delete_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    cognito.delete_user_pool(UserPoolId=pool.id)


def test_a_domain_of_the_customers_own(make_pool, cognito):
    pool, domain = make_pool(), f"login.{unique('acme')}.example"
    made = cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=domain, CustomDomainConfig=CERTIFICATE)
    assert made["CloudFrontDomain"] == "127.0.0.1"
    assert describe(cognito, domain)["CustomDomainConfig"] == CERTIFICATE
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["CustomDomain"] == domain
    other = {"CertificateArn": CERTIFICATE["CertificateArn"] + "1"}
    cognito.update_user_pool_domain(UserPoolId=pool.id, Domain=domain, CustomDomainConfig=other)
    assert describe(cognito, domain)["CustomDomainConfig"] == other
    cognito.delete_user_pool_domain(UserPoolId=pool.id, Domain=domain)


def test_a_domain_is_had_once(make_pool, cognito):
    mine, other, domain = make_pool(), make_pool(), unique("prefix-")
    cognito.create_user_pool_domain(UserPoolId=mine.id, Domain=domain)
    with refused("InvalidParameterException", "Domain already associated with another user pool."):
        cognito.create_user_pool_domain(UserPoolId=other.id, Domain=domain)
    with refused("InvalidParameterException", "User pool already has a domain configured."):
        cognito.create_user_pool_domain(UserPoolId=mine.id, Domain=unique("prefix-"))
    cognito.delete_user_pool_domain(UserPoolId=mine.id, Domain=domain)
    cognito.create_user_pool_domain(UserPoolId=other.id, Domain=domain)


@pytest.mark.parametrize(
    "domain, more",
    [("my-cognito-pool", {}), ("login.example.com", {}), ("prefix", {"CustomDomainConfig": CERTIFICATE})],
)
def test_a_name_that_is_not_good_is_refused(pool, cognito, domain, more):
    with refused("InvalidParameterException"):
        cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=domain, **more)


def test_the_lite_plan_has_no_managed_login(make_pool, cognito):
    text = "The following features need to be disabled for the LITE pricing tier configured: Managed Login"
    lite = make_pool(UserPoolTier="LITE")
    with refused("FeatureUnavailableInTierException", text):
        cognito.create_user_pool_domain(UserPoolId=lite.id, Domain=unique("prefix-"), ManagedLoginVersion=2)
    pool = make_pool()
    cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=unique("prefix-"), ManagedLoginVersion=2)
    with refused("FeatureUnavailableInTierException", text):
        cognito.update_user_pool(UserPoolId=pool.id, UserPoolTier="LITE")


def test_a_pool_elsewhere_looks_like_none(server, make_pool, cognito):
    pool, domain = make_pool(), unique("prefix-")
    cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=domain)
    other = boto_client(server, region="eu-west-1")
    gone = f"User pool {pool.id} does not exist."
    assert describe(other, domain) == describe(other, "no-such-domain") == {}
    for operation in (
        other.create_user_pool_domain,
        other.update_user_pool_domain,
        other.delete_user_pool_domain,
    ):
        with refused("ResourceNotFoundException", gone):
            operation(UserPoolId=pool.id, Domain=domain)
