"""CustomEmailSender and CustomSMSSender: functions that send the messages, and decrypt the codes with the AWS Encryption SDK."""

import base64
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import threading

import aws_encryption_sdk
import pytest
from aws_encryption_sdk.identifiers import CommitmentPolicy
from aws_encryption_sdk.key_providers.kms import KMSMasterKey, KMSMasterKeyConfig

from harness.cluster import Cluster
from harness.cognito import PASSWORD, Pool, attributes, boto_client, inbox, refused, unique
from harness.functions import Raw, Thrown
from harness.kms import Kms
from harness.second_factors import FLOWS, SMS, phone_number, prefer, set_mfa
from harness.server import Server, free_ports, until

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "custom-senders.md"
LOCAL_KEY = "arn:aws:kms:us-east-1:000000000000:key/in-a-file"
UNDELIVERED = ("CodeDeliveryFailureException", "Unable to deliver message to user")


@pytest.fixture(scope="module")
def kms():
    kms = Kms()
    yield kms
    kms.stop()


@pytest.fixture(scope="module")
def key(kms):
    return kms.create_key("codes")


@pytest.fixture(scope="module")
def server(tmp_path_factory, functions, kms):
    server = Server(tmp_path_factory.mktemp("senders"), options=["--lambda", functions.url, "--kms", kms.url]).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cognito(server):
    return boto_client(server)


class Sender:
    """A function that sends: what it has got, each as (source, event, code), decrypted by the real library."""

    def __init__(self, functions, kms, key, policy=CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT):
        self.sent = []
        client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=policy)

        def send(event):
            provider = KMSMasterKey(config=KMSMasterKeyConfig(key_id=key, client=kms.client()))
            code = base64.b64decode(event["request"]["code"])
            plaintext, header = client.decrypt(source=code, key_provider=provider)
            assert header.encryption_context == {"userpool-id": event["userPoolId"]}
            self.sent.append((event["triggerSource"], event, plaintext.decode()))

        self.arn = functions.add(send)

    def take(self):
        [(source, event, code)] = self.sent
        self.sent.clear()
        return source, event, code


def config(key, email=None, sms=None):
    senders = {"CustomEmailSender": email, "CustomSMSSender": sms}
    version = {"LambdaVersion": "V1_0"}
    return {"KMSKeyID": key, **{name: {**version, "LambdaArn": arn} for name, arn in senders.items() if arn}}


def address():
    return f"{unique('user')}@example.com"


@pytest.mark.parametrize("policy", list(CommitmentPolicy), ids=lambda policy: policy.name)
def test_a_function_decrypts_the_code_by_the_encryption_sdk(server, cognito, functions, kms, key, policy):
    sender, words = Sender(functions, kms, key, policy), functions.add()
    lambda_config = {**config(key, email=sender.arn), "CustomMessage": words}
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=lambda_config)
    app, name, email = pool.app_client(), unique("user"), address()
    answer = app.sign_up(name, email=email)
    assert answer["CodeDeliveryDetails"]["DeliveryMedium"] == "EMAIL"
    source, event, code = sender.take()
    assert source == "CustomEmailSender_SignUp"
    assert event == {
        "version": "1",
        "region": "us-east-1",
        "userPoolId": pool.id,
        "userName": name,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": app.id},
        "triggerSource": source,
        "request": {
            "type": "customEmailSenderRequestV1",
            "code": event["request"]["code"],
            "clientMetadata": None,
            "userAttributes": {
                "sub": answer["UserSub"],
                "cognito:user_status": "UNCONFIRMED",
                "email": email,
                "email_verified": "false",
            },
        },
    }
    assert inbox(server, email) == [] and functions.events[words] == []
    assert code not in functions.requests[-1][2].decode()
    app.confirm(name, code)
    assert pool.status(name) == "CONFIRMED"
    operation, _, request = [r for r in kms.requests if r[0] == "GenerateDataKey"][-1]
    assert request == {"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": {"userpool-id": pool.id}}


