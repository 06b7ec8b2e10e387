"""UpdateUserPool, AddCustomAttributes, TagResource, UntagResource, ListTagsForResource."""

import copy

import pytest

from harness import wire
from harness.cognito import boto_client, refused, unique


def describe(cognito, pool):
    return cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]


def test_what_an_update_leaves_out_goes_back_to_its_default(make_pool, cognito):
    plain = describe(cognito, make_pool())
    pool = make_pool(
        Policies={"PasswordPolicy": {"MinimumLength": 20}},
        DeletionProtection="ACTIVE",
        AutoVerifiedAttributes=["email"],
        AliasAttributes=["email"],
        AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},
        UserPoolTags={"team": "blue"},
        UserPoolTier="LITE",
        UsernameConfiguration={"CaseSensitive": False},
        Schema=[{"Name": "team", "AttributeDataType": "String"}],
    )
    before = describe(cognito, pool)
    assert cognito.update_user_pool(UserPoolId=pool.id).keys() == {"ResponseMetadata"}
    after = describe(cognito, pool)
    assert after.pop("LastModifiedDate") >= before["LastModifiedDate"]
    stays = {
        "Id", "Arn", "Name", "CreationDate", "UserPoolTier", "AliasAttributes", "UsernameConfiguration",
        "SchemaAttributes",
    }  # fmt: skip
    for name in stays:
        assert after[name] == before[name], name
    resets = plain.keys() - stays - {"LastModifiedDate"}
    assert {name: after.get(name) for name in resets} == {name: plain[name] for name in resets}
    assert after.keys() == resets | stays


def test_a_description_can_be_sent_back_as_an_update(make_pool, cognito):
    """What Terraform and scripts do: read, change one thing, write all."""
    pool = make_pool(AutoVerifiedAttributes=["email"], UserPoolTags={"team": "blue"}, UserPoolTier="PLUS")
    before = describe(cognito, pool)
    unknown = {
        "Id", "Arn", "Name", "CreationDate", "LastModifiedDate", "SchemaAttributes", "EstimatedNumberOfUsers",
    }  # fmt: skip
    update = {name: value for name, value in copy.deepcopy(before).items() if name not in unknown}
    # one setting with two names, of which a request may use one
    del update["AdminCreateUserConfig"]["UnusedAccountValidityDays"]
    cognito.update_user_pool(UserPoolId=pool.id, PoolName="renamed", **update)
    after = describe(cognito, pool)
    for description in (before, after):
        del description["LastModifiedDate"], description["Name"]
    assert after == before


def test_the_list_shows_a_new_name(make_pool, cognito):
    pool, name = make_pool(), unique("renamed")
    cognito.update_user_pool(UserPoolId=pool.id, PoolName=name)
    pages = cognito.get_paginator("list_user_pools").paginate(PaginationConfig={"PageSize": 60})
    names = {entry["Id"]: entry["Name"] for page in pages for entry in page["UserPools"]}
    assert names[pool.id] == name


def test_a_new_policy_counts_at_once(make_pool, cognito):
    pool = make_pool()
    app = pool.app_client()
    app.sign_up(password="Correct-horse-7")
    cognito.update_user_pool(UserPoolId=pool.id, Policies={"PasswordPolicy": {"MinimumLength": 30}})
    with refused("InvalidPasswordException"):
        app.sign_up(password="Correct-horse-7")
    cognito.update_user_pool(
        UserPoolId=pool.id,
        Policies={"PasswordPolicy": {"MinimumLength": 6}},
        AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},
    )
    with refused("NotAuthorizedException", "SignUp is not permitted for this user pool"):
        app.sign_up(password="simple")


def test_protection_is_taken_away_before_a_pool_is_deleted(make_pool, cognito):
    pool = make_pool(DeletionProtection="ACTIVE")
    with refused("InvalidParameterException"):
        cognito.delete_user_pool(UserPoolId=pool.id)
    cognito.update_user_pool(UserPoolId=pool.id, DeletionProtection="INACTIVE")
    cognito.delete_user_pool(UserPoolId=pool.id)


@pytest.mark.parametrize("member, value", [("LambdaConfig", {
    "InboundFederation": {"LambdaVersion": "V1_0", "LambdaArn": "arn:aws:lambda:us-east-1:000000000000:function:f"}})], ids=str)  # fmt: skip
def test_a_member_without_effect_is_refused_by_name(server, pool, member, value):
    answer = wire.call(server, "UpdateUserPool", {"UserPoolId": pool.id, member: value})
    assert answer.status == 501
    assert member in answer.message


