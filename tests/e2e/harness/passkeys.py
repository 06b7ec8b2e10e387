"""An authenticator of passkeys in software, whose CBOR and COSE are those of Yubico's fido2 library and whose keys are those of
`cryptography`: what a browser and a phone would do together."""

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2.cose import ES256, RS256, EdDSA
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from .cognito import PASSWORD, Pool
from .second_factors import FLOWS

RP_ID = "example.com"
FACTORS = ["PASSWORD", "EMAIL_OTP", "WEB_AUTHN"]
FLAG = AuthenticatorData.FLAG


def encode(data):
    return base64.urlsafe_b64encode(bytes(data)).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def passkey_pool(server, cognito, rp_id=RP_ID, **configuration):
    """A pool whose users may sign in with passkeys."""
    pool = Pool(server, cognito, Policies={"SignInPolicy": {"AllowedFirstAuthFactors": FACTORS}})
    configuration = {"RelyingPartyId": rp_id, "UserVerification": "preferred", **configuration}
    cognito.set_user_pool_mfa_config(UserPoolId=pool.id, WebAuthnConfiguration=configuration)
    return pool


def choice_client(pool, **settings):
    return pool.app_client(ExplicitAuthFlows=FLOWS, **settings)


class Authenticator:
    """Makes one passkey, and signs in with it. What it says can be changed."""

    def __init__(self, algorithm="ES256"):
        self.id = os.urandom(32)
        self.user_handle = None
        self.origin = f"https://{RP_ID}"
        self.rp_id = RP_ID
        self.count = 0
        self.flags = FLAG.UP | FLAG.UV | FLAG.BE | FLAG.BS
        self.self_attestation = False
        if algorithm == "ES256":
            self.key = ec.generate_private_key(ec.SECP256R1())
            self.public_key = ES256.from_cryptography_key(self.key.public_key())
        elif algorithm == "EdDSA":
            self.key = ed25519.Ed25519PrivateKey.generate()
            self.public_key = EdDSA.from_cryptography_key(self.key.public_key())
        else:
            self.key = rsa.generate_private_key(65537, 2048)
            self.public_key = RS256.from_cryptography_key(self.key.public_key())

    def sign(self, message):
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def create(self, options):
        """RegistrationResponseJSON."""
        assert self.public_key[3] in [kind["alg"] for kind in options["pubKeyCredParams"]]
        self.user_handle = decode(options["user"]["id"])
        client_data = CollectedClientData.create("webauthn.create", decode(options["challenge"]), self.origin)
        credential = AttestedCredentialData.create(Aaguid.NONE, self.id, self.public_key)
        data = AuthenticatorData.create(self._rp_id_hash(), self.flags | FLAG.AT, self.count, credential)
        statement = {}
        if self.self_attestation:
            statement = {"alg": self.public_key[3], "sig": self.sign(data + client_data.hash)}
        attestation = AttestationObject.create("packed" if self.self_attestation else "none", data, statement)
        response = {
            "clientDataJSON": encode(client_data),
            "attestationObject": encode(attestation),
            "authenticatorData": encode(data),
            "publicKeyAlgorithm": self.public_key[3],
            "transports": ["internal"],
        }
        return self._response(response)

    def get(self, options):
        """AuthenticationResponseJSON."""
        if isinstance(options, str):
            options = json.loads(options)
        allowed = [credential["id"] for credential in options["allowCredentials"]]
        assert not allowed or encode(self.id) in allowed
        if self.count:
            self.count += 1
        client_data = CollectedClientData.create("webauthn.get", decode(options["challenge"]), self.origin)
        data = AuthenticatorData.create(self._rp_id_hash(), self.flags, self.count)
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(self.sign(data + client_data.hash)),
            "userHandle": encode(self.user_handle),
        }
        return json.dumps(self._response(response))

    def _rp_id_hash(self):
        return hashlib.sha256(self.rp_id.encode()).digest()

    def _response(self, response):
        return {
            "id": encode(self.id),
            "rawId": encode(self.id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }


def register(cognito, token, authenticator):
    options = cognito.start_web_authn_registration(AccessToken=token)["CredentialCreationOptions"]
    credential = authenticator.create(options)
    cognito.complete_web_authn_registration(AccessToken=token, Credential=credential)


def user_with_passkey(pool, client, algorithm="ES256"):
    """A user who has a passkey: the name, the authenticator, and an access token."""
    username = pool.user()
    token = client.tokens(username, PASSWORD)["AccessToken"]
    authenticator = Authenticator(algorithm)
    register(pool.cognito, token, authenticator)
    return username, authenticator, token


def asked(client, username):
    begun = client.initiate("USER_AUTH", USERNAME=username, PREFERRED_CHALLENGE="WEB_AUTHN")
    assert begun["ChallengeName"] == "WEB_AUTHN"
    return begun["Session"], begun["ChallengeParameters"]["CREDENTIAL_REQUEST_OPTIONS"]


def sign_in(client, username, authenticator):
    session, options = asked(client, username)
    answers = client.parameters(username, CREDENTIAL=authenticator.get(options))
    return client.respond("WEB_AUTHN", session, **answers)["AuthenticationResult"]