def test_every_message_goes_to_the_sender(server, cognito, functions, kms, key):
    sender = Sender(functions, kms, key)
    both = config(key, email=sender.arn, sms=sender.arn)
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email", "phone_number"], LambdaConfig=both,
                SmsConfiguration=SMS)  # fmt: skip
    app, name, phone, email = pool.app_client(), unique("user"), phone_number(), address()
    app.sign_up(name, phone_number=phone, email=email)
    source, event, _ = sender.take()
    assert (source, event["request"]["type"]) == ("CustomSMSSender_SignUp", "customSMSSenderRequestV1")
    cognito.resend_confirmation_code(ClientId=app.id, Username=name, ClientMetadata={"lang": "la"})
    source, event, code = sender.take()
    assert (source, event["request"]["clientMetadata"]) == ("CustomSMSSender_ResendCode", {"lang": "la"})
    app.confirm(name, code)
    token = app.tokens(name)["AccessToken"]
    cognito.get_user_attribute_verification_code(AccessToken=token, AttributeName="email")
    source, _, code = sender.take()
    assert source == "CustomEmailSender_VerifyUserAttribute"
    cognito.verify_user_attribute(AccessToken=token, AttributeName="email", Code=code)
    newer = address()
    cognito.update_user_attributes(AccessToken=token, UserAttributes=attributes({"email": newer}))
    source, event, code = sender.take()
    assert source == "CustomEmailSender_UpdateUserAttribute"
    assert event["request"]["userAttributes"]["email"] == newer
    cognito.verify_user_attribute(AccessToken=token, AttributeName="email", Code=code)
    cognito.forgot_password(ClientId=app.id, Username=name)
    source, _, code = sender.take()
    assert source.endswith("Sender_ForgotPassword")
    cognito.confirm_forgot_password(ClientId=app.id, Username=name, ConfirmationCode=code, Password="Anew-1-password")
    assert app.tokens(name, "Anew-1-password")
    cognito.admin_reset_user_password(UserPoolId=pool.id, Username=name)
    assert sender.take()[0].endswith("Sender_ForgotPassword")
    for medium, channel, to in [("EMAIL", "Email", {"email": address()}), ("SMS", "SMS", {"phone_number": phone_number()})]:
        invited = unique("invited")
        cognito.admin_create_user(
            UserPoolId=pool.id, Username=invited, DesiredDeliveryMediums=[medium], UserAttributes=attributes(to)
        )
        source, _, password = sender.take()
        assert source == f"Custom{channel}Sender_AdminCreateUser"
        assert app.password_sign_in(invited, password)["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    assert inbox(server, phone) == inbox(server, email) == inbox(server, newer) == []


@pytest.mark.parametrize("factor", ["SMS_MFA", "EMAIL_OTP"])
def test_codes_of_sign_ins_go_to_the_sender(server, cognito, functions, kms, key, factor):
    sender = Sender(functions, kms, key)
    pool = Pool(server, cognito, LambdaConfig=config(key, email=sender.arn, sms=sender.arn))
    set_mfa(pool, "OPTIONAL")
    app = pool.app_client()
    name = pool.user(email=address(), email_verified="true", phone_number=phone_number(), phone_number_verified="true")
    prefer(pool, name, **({"sms": True} if factor == "SMS_MFA" else {"email": True}))
    challenge = app.password_sign_in(name)
    assert challenge["ChallengeName"] == factor
    source, _, code = sender.take()
    assert source == ("CustomSMSSender" if factor == "SMS_MFA" else "CustomEmailSender") + "_Authentication"
    answer = app.respond(factor, challenge["Session"], USERNAME=name, **{f"{factor}_CODE": code})
    assert "AuthenticationResult" in answer


def test_a_code_as_the_first_factor_goes_to_the_sender(server, cognito, functions, kms, key):
    sender = Sender(functions, kms, key)
    factors = {"SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "EMAIL_OTP", "SMS_OTP"]}}
    both = config(key, email=sender.arn, sms=sender.arn)
    pool = Pool(server, cognito, Policies=factors, SmsConfiguration=SMS, LambdaConfig=both)
    app = pool.app_client(ExplicitAuthFlows=FLOWS)
    name = pool.user(email=address(), email_verified="true", phone_number=phone_number(), phone_number_verified="true")
    for factor, trigger in [("EMAIL_OTP", "CustomEmailSender"), ("SMS_OTP", "CustomSMSSender")]:
        challenge = app.initiate("USER_AUTH", USERNAME=name, PREFERRED_CHALLENGE=factor)
        source, _, code = sender.take()
        assert source == f"{trigger}_Authentication"
        answer = app.respond(factor, challenge["Session"], USERNAME=name, **{f"{factor}_CODE": code})
        assert "AuthenticationResult" in answer


def test_a_channel_without_a_sender_stays_the_operator_s(server, cognito, functions, kms, key):
    sender = Sender(functions, kms, key)
    lambda_config = config(key, email=sender.arn)
    pool = Pool(server, cognito, AutoVerifiedAttributes=["phone_number"], SmsConfiguration=SMS, LambdaConfig=lambda_config)
    app, name, phone = pool.app_client(), unique("user"), phone_number()
    app.sign_up(name, phone_number=phone)
    [message] = inbox(server, phone)
    app.confirm(name, message["code"])
    assert sender.sent == []


def test_a_function_is_not_waited_for_and_a_missing_one_is_an_error(server, cognito, functions, kms, key):
    def throws(event):
        raise Thrown("the provider is down")

    thrower, sender = functions.add(throws), Sender(functions, kms, key)
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=config(key, email=thrower))
    app, name, email = pool.app_client(), unique("user"), address()
    app.sign_up(name, email=email)
    assert functions.sources(thrower) == ["CustomEmailSender_SignUp"]
    assert functions.requests[-1][1]["X-Amz-Invocation-Type"] == "Event"
    gone = "arn:aws:lambda:us-east-1:000000000000:function:gone"
    text = "CustomEmailSender invocation failed due to error "
    for arn, why in [
        (gone, "ResourceNotFoundException."),
        (functions.add(lambda event: Raw(502)), "the function cannot be reached."),
    ]:
        cognito.update_user_pool(UserPoolId=pool.id, AutoVerifiedAttributes=["email"], LambdaConfig=config(key, email=arn))
        with refused("UnexpectedLambdaException", text + why):
            app.resend(name)
    assert inbox(server, email) == []
    sent_by_us = {"UserPoolId": pool.id, "AutoVerifiedAttributes": ["email"]}
    cognito.update_user_pool(**sent_by_us, LambdaConfig=config(key, email=sender.arn))
    app.resend(name)
    app.confirm(name, sender.take()[2])
    cognito.update_user_pool(**sent_by_us)
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["LambdaConfig"] == {}
    app.sign_up(unique("user"), email=email)
    assert len(inbox(server, email)) == 1


def test_a_key_that_cannot_be_used_is_a_message_that_is_not_delivered(server, cognito, functions, kms, key):
    sender = Sender(functions, kms, key)
    disabled = kms.create_key("disabled")
    kms.refusals[disabled] = "DisabledException"
    for arn in [disabled, key + "-gone"]:
        pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=config(arn, email=sender.arn))
        app, name, email = pool.app_client(), unique("user"), address()
        with refused(*UNDELIVERED):
            app.sign_up(name, email=email)
        assert pool.status(name) == "UNCONFIRMED" and inbox(server, email) == [] and sender.sent == []
        cognito.update_user_pool(
            UserPoolId=pool.id, AutoVerifiedAttributes=["email"], LambdaConfig=config(key, email=sender.arn)
        )
        app.resend(name)
        app.confirm(name, sender.take()[2])