def test_added_attributes_can_be_used_at_once(make_pool, cognito):
    pool = make_pool()
    limits = {"MinLength": "1", "MaxLength": "5"}
    cognito.add_custom_attributes(
        UserPoolId=pool.id,
        CustomAttributes=[
            {"Name": "team", "AttributeDataType": "String", "StringAttributeConstraints": limits},
            {"Name": "age", "AttributeDataType": "Number", "Mutable": False},
        ],
    )
    schema = {a["Name"]: a for a in describe(cognito, pool)["SchemaAttributes"]}
    assert schema["custom:team"] == {
        "Name": "custom:team",
        "AttributeDataType": "String",
        "DeveloperOnlyAttribute": False,
        "Mutable": True,
        "Required": False,
        "StringAttributeConstraints": limits,
    }
    assert schema["custom:age"]["Mutable"] is False
    username = pool.user(**{"custom:team": "blue"})
    assert {"Name": "custom:team", "Value": "blue"} in pool.get(username)["UserAttributes"]
    with refused("InvalidParameterException"):
        pool.user(**{"custom:team": "too long"})
    with refused(
        "InvalidParameterException", "custom:team: Existing attribute already has name custom:team."
    ):
        cognito.add_custom_attributes(
            UserPoolId=pool.id, CustomAttributes=[{"Name": "team", "AttributeDataType": "String"}]
        )


def test_a_pool_has_at_most_fifty_custom_attributes(make_pool, cognito):
    pool = make_pool()

    def add(first, count):
        cognito.add_custom_attributes(
            UserPoolId=pool.id,
            CustomAttributes=[{"Name": f"a{first + n}", "AttributeDataType": "String"} for n in range(count)],
        )

    add(0, 25)
    add(25, 24)
    with refused("InvalidParameterException"):
        add(49, 2)
    add(49, 1)


def test_tags_are_set_listed_and_taken_away(make_pool, cognito):
    pool = make_pool(UserPoolTags={"team": "blue"})
    arn = pool.description["Arn"]
    cognito.tag_resource(ResourceArn=arn, Tags={"team": "green", "stage": ""})
    assert cognito.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"team": "green", "stage": ""}
    assert describe(cognito, pool)["UserPoolTags"] == {"team": "green", "stage": ""}
    cognito.untag_resource(ResourceArn=arn, TagKeys=["team", "other"])
    assert cognito.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"stage": ""}
    with refused("InvalidParameterException"):
        cognito.tag_resource(ResourceArn=arn, Tags={"aws:x": "y"})
    with refused("InvalidParameterException"):
        cognito.list_tags_for_resource(ResourceArn="arn:aws:s3:us-east-1:000000000000:bucket/name")


def test_a_pool_of_another_account_cannot_be_changed(server, make_pool, cognito):
    pool = make_pool(UserPoolTags={"team": "blue"})
    other = boto_client(server, region="eu-west-1")
    gone = f"User pool {pool.id} does not exist."
    arn = pool.description["Arn"]
    with refused("ResourceNotFoundException", gone):
        other.update_user_pool(UserPoolId=pool.id)
    with refused("ResourceNotFoundException", gone):
        other.add_custom_attributes(
            UserPoolId=pool.id, CustomAttributes=[{"Name": "x", "AttributeDataType": "String"}]
        )
    with refused("ResourceNotFoundException", gone):
        other.tag_resource(ResourceArn=arn, Tags={"a": "b"})
    with refused("ResourceNotFoundException", gone):
        other.list_tags_for_resource(ResourceArn=arn)
    assert describe(cognito, pool)["UserPoolTags"] == {"team": "blue"}


def test_second_factors_that_are_off_have_no_settings(server, pool, cognito):
    answer = cognito.set_user_pool_mfa_config(UserPoolId=pool.id, MfaConfiguration="OFF")
    assert answer["MfaConfiguration"] == "OFF"
    assert cognito.get_user_pool_mfa_config(UserPoolId=pool.id)["MfaConfiguration"] == "OFF"
    with refused(
        "InvalidParameterException",
        "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.",
    ):
        cognito.set_user_pool_mfa_config(
            UserPoolId=pool.id,
            MfaConfiguration="OFF",
            SmsMfaConfiguration={"SmsAuthenticationMessage": "Your code is {####}"},
        )
    other = boto_client(server, region="eu-west-1")
    for operation in (other.get_user_pool_mfa_config, other.set_user_pool_mfa_config):
        with refused("ResourceNotFoundException", f"User pool {pool.id} does not exist."):
            operation(UserPoolId=pool.id)
