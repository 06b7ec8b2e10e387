"""Second factors through boto3: pools that ask, users who have set something up, authenticator apps of a third party."""

import time

import pyotp

from harness.cognito import PASSWORD, Pool, inbox

SMS = {"SnsCallerArn": "arn:aws:iam::111122223333:role/sms"}
FLOWS = [
    "ALLOW_USER_PASSWORD_AUTH",
    "ALLOW_USER_SRP_AUTH",
    "ALLOW_ADMIN_USER_PASSWORD_AUTH",
    "ALLOW_USER_AUTH",
    "ALLOW_REFRESH_TOKEN_AUTH",
]


def asking(server, cognito, configuration="OPTIONAL", **settings):
    """A pool that asks as `configuration` says and offers every factor."""
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], **settings)
    set_mfa(pool, configuration)
    return pool


def set_mfa(pool, configuration, email=True):
    factors = {"SoftwareTokenMfaConfiguration": {"Enabled": True}, "SmsMfaConfiguration": {"SmsConfiguration": SMS}}
    if email:
        factors["EmailMfaConfiguration"] = {"Message": "Your code: {####}", "Subject": "Come in"}
    return pool.cognito.set_user_pool_mfa_config(UserPoolId=pool.id, MfaConfiguration=configuration, **factors)


class App:
    """An authenticator app. Each of its codes is used once, so it goes on to the next one by itself: a phone's clock may be
    half a minute off."""

    def __init__(self, secret):
        self.totp = pyotp.TOTP(secret)
        self.last = 0

    def code(self):
        step = max(int(time.time()) // 30, self.last + 1)
        # within the window of one step; beyond it there is nothing for it but to wait until the step has come
        while step > int(time.time()) // 30 + 1:
            time.sleep(0.2)
        self.last = step
        return self.totp.at(step * 30)


def set_up_app(cognito, token, name="my phone"):
    """Sets an app up with an access token, without switching it on."""
    secret = cognito.associate_software_token(AccessToken=token)["SecretCode"]
    app = App(secret)
    answer = cognito.verify_software_token(AccessToken=token, UserCode=app.code(), FriendlyDeviceName=name)
    assert answer["Status"] == "SUCCESS"
    return app


def switch_on_app(cognito, token, preferred=True):
    settings = {"Enabled": True, "PreferredMfa": preferred}
    cognito.set_user_mfa_preference(AccessToken=token, SoftwareTokenMfaSettings=settings)


def prefer(pool, username, **factors):
    """AdminSetUserMFAPreference: sms=True prefers it, sms=False switches it on only."""
    names = {"sms": "SMSMfaSettings", "app": "SoftwareTokenMfaSettings", "email": "EmailMfaSettings"}
    settings = {names[f]: {"Enabled": True, "PreferredMfa": preferred} for f, preferred in factors.items()}
    pool.cognito.admin_set_user_mfa_preference(UserPoolId=pool.id, Username=username, **settings)


def phone_number():
    """A number of its own, so that tests do not read each other's messages."""
    phone_number.last += 1
    return f"+1206555{phone_number.last:04d}"


phone_number.last = int(time.time()) % 5_000


def code_to(server, address):
    messages = inbox(server, address)
    assert messages, f"no message to {address}"
    return messages[0]["code"]


def user_with_app(pool, client, **attributes):
    """A user who is asked for the code of an app. Returns the name and the app."""
    username = pool.user(**attributes)
    token = client.tokens(username, PASSWORD)["AccessToken"]
    app = set_up_app(pool.cognito, token)
    switch_on_app(pool.cognito, token)
    return username, app