def test_a_sender_without_a_key_is_refused(server, cognito, key):
    arn = "arn:aws:lambda:us-east-1:000000000000:function:sender"
    both = config(key, email=arn, sms=arn)
    pool = Pool(server, cognito, LambdaConfig=both)
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["LambdaConfig"] == both
    text = "KMSKeyID is required when CustomEmailSender or CustomSMSSender is configured."
    for name in ["CustomEmailSender", "CustomSMSSender"]:
        with refused("InvalidParameterException", text):
            cognito.update_user_pool(UserPoolId=pool.id, LambdaConfig={name: both[name]})
        with refused("InvalidParameterException", text):
            cognito.create_user_pool(PoolName=unique("pool"), LambdaConfig={name: both[name]})
        wrong = {**both, name: {"LambdaVersion": "V2_0", "LambdaArn": arn}}
        with refused("InvalidParameterException"):
            cognito.update_user_pool(UserPoolId=pool.id, LambdaConfig=wrong)
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["LambdaConfig"] == both


def test_where_users_are_hidden_a_failing_sender_tells_nobody_apart(server, cognito, functions, kms, key):
    called, free = threading.Event(), threading.Event()

    def waits(event):
        called.set()
        free.wait(30)

    arn = functions.add(waits)
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=config(key, email=arn))
    app, name = pool.app_client(PreventUserExistenceErrors="ENABLED"), pool.user(email=address(), email_verified="true")
    try:
        for username in [name, unique("nobody")]:
            answer = cognito.forgot_password(ClientId=app.id, Username=username)
            assert answer["CodeDeliveryDetails"]["DeliveryMedium"] == "EMAIL"
        assert called.wait(10), "the function is called, after the answer"
        assert not free.is_set()
    finally:
        free.set()


