"""Passkeys, by boto3 and an authenticator in software."""

import pytest

from harness.cognito import PASSWORD, refused, unique
from harness.passkeys import (
    FLAG,
    RP_ID,
    Authenticator,
    asked,
    choice_client,
    encode,
    passkey_pool,
    register,
    sign_in,
    user_with_passkey,
)

INCORRECT = "Incorrect username or password."
USED = "Invalid session for the user, session can only be used once."


@pytest.fixture(scope="module")
def pool(server, cognito):
    return passkey_pool(server, cognito)


@pytest.fixture(scope="module")
def client(pool):
    return choice_client(pool)


def test_the_configuration_is_described(pool, cognito):
    got = cognito.get_user_pool_mfa_config(UserPoolId=pool.id)
    assert got["WebAuthnConfiguration"] == {"RelyingPartyId": RP_ID, "UserVerification": "preferred"}
    assert got["MfaConfiguration"] == "OFF"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_a_passkey_registers_and_signs_in(pool, client, cognito, algorithm):
    username, authenticator, token = user_with_passkey(pool, client, algorithm)
    (listed,) = cognito.list_web_authn_credentials(AccessToken=token)["Credentials"]
    assert listed["CredentialId"] == encode(authenticator.id)
    assert listed["RelyingPartyId"] == RP_ID
    assert listed["AuthenticatorTransports"] == ["internal"]
    assert cognito.get_user_auth_factors(AccessToken=token)["ConfiguredUserAuthFactors"] == ["PASSWORD", "WEB_AUTHN"]
    tokens = sign_in(client, username, authenticator)
    assert cognito.get_user(AccessToken=tokens["AccessToken"])["Username"] == username
    assert client.initiate("REFRESH_TOKEN_AUTH", REFRESH_TOKEN=tokens["RefreshToken"])["AuthenticationResult"]
    cognito.delete_web_authn_credential(AccessToken=token, CredentialId=listed["CredentialId"])
    assert cognito.list_web_authn_credentials(AccessToken=token)["Credentials"] == []
    begun = client.initiate("USER_AUTH", USERNAME=username, PREFERRED_CHALLENGE="WEB_AUTHN")
    assert begun["AvailableChallenges"] == ["PASSWORD", "PASSWORD_SRP"]


def test_an_attestation_by_the_passkey_itself_is_taken(pool, client, cognito):
    username = pool.user()
    token = client.tokens(username, PASSWORD)["AccessToken"]
    authenticator = Authenticator()
    authenticator.self_attestation = True
    register(cognito, token, authenticator)
    assert sign_in(client, username, authenticator)


def test_a_passkey_can_be_chosen(pool, client):
    username, authenticator, _ = user_with_passkey(pool, client)
    begun = client.initiate("USER_AUTH", USERNAME=username)
    assert begun["AvailableChallenges"] == ["PASSWORD", "PASSWORD_SRP", "WEB_AUTHN"]
    credential = authenticator.get(begun["ChallengeParameters"]["CREDENTIAL_REQUEST_OPTIONS"])
    answers = client.parameters(username, ANSWER="WEB_AUTHN", CREDENTIAL=credential)
    assert client.respond("SELECT_CHALLENGE", begun["Session"], **answers)["AuthenticationResult"]
    begun = client.initiate("USER_AUTH", USERNAME=username)
    answers = client.parameters(username, ANSWER="WEB_AUTHN")
    begun = client.respond("SELECT_CHALLENGE", begun["Session"], **answers)
    credential = authenticator.get(begun["ChallengeParameters"]["CREDENTIAL_REQUEST_OPTIONS"])
    answers = client.parameters(username, CREDENTIAL=credential)
    assert client.respond("WEB_AUTHN", begun["Session"], **answers)["AuthenticationResult"]


def test_an_administrators_server_signs_in_by_passkey(pool, client, cognito):
    username, authenticator, _ = user_with_passkey(pool, client)
    ids = {"UserPoolId": pool.id, "ClientId": client.id}
    begun = cognito.admin_initiate_auth(
        **ids, AuthFlow="USER_AUTH", AuthParameters={"USERNAME": username, "PREFERRED_CHALLENGE": "WEB_AUTHN"}
    )
    credential = authenticator.get(begun["ChallengeParameters"]["CREDENTIAL_REQUEST_OPTIONS"])
    answers = {"USERNAME": username, "CREDENTIAL": credential}
    answer = cognito.admin_respond_to_auth_challenge(
        **ids, ChallengeName="WEB_AUTHN", Session=begun["Session"], ChallengeResponses=answers
    )
    assert answer["AuthenticationResult"]["AccessToken"]


