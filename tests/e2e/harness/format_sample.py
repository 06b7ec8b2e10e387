"""A data directory with something of everything in it, and what the API says about it.

`make format-sample` keeps one for a version that is released; `test_formats.py` opens all that have been kept with the present
build. A kept one is never changed: the build has to read it.
"""

import base64
import datetime
import json
import pathlib
import re
import sys
import tarfile
import tempfile

import pyotp

from harness.cognito import PASSWORD, Pool, attributes, boto_client
from harness.server import ROOT, Server

KEPT = ROOT / "tests" / "e2e" / "formats"
# the longest that a pool may ask for, so that the sample signs in for ten years
REFRESH_DAYS = 3650
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def fill(server):
    """Makes the sample. Returns what is needed to use it."""
    cognito = boto_client(server)
    pool = Pool(
        server,
        cognito,
        PoolName="sample",
        UsernameConfiguration={"CaseSensitive": False},
        AliasAttributes=["email"],
        AutoVerifiedAttributes=["email"],
        Schema=[{"Name": "plan", "AttributeDataType": "String", "Mutable": True}],
        UserPoolTags={"team": "sample"},
        DeviceConfiguration={"DeviceOnlyRememberedOnUserPrompt": True},
    )
    cognito.set_user_pool_mfa_config(
        UserPoolId=pool.id, MfaConfiguration="OPTIONAL", SoftwareTokenMfaConfiguration={"Enabled": True}
    )
    named = {"UserPoolId": pool.id}
    cognito.create_resource_server(
        **named,
        Identifier="orders",
        Name="orders",
        Scopes=[{"ScopeName": "read", "ScopeDescription": "read orders"}],
    )
    cognito.create_identity_provider(
        **named,
        ProviderName="Company",
        ProviderType="OIDC",
        ProviderDetails={
            "client_id": "sample",
            "client_secret": "a secret of a provider",
            "attributes_request_method": "GET",
            "oidc_issuer": "https://login.example.com",
            "authorize_scopes": "openid",
            "authorize_url": "https://login.example.com/authorize",
            "token_url": "https://login.example.com/token",
            "attributes_url": "https://login.example.com/userinfo",
            "jwks_uri": "https://login.example.com/jwks",
        },
        AttributeMapping={"email": "email"},
    )
    app = pool.app_client(secret=True, RefreshTokenValidity=REFRESH_DAYS)
    cognito.create_group(**named, GroupName="readers", Precedence=3)
    cognito.create_user_pool_domain(**named, Domain="sample")
    cognito.set_ui_customization(**named, ClientId=app.id, CSS=".label-customizable {font-weight: 400;}", ImageFile=PIXEL)
    for name in ("ada", "grace", "edsger"):
        pool.user(name, email=f"{name}@example.com", email_verified="true", **{"custom:plan": "gold"})
    cognito.admin_add_user_to_group(**named, Username="ada", GroupName="readers")
    cognito.admin_disable_user(**named, Username="edsger")
    invited = attributes({"email": "barbara@example.com"})
    cognito.admin_create_user(**named, Username="barbara", UserAttributes=invited, MessageAction="SUPPRESS")
    tokens = app.password_sign_in("ada")["AuthenticationResult"]
    seed = cognito.associate_software_token(AccessToken=tokens["AccessToken"])["SecretCode"]
    cognito.verify_software_token(AccessToken=tokens["AccessToken"], UserCode=pyotp.TOTP(seed).now())
    preferred = {"Enabled": True, "PreferredMfa": True}
    cognito.admin_set_user_mfa_preference(**named, Username="ada", SoftwareTokenMfaSettings=preferred)
    return {
        "pool": pool.id,
        "client": app.id,
        "client_secret": app.secret,
        "password": PASSWORD,
        "totp_seed": seed,
        "refresh_token": tokens["RefreshToken"],
    }


def answers(server, sample):
    """What the API says about the sample, as JSON."""
    cognito = boto_client(server)
    named = {"UserPoolId": sample["pool"]}
    found = {
        "DescribeUserPool": cognito.describe_user_pool(**named),
        "GetUserPoolMfaConfig": cognito.get_user_pool_mfa_config(**named),
        "DescribeUserPoolClient": cognito.describe_user_pool_client(**named, ClientId=sample["client"]),
        "DescribeResourceServer": cognito.describe_resource_server(**named, Identifier="orders"),
        "DescribeIdentityProvider": cognito.describe_identity_provider(**named, ProviderName="Company"),
        "GetGroup": cognito.get_group(**named, GroupName="readers"),
        "GetUICustomization": cognito.get_ui_customization(**named, ClientId=sample["client"]),
        "GetSigningCertificate": cognito.get_signing_certificate(**named),
        "AdminListGroupsForUser": cognito.admin_list_groups_for_user(**named, Username="ada"),
        "ListUsers": cognito.list_users(**named),
    }
    for name in ("ada", "grace", "edsger", "barbara"):
        found[f"AdminGetUser {name}"] = cognito.admin_get_user(**named, Username=name)
    for answer in found.values():
        answer.pop("ResponseMetadata")
    # addresses of this run's server
    found["GetUICustomization"]["UICustomization"].pop("ImageUrl")
    return json.loads(json.dumps(found, default=_as_text))


def feature_levels(server):
    """What the groups of the server may have in their logs, by group."""
    found = re.findall(r'^conclave_raft_feature_level\{group="(\d+)"\} (\d+)', server.metrics(), re.MULTILINE)
    return {group: int(level) for group, level in found}


def _as_text(value):
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat()
    raise TypeError(type(value))


def keep(version):
    """Writes the sample of the present build to `formats/VERSION.tar.gz`."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        server = Server(directory).start()
        try:
            sample = fill(server)
            sample["answers"] = answers(server, sample)
            sample["feature_levels"] = feature_levels(server)
        finally:
            stopped = server.stop()
        assert stopped == 0
        (directory / "sample.json").write_text(json.dumps(sample, indent=1, sort_keys=True) + "\n")
        KEPT.mkdir(exist_ok=True)
        with tarfile.open(KEPT / f"{version}.tar.gz", "x:gz") as archive:
            archive.add(directory / "data", "data")
            archive.add(directory / "sample.json", "sample.json")


if __name__ == "__main__":
    keep(sys.argv[1])