def test_a_burst_of_messages_waits_for_its_function_and_none_is_lost(server, cognito, functions, kms, key):
    free = threading.Event()
    arn = functions.add(lambda event: free.wait(30))
    pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=config(key, email=arn))
    app = pool.app_client(PreventUserExistenceErrors="ENABLED")
    names = [pool.user(email=address(), email_verified="true") for _ in range(16)]

    def forget(name):
        return cognito.forgot_password(ClientId=app.id, Username=name)["CodeDeliveryDetails"]["DeliveryMedium"]

    def calls():
        ours = [headers for path, headers, _ in functions.requests if arn.rpartition(":")[2] in path]
        return {headers["Conclave-Invocation-Id"] for headers in ours}

    try:
        # 32 calls of a function are under way at most; each user is sent 5 codes in an hour
        with concurrent.futures.ThreadPoolExecutor(32) as clients:
            assert set(clients.map(forget, names * 5)) == {"EMAIL"}
        until(lambda: len(calls()) >= 32, 10, "its share of the calls is under way")
    finally:
        free.set()
    until(lambda: len(calls()) == 80, 60, "every message reaches the function")
    until(lambda: counted(server, "trigger_calls_total", "ok") >= 80, 10, "they are counted")
    assert counted(server, "trigger_calls_total", "overloaded") == 0
    assert arn not in server.metrics()


def counted(server, name, result):
    """Messages that a ForgotPassword has sent by a sender, by what became of them."""
    labels = re.escape(f'{{source="CustomEmailSender_ForgotPassword",result="{result}"}}')
    found = re.search(rf"^conclave_{name}{labels} (\d+)$", server.metrics(), re.MULTILINE)
    return int(found[1]) if found else 0


# ---- serve: what the operator has let be used -----------------------------------------------


def test_s55_a_node_uses_the_keys_that_its_operator_has_named(tmp_path, functions):
    kms = Kms("AKIDEXAMPLE", "kms-secret-4711")
    key, foreign = kms.create_key("codes"), kms.create_key("of-somebody-else")
    (tmp_path / "secret").write_text("kms-secret-4711\n")
    (tmp_path / "local.key").write_text(base64.b64encode(bytes(32)).decode())
    settings = (
        '[triggers]\nallow_plain_http = true\nallow_networks = ["127.0.0.0/8"]\n'
        f'[triggers.lambda]\nendpoint = "{functions.url}"\nregion = "us-east-1"\naccess_key_id = "AKIDEXAMPLE"\n'
        f'secret_access_key_file = "{tmp_path / "secret"}"\nfunctions = ["*"]\n'
        f'[triggers.kms]\nendpoint = "{kms.url}"\nregion = "us-east-1"\naccess_key_id = "AKIDEXAMPLE"\n'
        f'secret_access_key_file = "{tmp_path / "secret"}"\nkeys = ["{key}"]\n'
        f'[[triggers.keys]]\narn = "{LOCAL_KEY}"\nkey_file = "{tmp_path / "local.key"}"\n'
    )
    cluster = Cluster(tmp_path / "cluster", size=1, settings=settings)
    try:
        node = cluster.start().nodes[0]
        cognito = boto_client(node, *cluster.credentials())
        sender, any_sender = Sender(functions, kms, key), functions.add()
        pool = Pool(node, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=config(key, email=sender.arn))
        app, name = pool.app_client(), unique("user")
        app.sign_up(name, email=address())
        app.confirm(name, sender.take()[2])
        asked = len(kms.requests)
        local = {"UserPoolId": pool.id, "AutoVerifiedAttributes": ["email"], "LambdaConfig": config(LOCAL_KEY, email=any_sender)}
        cognito.update_user_pool(**local)
        app.sign_up(unique("user"), email=address())
        assert functions.sources(any_sender) == ["CustomEmailSender_SignUp"]
        cognito.update_user_pool(**{**local, "LambdaConfig": config(foreign, email=any_sender)})
        with refused(*UNDELIVERED):
            app.sign_up(unique("user"), email=address())
        assert len(kms.requests) == asked
        assert "kms-secret-4711" not in node.log() and LOCAL_KEY not in node.log()
    finally:
        cluster.kill()
        kms.stop()


