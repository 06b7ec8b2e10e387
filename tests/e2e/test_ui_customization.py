"""Customization of the classic sign-in pages: CSS and a logo, of one app client or of all.

Classes and sizes are those of the developer guide, "Customizing hosted UI (classic) branding". The texts for a missing domain
and for a class are known from reports of the service's answers; the others are judgement. Exceptions of the model that are not
provoked here: NotAuthorizedException and OperationNotEnabledException (this server has nothing that they stand for),
TooManyRequestsException (the quotas are off by default), InternalErrorException.
"""

import datetime
import re
import struct
import zlib

import pytest
import requests

from harness.cognito import Pool, boto_client, refused, unique

CSS = ".label-customizable {font-weight: 400;}"
OTHER_CSS = ".submitButton-customizable:hover { color: #fff; background-color: #286090; } /* hover */"


def chunk(kind, content):
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(shade):
    """An image of one grey pixel."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes([0, shade]))) + chunk(b"IEND", b"")


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(40)


@pytest.fixture(scope="module")
def make_pool_with_domain(server, cognito):
    def make():
        pool = Pool(server, cognito)
        cognito.create_user_pool_domain(UserPoolId=pool.id, Domain=unique("classic"))
        return pool

    return make


@pytest.fixture(scope="module")
def pool_with_domain(make_pool_with_domain):
    """Shared by the tests of this module."""
    return make_pool_with_domain()


def get(cognito, pool, client_id=None):
    more = {"ClientId": client_id} if client_id else {}
    return cognito.get_ui_customization(UserPoolId=pool.id, **more)["UICustomization"]


def put(cognito, pool, client_id=None, **values):
    more = {"ClientId": client_id} if client_id else {}
    return cognito.set_ui_customization(UserPoolId=pool.id, **more, **values)["UICustomization"]


def test_css_and_logo_from_beginning_to_end(cognito, make_pool_with_domain):
    pool = make_pool_with_domain()
    app = pool.app_client()
    assert get(cognito, pool) == get(cognito, pool, app.id) == {}
    made = put(cognito, pool, "ALL", CSS=CSS, ImageFile=png(1))
    assert isinstance(made["CreationDate"], datetime.datetime)
    assert re.fullmatch(r"\d{14}", made["CSSVersion"])
    version = made["CreationDate"].astimezone(datetime.UTC).strftime("%Y%m%d%H%M%S")
    assert made == {
        "UserPoolId": pool.id,
        "ClientId": "ALL",
        "ImageUrl": f"{pool.server.endpoint}/{pool.id}/ALL/{version}/assets/images/image.jpg",
        "CSS": CSS,
        "CSSVersion": version,
        "CreationDate": made["CreationDate"],
        "LastModifiedDate": made["CreationDate"],
    }
    # every client that has none of its own has that of all
    for client_id in (None, "ALL", app.id):
        assert get(cognito, pool, client_id) == made
    own = put(cognito, pool, app.id, CSS=OTHER_CSS)
    assert (own["ClientId"], own["CSS"], "ImageUrl" in own) == (app.id, OTHER_CSS, False)
    assert get(cognito, pool, app.id) == own
    assert get(cognito, pool) == made
    changed = put(cognito, pool, app.id, ImageFile=JPEG)
    assert "CSS" not in changed, "both are set at once"
    assert changed["CreationDate"] == own["CreationDate"] < changed["LastModifiedDate"]
    # without both, there is none
    put(cognito, pool, app.id)
    assert get(cognito, pool, app.id) == made
    put(cognito, pool)
    assert get(cognito, pool, app.id) == {}


def test_a_logo_is_where_its_url_says_byte_for_byte(cognito, make_pool_with_domain):
    pool = make_pool_with_domain()
    app = pool.app_client()
    for client_id, image, kind in [("ALL", png(2), "image/png"), (app.id, JPEG, "image/jpeg")]:
        url = put(cognito, pool, client_id, ImageFile=image)["ImageUrl"]
        answer = requests.get(url, timeout=10)
        assert (answer.status_code, answer.content) == (200, image)
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert requests.get(url.replace(client_id, "another"), timeout=10).status_code == 404
        assert requests.get(url.replace(pool.id, "us-east-1_nosuchpool"), timeout=10).status_code == 404
        put(cognito, pool, client_id, CSS=CSS)
        assert requests.get(url, timeout=10).status_code == 404, "the logo is gone"


def test_a_pool_without_a_domain_has_no_pages(cognito, make_pool):
    pool = make_pool()
    with refused("InvalidParameterException", "A domain must be associated with this user pool."):
        put(cognito, pool, CSS=CSS)
    assert get(cognito, pool) == {}


CLASSES = [
    "background", "banner", "errorMessage", "idpButton", "idpDescription", "inputField", "label", "legalText", "logo",
    "passwordCheck-valid", "passwordCheck-notValid", "redirect", "socialButton", "submitButton", "textDescription",
]  # fmt: skip
STATES = ["idpButton-customizable:hover", "inputField-customizable:focus", "submitButton-customizable:hover"]


def test_every_documented_class_can_be_styled(cognito, pool_with_domain):
    names = [*(f"{name}-customizable" for name in CLASSES), *STATES]
    css = "\n".join(f".{name} {{\n\tcolor: #DF3312;\n\tmargin: 20px 0px 10px 0px;\n}}" for name in names)
    assert put(cognito, pool_with_domain, CSS=css)["CSS"] == css


BAD = {
    "element": ("body {color: red}", "The CSS class body is not in the list of allowed classes."),
    "class": (".mine {color: red}", "The CSS class .mine is not in the list of allowed classes."),
    "state": (
        ".label-customizable:hover {color: red}",
        "The CSS class .label-customizable:hover is not in the list of allowed classes.",
    ),
    "import": ('@import "a.css";', "The CSS must not contain @."),
    "media": ("@media print {.label-customizable {color: red}}", "The CSS must not contain @."),
    "page": ("/* </style><script>alert(1)</script> */", "The CSS must not contain <."),
    "script": (".logo-customizable {background: url(javascript:a)}", "The CSS must not contain javascript:."),
    "open": (".logo-customizable {color: red", "The CSS is not valid."),
}


@pytest.mark.parametrize("css, text", BAD.values(), ids=BAD)
def test_css_is_checked(cognito, pool_with_domain, css, text):
    before = get(cognito, pool_with_domain)
    with refused("InvalidParameterException", text):
        put(cognito, pool_with_domain, CSS=css)
    assert get(cognito, pool_with_domain) == before


def test_a_logo_is_a_png_or_jpeg_of_at_most_100_kb(cognito, pool_with_domain):
    for image in (b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x00\x00\x01\x00"):
        with refused("InvalidParameterException", "The image file must be a PNG, JPG, or JPEG file."):
            put(cognito, pool_with_domain, ImageFile=image)
    largest = png(3) + bytes((100 << 10) - len(png(3)))
    put(cognito, pool_with_domain, ImageFile=largest)
    with refused("InvalidParameterException", "The image file can be no larger than 100 KB."):
        put(cognito, pool_with_domain, ImageFile=largest + b"\x00")
    with refused("InvalidParameterException", "The request parameters are too large."):
        put(cognito, pool_with_domain, ImageFile=largest, CSS=f"{CSS}/*{'a' * 3_000}*/")


def test_what_is_not_there_is_not_found(cognito, pool_with_domain):
    for operation in (get, put):
        with refused("ResourceNotFoundException"):
            operation(cognito, pool_with_domain, "nosuchclient")
    with refused("ResourceNotFoundException", "User pool us-east-1_nosuchpool does not exist."):
        cognito.get_ui_customization(UserPoolId="us-east-1_nosuchpool")


def test_a_customization_goes_with_its_client(cognito, pool_with_domain):
    app = pool_with_domain.app_client()
    url = put(cognito, pool_with_domain, app.id, CSS=CSS, ImageFile=png(4))["ImageUrl"]
    cognito.delete_user_pool_client(UserPoolId=pool_with_domain.id, ClientId=app.id)
    with refused("ResourceNotFoundException"):
        get(cognito, pool_with_domain, app.id)
    assert requests.get(url, timeout=10).status_code == 404


def test_a_pool_elsewhere_looks_like_none(server, pool_with_domain):
    other = boto_client(server, region="eu-west-1")
    for operation in (other.get_ui_customization, other.set_ui_customization):
        with refused("ResourceNotFoundException", f"User pool {pool_with_domain.id} does not exist."):
            operation(UserPoolId=pool_with_domain.id)
