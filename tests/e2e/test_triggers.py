"""LambdaConfig: functions behind the invoke API of AWS Lambda, called by real requests."""

import pathlib
import re
import socket
import subprocess
import sys
import threading

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import jwt
import pytest

from harness.cluster import Cluster
from harness.cognito import PASSWORD, Pool, as_dict, boto_client, inbox, refused, unique
from harness.functions import Functions, Raw, Thrown, asking
from harness.server import free_ports, until

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "triggers.md"


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_what_is_set_is_described_and_an_update_without_it_clears_it(make_pool, cognito, functions):
    arn = functions.add()
    config = {"PreSignUp": arn, "PreTokenGenerationConfig": {"LambdaVersion": "V2_0", "LambdaArn": arn}}
    pool = make_pool(LambdaConfig=config)
    described = cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["LambdaConfig"]
    assert described == {**config, "PreTokenGeneration": arn}
    cognito.update_user_pool(UserPoolId=pool.id, LambdaConfig=asking())
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["LambdaConfig"] == asking()
    cognito.update_user_pool(UserPoolId=pool.id)
    assert cognito.describe_user_pool(UserPoolId=pool.id)["UserPool"]["LambdaConfig"] == {}
    with refused("FeatureUnavailableInTierException"):
        make_pool(LambdaConfig=config, UserPoolTier="LITE")