def test_with_a_client_secret(pool):
    client = choice_client(pool, secret=True)
    username, authenticator, _ = user_with_passkey(pool, client)
    session, options = asked_with_secret(client, username)
    answers = client.parameters(username, CREDENTIAL=authenticator.get(options))
    assert client.respond("WEB_AUTHN", session, **answers)["AuthenticationResult"]


def asked_with_secret(client, username):
    parameters = client.parameters(username, PREFERRED_CHALLENGE="WEB_AUTHN")
    begun = client.initiate("USER_AUTH", **parameters)
    return begun["Session"], begun["ChallengeParameters"]["CREDENTIAL_REQUEST_OPTIONS"]


def test_s51_wrong_answers_sign_nobody_in_and_use_the_challenge_up(pool, client):
    username, authenticator, _ = user_with_passkey(pool, client)
    changes = [
        {"origin": "https://evil.example"},
        {"origin": f"http://{RP_ID}"},
        {"rp_id": "evil.example"},
        {"flags": FLAG.UV | FLAG.BE | FLAG.BS},
        {"flags": FLAG.UP | FLAG.UV | FLAG.BS},
        {"user_handle": b"somebody else"},
        {"key": Authenticator().key},
    ]
    for change in changes:
        before = {name: getattr(authenticator, name) for name in change}
        session, options = asked(client, username)
        vars(authenticator).update(change)
        wrong = client.parameters(username, CREDENTIAL=authenticator.get(options))
        vars(authenticator).update(before)
        with refused("NotAuthorizedException", INCORRECT):
            client.respond("WEB_AUTHN", session, **wrong)
        right = client.parameters(username, CREDENTIAL=authenticator.get(options))
        with refused("NotAuthorizedException", USED):
            client.respond("WEB_AUTHN", session, **right)
    assert sign_in(client, username, authenticator)


def test_s51_what_cannot_be_registered(pool, client, cognito):
    username = pool.user()
    token = client.tokens(username, PASSWORD)["AccessToken"]
    for change, name in [
        ({"origin": "https://evil.example"}, "WebAuthnOriginNotAllowedException"),
        ({"rp_id": "evil.example"}, "WebAuthnRelyingPartyMismatchException"),
        ({"flags": FLAG.UV}, "WebAuthnCredentialNotSupportedException"),
    ]:
        authenticator = Authenticator()
        vars(authenticator).update(change)
        with refused(name):
            register(cognito, token, authenticator)
    options = cognito.start_web_authn_registration(AccessToken=token)["CredentialCreationOptions"]
    credential = Authenticator().create(options)
    elsewhere = choice_client(pool).tokens(username, PASSWORD)["AccessToken"]
    with refused("WebAuthnClientMismatchException"):
        cognito.complete_web_authn_registration(AccessToken=elsewhere, Credential=credential)
    cognito.complete_web_authn_registration(AccessToken=token, Credential=credential)
    with refused("WebAuthnChallengeNotFoundException"):
        cognito.complete_web_authn_registration(AccessToken=token, Credential=credential)
    with refused("InvalidParameterException"):
        cognito.complete_web_authn_registration(AccessToken=token, Credential={"id": "x"})


def test_pools_without_passkeys_or_relying_party_say_so(make_pool, cognito):
    pool = make_pool()
    token = pool.app_client().tokens(pool.user(), PASSWORD)["AccessToken"]
    with refused("WebAuthnNotEnabledException"):
        cognito.start_web_authn_registration(AccessToken=token)
    pool = make_pool(Policies={"SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "WEB_AUTHN"]}})
    token = pool.app_client().tokens(pool.user(), PASSWORD)["AccessToken"]
    with refused("WebAuthnConfigurationMissingException"):
        cognito.start_web_authn_registration(AccessToken=token)


def test_s03_who_has_a_passkey_is_not_shown(pool, client):
    hiding = choice_client(pool, PreventUserExistenceErrors="ENABLED")
    username, authenticator, _ = user_with_passkey(pool, client)
    seen = set()
    for name in (username, pool.user(), unique("nobody")):
        session, options = asked(hiding, name)
        assert '"allowCredentials":[]' in options
        stranger = Authenticator()
        stranger.user_handle = b"stranger"
        answers = hiding.parameters(name, CREDENTIAL=stranger.get(options))
        with refused("NotAuthorizedException", INCORRECT):
            hiding.respond("WEB_AUTHN", session, **answers)
        seen.add((len(session), len(options)))
    assert len(seen) == 1
    assert sign_in(hiding, username, authenticator)