# ---- the document ---------------------------------------------------------------------------


def test_the_example_of_the_document_works(tmp_path, start_server):
    """docs/custom-senders.md: a webhook in Python that decrypts codes by a key in a file."""
    [script] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    [port] = free_ports(1)
    (tmp_path / "sender.py").write_text(script)
    key_file = tmp_path / "sender.key"
    key_file.write_text(subprocess.check_output(["openssl", "rand", "-base64", "32"], text=True))
    command = [sys.executable, tmp_path / "sender.py", str(port), LOCAL_KEY, key_file]
    hook = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        arn = "arn:aws:lambda:us-east-1:000000000000:function:mail"
        server = start_server(
            options=["--webhook", f"{arn}=http://127.0.0.1:{port}/", "--kms-key", f"{LOCAL_KEY}={key_file}"]
        )
        cognito = boto_client(server)
        pool = Pool(server, cognito, AutoVerifiedAttributes=["email"], LambdaConfig=config(LOCAL_KEY, email=arn))
        app, name, email = pool.app_client(), unique("user"), address()
        app.sign_up(name, PASSWORD, email=email)
        to, code = hook.stdout.readline().split()
        assert to == email
        app.confirm(name, code)
    finally:
        hook.kill()
        hook.wait()
    with refused("UnexpectedLambdaException"):
        app.sign_up(unique("user"), email=email)


def test_a_risky_sign_in_is_told_to_the_sender(server, cognito, functions, key):
    """It has no code, and what the message would say stands among the attributes."""
    sender, words = functions.add(), functions.add()
    lambda_config = {**config(key, email=sender), "CustomMessage": words}
    pool = Pool(server, cognito, UserPoolTier="PLUS", UserPoolAddOns={"AdvancedSecurityMode": "ENFORCED"},
                LambdaConfig=lambda_config)  # fmt: skip
    app = pool.app_client(secret=True, ExplicitAuthFlows=FLOWS, EnablePropagateAdditionalUserContextData=True)
    action = {"LowAction": {"EventAction": "BLOCK", "Notify": True}}
    source = {"SourceArn": "arn:aws:ses:us-east-1:111122223333:identity/example.com"}
    cognito.set_risk_configuration(
        UserPoolId=pool.id, AccountTakeoverRiskConfiguration={"Actions": action, "NotifyConfiguration": source}
    )
    email = address()
    name = pool.user(email=email, email_verified="true")

    def sign_in(ip):
        parameters = app.parameters(name, PASSWORD=PASSWORD)
        app.cognito.initiate_auth(
            ClientId=app.id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters=parameters,
            UserContextData={"IpAddress": ip},
        )

    sign_in("192.0.2.1")
    with refused("NotAuthorizedException", "Unable to login because of security reasons."):
        sign_in("198.51.100.1")
    until(lambda: functions.events[sender], 20, "the function is called")
    [event] = functions.events[sender]
    assert event["triggerSource"] == "CustomEmailSender_AccountTakeOverNotification"
    assert (event["userName"], event["callerContext"]["clientId"]) == (name, app.id)
    request = event["request"]
    assert (request["type"], request["code"]) == ("customEmailSenderRequestV1", None)
    told = request["userAttributes"]
    assert (told["email"], told["USER_NAME"], told["IP_ADDRESS"]) == (email, name, "198.51.100.1")
    assert told["ACCOUNT_TAKE_OVER_ACTION"] == "BLOCK"
    assert told["FEEDBACK_TOKEN"] in told["ONE_CLICK_LINK_VALID"]
    assert "LOGIN_TIME" in told and "ONE_CLICK_LINK_INVALID" in told and "CITY" not in told
    cognito.update_auth_event_feedback(
        UserPoolId=pool.id,
        Username=name,
        EventId=told["EVENT_ID"],
        FeedbackToken=told["FEEDBACK_TOKEN"],
        FeedbackValue="Valid",
    )
    sign_in("198.51.100.1")
    assert inbox(server, email) == [] and functions.events[words] == []