def test_a_sign_up_from_its_first_question_to_its_confirmation(server, make_pool, cognito, functions):
    def before(event):
        if event["request"]["validationData"] != {"captcha": "ok"}:
            raise Thrown("are you a robot?")

    def words(event):
        event["response"]["emailSubject"] = "Hello {username}"
        event["response"]["emailMessage"] = f"{event['request']['clientMetadata']['lang']}: {{####}}"

    arns = [functions.add(before), functions.add(words), functions.add()]
    config = dict(zip(["PreSignUp", "CustomMessage", "PostConfirmation"], arns))
    pool = make_pool(AutoVerifiedAttributes=["email"], LambdaConfig=config)
    app, name = pool.app_client(), unique("user")
    address = f"{name}@example.com"
    request = dict(
        ClientId=app.id,
        Username=name,
        Password=PASSWORD,
        UserAttributes=[{"Name": "email", "Value": address}],
        ClientMetadata={"lang": "en"},
    )
    with refused("UserLambdaValidationException", "PreSignUp failed with error are you a robot?."):
        cognito.sign_up(**request)
    with refused("UserNotFoundException"):
        pool.get(name)
    answer = cognito.sign_up(**request, ValidationData=[{"Name": "captcha", "Value": "ok"}])
    assert functions.events[arns[0]][-1] == {
        "version": "1",
        "region": "us-east-1",
        "userPoolId": pool.id,
        "userName": name,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": app.id},
        "triggerSource": "PreSignUp_SignUp",
        "request": {
            "userAttributes": {"email": address},
            "validationData": {"captcha": "ok"},
            "clientMetadata": {"lang": "en"},
        },
        "response": {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
    }
    message = inbox(server, address)[0]
    assert (message["subject"], message["body"]) == (f"Hello {name}", f"en: {message['code']}")
    app.confirm(name, message["code"], ClientMetadata={"step": "2"})
    [told] = functions.events[arns[2]]
    assert told["triggerSource"] == "PostConfirmation_ConfirmSignUp"
    assert told["request"] == {
        "userAttributes": {
            "sub": answer["UserSub"],
            "cognito:user_status": "CONFIRMED",
            "email": address,
            "email_verified": "true",
        },
        "clientMetadata": {"step": "2"},
    }


def test_a_function_confirms_a_sign_up(make_pool, functions):
    def before(event):
        event["response"].update(autoConfirmUser=True, autoVerifyEmail=True)

    pool = make_pool(AutoVerifiedAttributes=["email"], LambdaConfig={"PreSignUp": functions.add(before)})
    app, name = pool.app_client(), unique("user")
    answer = app.sign_up(name, email=f"{name}@example.com")
    assert answer["UserConfirmed"] and "CodeDeliveryDetails" not in answer
    assert as_dict(pool.get(name)["UserAttributes"])["email_verified"] == "true"
    assert app.tokens(name)


def test_a_sign_in_asks_before_and_tells_after_and_tokens_say_more(make_pool, cognito, functions):
    def tokens(event):
        event["response"]["claimsAndScopeOverrideDetails"] = {
            "idTokenGeneration": {"claimsToAddOrOverride": {"tenant": "acme", "sub": "evil"}},
            "accessTokenGeneration": {
                "claimsToAddOrOverride": {"plan": ["pro", 1], "iss": "evil"},
                "scopesToAdd": ["orders/read"],
            },
            "groupOverrideDetails": {"groupsToOverride": ["guests"]},
        }

    arns = [functions.add(), functions.add(), functions.add(tokens)]
    pool = make_pool(
        LambdaConfig={
            "PreAuthentication": arns[0],
            "PostAuthentication": arns[1],
            "PreTokenGenerationConfig": {"LambdaVersion": "V2_0", "LambdaArn": arns[2]},
        }
    )
    app, name = pool.app_client(), pool.user()
    answer = app.tokens(name)
    renewed = app.refresh(answer["RefreshToken"])["AuthenticationResult"]
    for result in (answer, renewed):
        of_id, of_access = claims(result["IdToken"]), claims(result["AccessToken"])
        assert (of_id["tenant"], of_id["cognito:groups"]) == ("acme", ["guests"])
        assert of_id["sub"] == of_access["sub"] != "evil"
        assert of_access["plan"] == ["pro", 1] and of_access["iss"] == of_id["iss"] != "evil"
        assert of_access["scope"].split() == ["aws.cognito.signin.user.admin", "orders/read"]
    assert cognito.get_user(AccessToken=renewed["AccessToken"])["Username"] == name
    assert functions.sources(arns[0]) == ["PreAuthentication_Authentication"]
    assert functions.sources(arns[1]) == ["PostAuthentication_Authentication"]
    assert functions.sources(arns[2]) == ["TokenGeneration_Authentication", "TokenGeneration_RefreshTokens"]


@pytest.mark.parametrize("trigger", ["PreAuthentication", "PostAuthentication", "PreTokenGeneration"])
def test_nobody_gets_in_whom_a_function_refuses(make_pool, functions, trigger):
    def refuse(event):
        raise Thrown("closed on Sundays")

    pool = make_pool(LambdaConfig={trigger: functions.add(refuse)})
    app, name = pool.app_client(), pool.user()
    with refused("UserLambdaValidationException", f"{trigger} failed with error closed on Sundays."):
        app.password_sign_in(name)


def test_a_custom_sign_in(make_pool, cognito, functions):
    pool = make_pool(LambdaConfig=asking())
    app, name = pool.app_client(ExplicitAuthFlows=["ALLOW_CUSTOM_AUTH"]), pool.user()
    begun = app.initiate("CUSTOM_AUTH", USERNAME=name)
    assert begun["ChallengeName"] == "CUSTOM_CHALLENGE"
    assert begun["ChallengeParameters"] == {"USERNAME": name, "question": "6 * 7"}
    again = app.respond("CUSTOM_CHALLENGE", begun["Session"], USERNAME=name, ANSWER="41")
    assert again["ChallengeName"] == "CUSTOM_CHALLENGE"
    done = app.respond("CUSTOM_CHALLENGE", again["Session"], USERNAME=name, ANSWER="42")
    token = done["AuthenticationResult"]["AccessToken"]
    assert cognito.get_user(AccessToken=token)["Username"] == name
    with refused("NotAuthorizedException"):
        app.respond("CUSTOM_CHALLENGE", again["Session"], USERNAME=name, ANSWER="42")


def test_an_administrators_custom_sign_in(make_pool, cognito):
    pool = make_pool(LambdaConfig=asking())
    app, name = pool.app_client(ExplicitAuthFlows=["ALLOW_CUSTOM_AUTH"]), pool.user()
    common = dict(UserPoolId=pool.id, ClientId=app.id)
    begun = cognito.admin_initiate_auth(**common, AuthFlow="CUSTOM_AUTH", AuthParameters={"USERNAME": name})
    done = cognito.admin_respond_to_auth_challenge(
        **common,
        ChallengeName="CUSTOM_CHALLENGE",
        Session=begun["Session"],
        ChallengeResponses={"USERNAME": name, "ANSWER": "42"},
    )
    assert done["AuthenticationResult"]["AccessToken"]


def test_an_unknown_user_is_asked_too_where_users_are_hidden(make_pool, functions):
    pool = make_pool(LambdaConfig=asking())
    flows = {"ExplicitAuthFlows": ["ALLOW_CUSTOM_AUTH"], "PreventUserExistenceErrors": "ENABLED"}
    app, name = pool.app_client(**flows), unique("nobody")
    session = app.initiate("CUSTOM_AUTH", USERNAME=name)["Session"]
    seen = [event for event in functions.events[asking()["DefineAuthChallenge"]] if event["userName"] == name]
    assert seen and all(event["request"]["userNotFound"] for event in seen)
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.respond("CUSTOM_CHALLENGE", session, USERNAME=name, ANSWER="42")


def test_a_user_of_another_directory_comes_along_with_the_password(server, make_pool, functions):
    def find(event):
        is_sign_in = event["triggerSource"] == "UserMigration_Authentication"
        if is_sign_in and event["request"]["password"] != PASSWORD:
            raise Thrown("Bad password")
        name = event["userName"]
        event["response"]["userAttributes"] = {"email": f"{name}@example.com", "email_verified": "true"}
        event["response"]["finalUserStatus"] = "CONFIRMED"
        event["response"]["messageAction"] = "SUPPRESS"

    arn = functions.add(find)
    pool = make_pool(LambdaConfig={"UserMigration": arn})
    app, name = pool.app_client(), unique("user")
    with refused("UserNotFoundException", f"Exception migrating user in app client {app.id}"):
        app.password_sign_in(name, "Wrong-horse-7")
    assert app.tokens(name)
    assert pool.status(name) == "CONFIRMED"
    assert as_dict(pool.get(name)["UserAttributes"])["email_verified"] == "true"
    asked = len(functions.events[arn])
    assert app.tokens(name) and len(functions.events[arn]) == asked
    other = unique("user")
    pool.cognito.forgot_password(ClientId=app.id, Username=other)
    assert pool.status(other) == "RESET_REQUIRED"
    code = inbox(server, f"{other}@example.com")[0]["code"]
    pool.cognito.confirm_forgot_password(ClientId=app.id, Username=other, ConfirmationCode=code, Password=PASSWORD)
    assert app.tokens(other)


# ---- how calls go wrong ---------------------------------------------------------------------


def cluster_with(tmp_path, functions, more=""):
    (tmp_path / "secret").write_text("lambda-secret-4711\n")
    settings = (
        "[triggers]\ntimeout_seconds = 1\ntries = 3\nallow_plain_http = true\n"
        f"{more}\n"
        f'[triggers.lambda]\nendpoint = "{functions.url}"\nregion = "eu-west-1"\naccess_key_id = "AKIDEXAMPLE"\n'
        f'secret_access_key_file = "{tmp_path / "secret"}"\n'
        'functions = ["arn:aws:lambda:us-east-1:000000000000:function:function-*"]\n'
    )
    return Cluster(tmp_path / "cluster", size=1, settings=settings)


@pytest.fixture
def node(tmp_path, functions):
    """A node of a cluster that may call functions on this machine, and waits a second for each try."""
    cluster = cluster_with(tmp_path, functions, 'allow_networks = ["127.0.0.0/8"]')
    try:
        node = cluster.start().nodes[0]
        yield node, boto_client(node, *cluster.credentials())
    finally:
        cluster.kill()


def signing_in(node, arn):
    server, cognito = node
    pool = Pool(server, cognito, LambdaConfig={"PreAuthentication": arn})
    return pool.app_client(), pool.user()


def test_s55_failures_are_told_as_cognito_tells_them(node, functions):
    other = Functions()
    huge = b'{"response": {"x": "' + b"x" * (512 * 1024) + b'"}}'
    unexpected = "PreAuthentication invocation failed due to error "
    invalid = "Invalid lambda function output : "

    def throws(event):
        raise Thrown("no")

    for handler, name, text, tries in [
        (throws, "UserLambdaValidationException", "PreAuthentication failed with error no.", 1),
        (lambda event: Raw(body=b"{"), "InvalidLambdaResponseException", invalid + "Invalid JSON", 1),
        (lambda event: Raw(body=b"null"), "InvalidLambdaResponseException", invalid + "Invalid JSON", 1),
        (lambda event: {}, "InvalidLambdaResponseException", "Unrecognizable lambda output", 1),
        (lambda event: Raw(body=huge), "InvalidLambdaResponseException", invalid + "The response is too long", 1),
        (lambda event: Raw(302, Location=other.url), "UnexpectedLambdaException", f"{unexpected}HTTP 302.", 1),
        (lambda event: Raw(502), "UnexpectedLambdaException", f"{unexpected}the function cannot be reached.", 3),
    ]:
        arn = functions.add(handler)
        app, user = signing_in(node, arn)
        with refused(name, text):
            app.password_sign_in(user)
        assert len(functions.events[arn]) == tries, text
    assert not other.requests
    other.stop()
    app, user = signing_in(node, "arn:aws:lambda:us-east-1:000000000000:function:function-gone")
    with refused("UnexpectedLambdaException", f"{unexpected}ResourceNotFoundException."):
        app.password_sign_in(user)
    asked = len(functions.requests)
    app, user = signing_in(node, "arn:aws:lambda:us-east-1:111122223333:function:of-somebody-else")
    with refused("UnexpectedLambdaException", f"{unexpected}no endpoint is configured for the function."):
        app.password_sign_in(user)
    assert len(functions.requests) == asked


def test_s55_a_function_that_does_not_answer_is_asked_three_times(node, functions):
    free = threading.Event()
    arn = functions.add(lambda event: free.wait(60) and None)
    app, user = signing_in(node, arn)
    text = "PreAuthentication invocation failed due to error Socket timeout while invoking Lambda function."
    with refused("UnexpectedLambdaException", text):
        app.password_sign_in(user)
    assert len(functions.events[arn]) == 3
    ids = {headers["conclave-invocation-id"] for _, headers, _ in functions.requests[-3:]}
    assert len(ids) == 1
    free.set()
    assert app.tokens(user)


def test_s55_calls_do_not_go_where_the_operator_has_not_let_them(tmp_path, functions):
    cluster = cluster_with(tmp_path, functions)
    try:
        node = cluster.start().nodes[0]
        app, user = signing_in((node, boto_client(node, *cluster.credentials())), functions.add())
        asked = len(functions.requests)
        text = "PreAuthentication invocation failed due to error calls may not go to its address."
        with refused("UnexpectedLambdaException", text):
            app.password_sign_in(user)
        assert len(functions.requests) == asked
    finally:
        cluster.kill()


def test_calls_are_signed_and_no_secret_is_logged(node, functions):
    app, user = signing_in(node, functions.add())
    app.tokens(user)
    path, headers, body = functions.requests[-1]
    request = botocore.awsrequest.AWSRequest(
        "POST",
        f"http://{headers['Host']}{path}",
        data=body,
        headers={name: headers[name] for name in ("Content-Type", "X-Amz-Date", "X-Amz-Invocation-Type")},
    )
    request.context["timestamp"] = headers["X-Amz-Date"]
    key = botocore.credentials.Credentials("AKIDEXAMPLE", "lambda-secret-4711")
    signer = botocore.auth.SigV4Auth(key, "lambda", "eu-west-1")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert "lambda-secret-4711" not in node[0].log()


# ---- the document ---------------------------------------------------------------------------


def test_the_example_of_the_document_works(tmp_path, start_server):
    """docs/triggers.md: a webhook in Python, checked by its signature, that confirms sign-ups of one company."""
    [script] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    [port] = free_ports(1)
    path = tmp_path / "hook.py"
    path.write_text(script)
    hook = subprocess.Popen([sys.executable, str(path), str(port)], stdin=subprocess.DEVNULL)
    try:
        arn = "arn:aws:lambda:us-east-1:000000000000:function:pre-sign-up"
        server = start_server(options=["--webhook", f"{arn}=http://127.0.0.1:{port}/"])
        pool = Pool(server, boto_client(server), AutoVerifiedAttributes=["email"], LambdaConfig={"PreSignUp": arn})
        app = pool.app_client()
        until(lambda: is_open(port), 20, "the webhook listens")
        answer = app.sign_up("ada", email="ada@example.com")
        assert answer["UserConfirmed"]
        with refused("UserLambdaValidationException", "PreSignUp failed with error only for example.com."):
            app.sign_up("eve", email="eve@example.org")
    finally:
        hook.terminate()
        hook.wait(20)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
