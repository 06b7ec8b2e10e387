"""Managed login styles: settings and images of an app client's sign-in pages.

Texts that are the service's are known from reports of its answers; where a text or a rule is judgement, the test says so.
Exceptions of the model that are not provoked here: ConcurrentModificationException (changes that conflict are decided again),
TooManyRequestsException (the quotas are off by default), NotAuthorizedException and OperationNotEnabledException (this server
has nothing that they stand for), InternalErrorException. LimitExceededException needs as many styles as a pool has clients:
the tests of the domain lower the limit.
"""

import datetime
import hashlib
import json
import re

import pytest

from harness import wire
from harness.cognito import boto_client, refused, unique

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SETTINGS = {
    "components": {
        "primaryButton": {"lightMode": {"defaults": {"backgroundColor": "0972d3ff", "textColor": "ffffffff"}}},
        "pageBackground": {"image": {"enabled": False}},
    },
    "componentClasses": {"buttons": {"borderRadius": 8.0}},
    "categories": {"global": {"colorSchemeMode": "DARK"}, "auth": {"federation": {"order": []}}},
}
NOT_ONE_SOURCE = "useCognitoProvidedValues or settings should be specified (but not both)"
NOT_FOUND = "ManagedLoginBranding does not exist."
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
# Largest asset; and what fits into a request of 2 MB in base64.
ASSET_BYTES_MAX = 1_000_000
REQUEST_BYTES_MAX = 2 << 20


def asset(category, color_mode, extension, content, **more):
    return {"Category": category, "ColorMode": color_mode, "Extension": extension, "Bytes": content, **more}


