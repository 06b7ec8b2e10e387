"""Passkeys in a real browser, with its virtual authenticator: what navigator.credentials makes of our options, and we of its
answers."""

import json

import pytest

from harness.browser import Browser, chromium, site
from harness.cognito import PASSWORD, refused
from harness.passkeys import asked, choice_client, passkey_pool

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.html").write_text("<!doctype html><title>an app</title>")
    with site(folder) as origin:
        yield origin


@pytest.fixture
def browser(tmp_path, pages):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.stop()


def add_authenticator(browser, verifies=True, counts=False):
    browser.page("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "ctap2Version": "ctap2_1",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": verifies,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
        "defaultBackupEligibility": not counts,
        "defaultBackupState": not counts,
    }
    return browser.page("WebAuthn.addVirtualAuthenticator", options=options)["authenticatorId"]


def create(browser, options):
    return browser.evaluate(
        "navigator.credentials.create({publicKey: PublicKeyCredential.parseCreationOptionsFromJSON("
        f"{json.dumps(options)})}}).then(credential => JSON.stringify(credential))"
    )


def get(browser, options):
    return browser.evaluate(
        "navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON("
        f"{options})}}).then(credential => JSON.stringify(credential))"
    )


@pytest.fixture(scope="module")
def pool(server, cognito):
    return passkey_pool(server, cognito, rp_id="localhost", UserVerification="required")


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("counts", [False, True])
def test_a_browsers_passkey_registers_and_signs_in(pool, cognito, browser, pages, hides, counts):
    client = choice_client(pool, PreventUserExistenceErrors="ENABLED" if hides else "LEGACY")
    username = pool.user()
    token = client.tokens(username, PASSWORD)["AccessToken"]
    browser.open(f"{pages}/index.html")
    add_authenticator(browser, counts=counts)
    options = cognito.start_web_authn_registration(AccessToken=token)["CredentialCreationOptions"]
    credential = json.loads(create(browser, options))
    cognito.complete_web_authn_registration(AccessToken=token, Credential=credential)
    (listed,) = cognito.list_web_authn_credentials(AccessToken=token)["Credentials"]
    assert listed["CredentialId"] == credential["id"]
    for _ in range(2):
        session, request = asked(client, username)
        answers = client.parameters(username, CREDENTIAL=get(browser, request))
        assert client.respond("WEB_AUTHN", session, **answers)["AuthenticationResult"]
    # the authenticator has one already
    options = cognito.start_web_authn_registration(AccessToken=token)["CredentialCreationOptions"]
    with pytest.raises(AssertionError, match="InvalidStateError"):
        create(browser, options)


def test_a_page_of_another_relying_party_gets_nowhere(server, cognito, browser, pages):
    pool = passkey_pool(server, cognito, rp_id="example.com")
    client = choice_client(pool)
    token = client.tokens(pool.user(), PASSWORD)["AccessToken"]
    browser.open(f"{pages}/index.html")
    add_authenticator(browser)
    options = cognito.start_web_authn_registration(AccessToken=token)["CredentialCreationOptions"]
    with pytest.raises(AssertionError, match="SecurityError"):
        create(browser, options)
    # nor with options that it has changed
    options["rp"]["id"] = "localhost"
    credential = json.loads(create(browser, options))
    with refused("WebAuthnOriginNotAllowedException"):
        cognito.complete_web_authn_registration(AccessToken=token, Credential=credential)