def noise(count, seed):
    """Bytes in which no part is like another."""
    blocks = (hashlib.sha256(f"{seed}-{n}".encode()).digest() for n in range(count // 32 + 1))
    return b"".join(blocks)[:count]


@pytest.fixture
def app(pool):
    """A client without a style."""
    return pool.app_client()


def create(cognito, app, **values):
    answer = cognito.create_managed_login_branding(UserPoolId=app.pool.id, ClientId=app.id, **values)
    return answer["ManagedLoginBranding"]


def describe(cognito, pool, style_id, **more):
    answer = cognito.describe_managed_login_branding(UserPoolId=pool.id, ManagedLoginBrandingId=style_id, **more)
    return answer["ManagedLoginBranding"]


def describe_by_client(cognito, app, **more):
    answer = cognito.describe_managed_login_branding_by_client(UserPoolId=app.pool.id, ClientId=app.id, **more)
    return answer["ManagedLoginBranding"]


def update(cognito, pool, style_id, **values):
    answer = cognito.update_managed_login_branding(UserPoolId=pool.id, ManagedLoginBrandingId=style_id, **values)
    return answer["ManagedLoginBranding"]


def delete(cognito, pool, style_id):
    cognito.delete_managed_login_branding(UserPoolId=pool.id, ManagedLoginBrandingId=style_id)


def test_a_style_from_beginning_to_end(cognito, pool, app):
    with refused("ResourceNotFoundException", f"ManagedLoginBranding for client {app.id} does not exist."):
        describe_by_client(cognito, app)
    assets = [asset("PAGE_FOOTER_BACKGROUND", "DARK", "SVG", SVG), asset("FORM_LOGO", "LIGHT", "PNG", noise(3_000, 1))]
    made = create(cognito, app, Settings=SETTINGS, Assets=assets)
    style_id = made["ManagedLoginBrandingId"]
    assert UUID4.fullmatch(style_id)
    assert isinstance(made["CreationDate"], datetime.datetime)
    expected = {
        "ManagedLoginBrandingId": style_id,
        "UserPoolId": pool.id,
        "UseCognitoProvidedValues": False,
        "Settings": SETTINGS,
        "Assets": assets,
        "CreationDate": made["CreationDate"],
        "LastModifiedDate": made["CreationDate"],
    }
    assert made == expected
    assert describe(cognito, pool, style_id) == expected
    assert describe_by_client(cognito, app) == expected
    with refused("ManagedLoginBrandingExistsException", f"A ManagedLoginBranding already exists for client {app.id}"):
        create(cognito, app, UseCognitoProvidedValues=True)

    # what is not named stays: the settings of a change are whole, its assets come beside the others
    changed = update(cognito, pool, style_id, Settings={"components": {}})
    assert (changed["Settings"], changed["Assets"]) == ({"components": {}}, assets)
    logo = asset("FORM_LOGO", "LIGHT", "WEBP", noise(2_000, 2))
    icon = asset("IDP_BUTTON_ICON", "LIGHT", "SVG", SVG, ResourceId="My provider")
    changed = update(cognito, pool, style_id, UseCognitoProvidedValues=False, Settings=SETTINGS, Assets=[icon, logo])
    assert changed["Assets"] == [assets[0], logo, icon]
    assert changed["LastModifiedDate"] > changed["CreationDate"] == made["CreationDate"]
    assert describe(cognito, pool, style_id) == changed

    delete(cognito, pool, style_id)
    for again in (describe, delete):
        with refused("ResourceNotFoundException", NOT_FOUND):
            again(cognito, pool, style_id)
    with refused("ResourceNotFoundException", NOT_FOUND):
        update(cognito, pool, style_id, UseCognitoProvidedValues=True)
    assert create(cognito, app, UseCognitoProvidedValues=True)["ManagedLoginBrandingId"] != style_id


def test_provided_values_are_not_answered_unless_they_are_asked_for(cognito, pool, app):
    made = create(cognito, app, UseCognitoProvidedValues=True)
    assert "Settings" not in made
    assert (made["UseCognitoProvidedValues"], made["Assets"]) == (True, [])
    style_id = made["ManagedLoginBrandingId"]
    assert describe(cognito, pool, style_id) == made
    merged = describe(cognito, pool, style_id, ReturnMergedResources=True)["Settings"]
    assert merged["categories"]["global"]["colorSchemeMode"] == "LIGHT"
    update(cognito, pool, style_id, Settings={"categories": {"global": {"colorSchemeMode": "DARK"}}})
    expected = {**merged, "categories": {**merged["categories"]}}
    expected["categories"]["global"] = {**merged["categories"]["global"], "colorSchemeMode": "DARK"}
    assert describe(cognito, pool, style_id, ReturnMergedResources=True)["Settings"] == expected
    assert describe_by_client(cognito, app, ReturnMergedResources=True)["Settings"] == expected
    # and back: the client's own values are gone
    update(cognito, pool, style_id, Settings=SETTINGS, Assets=[asset("FORM_LOGO", "LIGHT", "SVG", SVG)])
    back = update(cognito, pool, style_id, UseCognitoProvidedValues=True)
    assert "Settings" not in back
    assert back["Assets"] == []


@pytest.mark.parametrize(
    "values",
    [{}, {"UseCognitoProvidedValues": False}, {"UseCognitoProvidedValues": True, "Settings": {}}, {"Assets": []}],
)
def test_a_request_names_one_source(cognito, pool, app, values):
    with refused("InvalidParameterException", NOT_ONE_SOURCE):
        create(cognito, app, **values)
    style_id = create(cognito, app, UseCognitoProvidedValues=True)["ManagedLoginBrandingId"]
    with refused("InvalidParameterException", NOT_ONE_SOURCE):
        update(cognito, pool, style_id, **values)


def test_assets_come_beside_provided_values(cognito, app):
    """As reported of the service, although its reference says that they have to be left out."""
    assets = [asset("PAGE_HEADER_BACKGROUND", "LIGHT", "SVG", SVG)]
    assert create(cognito, app, UseCognitoProvidedValues=True, Assets=assets)["Assets"] == assets


# The texts are judgement; that ICO is for a favicon only is known from the service.
BAD = {
    "icon": (
        {"Assets": [asset("FORM_LOGO", "LIGHT", "ICO", b"a")]},
        "The extension ICO is not allowed for assets of the category FORM_LOGO.",
    ),
    "favicon": (
        {"Assets": [asset("FAVICON_ICO", "DYNAMIC", "PNG", b"a")]},
        "The extension PNG is not allowed for assets of the category FAVICON_ICO.",
    ),
    "empty": ({"Assets": [asset("FORM_LOGO", "LIGHT", "PNG", b"")]}, "The asset FORM_LOGO (LIGHT) has no bytes."),
    "twice": (
        {"Assets": [asset("FORM_LOGO", "LIGHT", "PNG", b"a"), asset("FORM_LOGO", "LIGHT", "SVG", b"b")]},
        "The asset FORM_LOGO (LIGHT) is there twice.",
    ),
    "list": ({"Settings": []}, "Settings must be a JSON object."),
    "large settings": ({"Settings": {"a": "a" * (128 << 10)}}, "Settings can have at most 131072 bytes."),
}


@pytest.mark.parametrize("values, text", BAD.values(), ids=BAD)
def test_what_is_not_good_is_refused_and_changes_nothing(cognito, pool, app, values, text):
    values = {"Settings": SETTINGS, **values}
    with refused("InvalidParameterException", text):
        create(cognito, app, **values)
    made = create(cognito, app, Settings=SETTINGS, Assets=[asset("FORM_LOGO", "LIGHT", "SVG", SVG)])
    with refused("InvalidParameterException", text):
        update(cognito, pool, made["ManagedLoginBrandingId"], **values)
    assert describe_by_client(cognito, app) == made


def test_what_is_not_there_is_not_found(cognito, pool):
    for client_id in ("nosuchclient", "a" * 128):
        with refused("ResourceNotFoundException"):
            cognito.create_managed_login_branding(
                UserPoolId=pool.id, ClientId=client_id, UseCognitoProvidedValues=True
            )
        with refused("ResourceNotFoundException"):
            cognito.describe_managed_login_branding_by_client(UserPoolId=pool.id, ClientId=client_id)
    with refused("ResourceNotFoundException", "User pool us-east-1_nosuchpool does not exist."):
        cognito.describe_managed_login_branding(
            UserPoolId="us-east-1_nosuchpool", ManagedLoginBrandingId="00000000-0000-4000-8000-000000000000"
        )


def test_a_change_names_what_it_changes(cognito, pool):
    """The model does not require them. The text is that of members that it requires."""
    for values, path in [({"UserPoolId": pool.id}, "managedLoginBrandingId"), ({}, "userPoolId")]:
        text = (
            f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
        )
        with refused("InvalidParameterException", text):
            cognito.update_managed_login_branding(UseCognitoProvidedValues=True, **values)


def test_the_lite_plan_has_none(cognito, make_pool):
    """The developer guide has the branding editor in the other plans; that it is refused here is judgement."""
    pool = make_pool(UserPoolTier="LITE")
    with refused("FeatureUnavailableInTierException"):
        create(cognito, pool.app_client(), UseCognitoProvidedValues=True)
    cognito.update_user_pool(UserPoolId=pool.id, UserPoolTier="ESSENTIALS")
    create(cognito, pool.app_client(), UseCognitoProvidedValues=True)


def test_images_come_back_byte_for_byte_also_when_they_take_several_requests(cognito, pool, app):
    first = [
        asset("PAGE_BACKGROUND", "LIGHT", "JPEG", noise(ASSET_BYTES_MAX, 1)),
        asset("FORM_LOGO", "LIGHT", "PNG", noise(250_001, 2)),
    ]
    made = create(cognito, app, Settings=SETTINGS, Assets=first)
    assert made["Assets"] == first
    second = [
        asset("PAGE_BACKGROUND", "DARK", "JPEG", noise(ASSET_BYTES_MAX, 3)),
        asset("FORM_LOGO", "DARK", "PNG", noise(500_000, 4)),
    ]
    changed = update(cognito, pool, made["ManagedLoginBrandingId"], Settings=SETTINGS, Assets=second)
    assert changed["Assets"] == first + second
    assert describe_by_client(cognito, app)["Assets"] == first + second


def test_a_request_holds_two_megabytes(server, pool, app):
    """The exception is this server's for every body that is too large."""
    body = {"UserPoolId": pool.id, "ClientId": app.id, "Settings": {}, "x": ""}
    room = REQUEST_BYTES_MAX - len(json.dumps(body))
    answer = wire.call(server, "CreateManagedLoginBranding", {**body, "x": "x" * (room + 1)})
    assert (answer.status, answer.error) == (413, "RequestEntityTooLargeException")
    assert wire.call(server, "CreateManagedLoginBranding", {**body, "x": "x" * room}).status == 200
    too_large = wire.call(server, "CreateUserPool", {"PoolName": "p", "x": "x" * (1 << 20)})
    assert too_large.status == 413, "other requests hold one"


def test_an_image_that_is_too_large_is_refused_by_its_size(server, pool, app):
    image = "A" * ((ASSET_BYTES_MAX + 3) // 3 * 4)
    large = {"Category": "FORM_LOGO", "ColorMode": "LIGHT", "Extension": "PNG", "Bytes": image}
    body = {"UserPoolId": pool.id, "ClientId": app.id, "Settings": {}, "Assets": [large]}
    answer = wire.call(server, "CreateManagedLoginBranding", body)
    assert answer.error == "InvalidParameterException"
    text = "at 'assets.1.member.bytes' failed to satisfy constraint: Member must have length less than or equal to 1000000"
    assert text in answer.message


def test_settings_are_kept_as_they_are_written(server, pool, app):
    """Numbers, order and space: whoever compares texts sees no difference."""
    settings = '{ "b": 1.0, "a": 12345678901234567890,\n "c": "\\u00e4" }'
    body = f'{{"UserPoolId":"{pool.id}","ClientId":"{app.id}","Settings":{settings}}}'
    made = wire.call(server, "CreateManagedLoginBranding", body.encode())
    assert made.status == 200, made.body
    read = wire.call(server, "DescribeManagedLoginBrandingByClient", {"UserPoolId": pool.id, "ClientId": app.id})
    assert settings.encode() in read.body


def test_a_style_goes_with_its_client_and_with_its_pool(cognito, make_pool):
    pool = make_pool()
    app, other = pool.app_client(), pool.app_client()
    image = [asset("FORM_LOGO", "LIGHT", "PNG", noise(ASSET_BYTES_MAX, 1))]
    made = create(cognito, app, Settings={}, Assets=image)
    kept = create(cognito, other, Settings={}, Assets=image)
    cognito.delete_user_pool_client(UserPoolId=pool.id, ClientId=app.id)
    with refused("ResourceNotFoundException", NOT_FOUND):
        describe(cognito, pool, made["ManagedLoginBrandingId"])
    assert describe_by_client(cognito, other) == kept
    cognito.delete_user_pool(UserPoolId=pool.id)
    with refused("ResourceNotFoundException", f"User pool {pool.id} does not exist."):
        describe(cognito, pool, kept["ManagedLoginBrandingId"])


def test_styles_survive_a_crash(start_server):
    server = start_server()
    cognito = boto_client(server)
    pool_id = cognito.create_user_pool(PoolName=unique("pool"))["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=pool_id, ClientName="app")["UserPoolClient"]["ClientId"]
    images = [asset("FORM_LOGO", "LIGHT", "PNG", noise(ASSET_BYTES_MAX, 1))]
    whose = {"UserPoolId": pool_id, "ClientId": client}
    made = cognito.create_managed_login_branding(**whose, Settings=SETTINGS, Assets=images)["ManagedLoginBranding"]
    server.kill()
    server.start()
    read = boto_client(server).describe_managed_login_branding_by_client(**whose)["ManagedLoginBranding"]
    assert read == made


def test_a_pool_elsewhere_looks_like_none(server, cognito, pool, app):
    made = create(cognito, app, Settings=SETTINGS)
    style = {"ManagedLoginBrandingId": made["ManagedLoginBrandingId"]}
    other = boto_client(server, region="eu-west-1")
    for operation, more in [
        (other.create_managed_login_branding, {"ClientId": app.id, "UseCognitoProvidedValues": True}),
        (other.describe_managed_login_branding, style),
        (other.describe_managed_login_branding_by_client, {"ClientId": app.id}),
        (other.update_managed_login_branding, {**style, "UseCognitoProvidedValues": True}),
        (other.delete_managed_login_branding, style),
    ]:
        with refused("ResourceNotFoundException", f"User pool {pool.id} does not exist."):
            operation(UserPoolId=pool.id, **more)
    assert describe_by_client(cognito, app) == made
