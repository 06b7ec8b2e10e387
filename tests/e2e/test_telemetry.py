"""Traces, logs and metrics from a request's arrival to its entry's effect; and none of them holds what users send.

Secrets planted in every flow (canaries) are looked for in all three, plain and as hex, base64 and a list of bytes.
"""

import base64
import collections
import itertools
import json
import re
import socket
import time
import types

import pytest
from harness import srp
from harness.cluster import Cluster
from harness.cognito import Pool, attributes, boto_client, newest_code, refused, secret_hash, wrong
from harness.otlp import Collector, Traces
from harness.server import Server, free_ports

PASSWORDS = [f"Canary-in-the-mine-{n}!" for n in range(1, 6)]
PASSWORD, SECOND_PASSWORD, TEMPORARY_PASSWORD, WRONG_PASSWORD, SIGNED_PASSWORD = PASSWORDS
USERNAME, INVITED = "canary-yellow", "canary-green"
ADDRESS, INVITED_ADDRESS = "canary-yellow@example.com", "canary-green@example.com"
NICKNAME = "Canary-called-Nick"
# With the log on disk and every flow's spans, stopping a server is a matter of a second.
STOP_SECONDS_MAX = 10
START_SECONDS_MAX = 20
# stdout is for people; what is checked here is stderr
STDOUT_APART = ["sh", "-c", 'exec "$0" "$@" >stdout.txt']


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Everything that a server told about itself while every flow went through it, and what it must not tell."""
    with Collector() as collector:
        server = Server(
            tmp_path_factory.mktemp("telemetry"),
            options=["--log-format", "json", "--log", "debug", "--otlp-endpoint", collector.endpoint],
            wrapper=STDOUT_APART,
        )
        server.start()
        try:
            flows = exercise(server)
            metrics = server.metrics()
            assert server.stop() == 0
        finally:
            server.kill()
        yield types.SimpleNamespace(
            traces=Traces(collector.spans()),
            raw_traces=collector.raw(),
            log=server.log(),
            lines=server.log().splitlines(),
            metrics=metrics,
            **vars(flows),
        )


def exercise(server):
    """Sign-up, passwords right and wrong, SRP, refresh, a challenge. Counts what it does as it does it."""
    pool = Pool(server, boto_client(server), AutoVerifiedAttributes=["email"])
    app = pool.app_client(secret=True)
    secrets = {
        **{f"password {n}": password for n, password in enumerate(PASSWORDS)},
        "client secret": app.secret,
        "secret hash": secret_hash(USERNAME, app.id, app.secret),
        "user name": USERNAME,
        "invited user's name": INVITED,
        "address": ADDRESS,
        "invited user's address": INVITED_ADDRESS,
        "attribute": NICKNAME,
    }
    attempts = collections.Counter()
    tokens_issued = collections.Counter()

    def keep(answer, what):
        tokens = answer["AuthenticationResult"]
        for kind in ("IdToken", "AccessToken", "RefreshToken"):
            if kind in tokens:
                secrets[f"{what}: {kind}"] = tokens[kind]
                tokens_issued[kind] += 1
        return tokens

    signed_up = app.sign_up(USERNAME, PASSWORD, email=ADDRESS, nickname=NICKNAME)
    code = newest_code(server, ADDRESS)
    with refused("CodeMismatchException"):
        app.confirm(USERNAME, wrong(code))
    app.confirm(USERNAME, code)
    with refused("NotAuthorizedException") as caught:
        app.password_sign_in(USERNAME, WRONG_PASSWORD)
    refusal = caught.value.response["ResponseMetadata"]["RequestId"]
    attempts["USER_PASSWORD_AUTH", "refused"] += 1
    with refused("NotAuthorizedException"):
        app.initiate("USER_PASSWORD_AUTH", USERNAME=USERNAME, PASSWORD=PASSWORD, SECRET_HASH="Canary-of-a-hash")
    secrets["wrong secret hash"] = "Canary-of-a-hash"
    attempts["USER_PASSWORD_AUTH", "refused"] += 1
    tokens = keep(app.password_sign_in(USERNAME, PASSWORD), "password")
    attempts["USER_PASSWORD_AUTH", "ok"] += 1
    keep(app.refresh(tokens["RefreshToken"], SECRET_HASH=secrets["secret hash"]), "refresh")
    attempts["REFRESH_TOKEN_AUTH", "ok"] += 1
    with refused("NotAuthorizedException"):
        app.refresh("Canary-of-a-refresh-token", SECRET_HASH=secrets["secret hash"])
    secrets["wrong refresh token"] = "Canary-of-a-refresh-token"
    attempts["REFRESH_TOKEN_AUTH", "refused"] += 1
    pool.cognito.get_user(AccessToken=tokens["AccessToken"])
    with refused("NotAuthorizedException"):
        pool.cognito.get_user(AccessToken=tokens["AccessToken"] + "Canary")

    for password, outcome in ((WRONG_PASSWORD, "refused"), (PASSWORD, "ok")):
        exchange = srp.Exchange(pool.id, password)
        challenge = app.initiate("USER_SRP_AUTH", **app.parameters(USERNAME, SRP_A=exchange.srp_a))
        attempts["USER_SRP_AUTH", "challenge"] += 1
        responses = exchange.responses(challenge["ChallengeParameters"])
        name = responses.pop("USERNAME")
        assert name
        secrets[f"srp, {outcome}: signature"] = responses["PASSWORD_CLAIM_SIGNATURE"]
        secrets[f"srp, {outcome}: secret block"] = responses["PASSWORD_CLAIM_SECRET_BLOCK"]
        secrets[f"srp, {outcome}: A"] = exchange.srp_a
        answer = app.parameters(USERNAME, **responses)
        attempts["PASSWORD_VERIFIER", outcome] += 1
        if outcome == "refused":
            with refused("NotAuthorizedException"):
                app.respond("PASSWORD_VERIFIER", **answer)
        else:
            keep(app.respond("PASSWORD_VERIFIER", **answer), "srp")

    pool.cognito.admin_create_user(
        UserPoolId=pool.id,
        Username=INVITED,
        TemporaryPassword=TEMPORARY_PASSWORD,
        MessageAction="SUPPRESS",
        UserAttributes=attributes({"email": INVITED_ADDRESS}),
    )
    session = app.password_sign_in(INVITED, TEMPORARY_PASSWORD)["Session"]
    attempts["USER_PASSWORD_AUTH", "challenge"] += 1
    secrets["session"] = session
    done = app.respond("NEW_PASSWORD_REQUIRED", session, **app.parameters(INVITED, NEW_PASSWORD=SECOND_PASSWORD))
    keep(done, "new password")
    attempts["NEW_PASSWORD_REQUIRED", "ok"] += 1
    pool.cognito.admin_set_user_password(
        UserPoolId=pool.id, Username=USERNAME, Password=SIGNED_PASSWORD, Permanent=True
    )
    return types.SimpleNamespace(
        secrets=secrets,
        codes=[code, wrong(code)],
        attempts=attempts,
        tokens_issued=tokens_issued,
        sign_up_id=signed_up["ResponseMetadata"]["RequestId"],
        refusal_id=refusal,
    )


def forms(secret):
    """What a secret looks like when somebody prints it, or its bytes."""
    data = secret.encode()
    return [
        data,
        data.hex().encode(),
        data.hex().upper().encode(),
        # without its end, which depends on what follows
        base64.b64encode(data)[: len(data) * 4 // 3 - 2],
        ", ".join(str(byte) for byte in data).encode(),
    ]


def found_in(data, secrets):
    return sorted(name for name, secret in secrets.items() if any(form in data for form in forms(secret)))


def strings(value):
    """Every string in a JSON value, keys as well, except times."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from itertools.chain.from_iterable(strings(v) for k, v in value.items() if k != "timestamp")
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(strings(v) for v in value)


def tell(texts, codes):
    """Six digits come up by chance within ids: a code counts where it stands for itself."""
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(codes)})(?![\w.])")
    return [text for text in texts if pattern.search(text)]


def sample(metrics, name, **labels):
    """The value of a counter."""
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{name}{{{re.escape(text)}}} (\d+)$", metrics, re.MULTILINE)
    return int(found[1]) if found else 0


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_a_request_is_traced_from_the_front_to_apply(told):
    request = next(s for s in told.traces.named("request") if s.attributes["request_id"] == told.sign_up_id)
    assert request.attributes["operation"] == "SignUp"
    assert request.attributes["code"] == "OK"
    assert request.attributes["front"] == "aws-json"
    assert request.parent_id == b""
    paths = {tuple(told.traces.names(s)) for s in told.traces.spans if s.trace_id == request.trace_id}
    assert ("transact", "request") in paths
    assert ("shard.read", "store.read", "transact", "request") in paths
    assert ("apply", "shard.commit", "store.commit", "transact", "request") in paths


def test_every_span_hangs_from_one_that_arrived(told):
    # raises for a parent that is missing
    roots = {told.traces.path(span)[-1].name for span in told.traces.named("store.commit")}
    assert "request" in roots
    for span in told.traces.spans:
        told.traces.path(span)


def test_spans_say_how_it_went(told):
    refusal = next(s for s in told.traces.named("request") if s.attributes["request_id"] == told.refusal_id)
    assert refusal.attributes["operation"] == "InitiateAuth"
    assert refusal.attributes["code"] == "NotAuthorizedException"
    inner = [s for s in told.traces.spans if s.trace_id == refusal.trace_id]
    transacts = [s.attributes for s in inner if s.name == "transact"]
    assert [(t["tries"], t["outcome"]) for t in transacts] == [(1, "NotAuthorizedException")]
    # the failed attempt was counted before it was told
    commits = [s.attributes for s in inner if s.name == "store.commit"]
    assert commits and commits[-1]["outcome"] == "Committed"
    assert int(commits[-1]["writes"]) > 0 and commits[-1]["repeats"] == 0


def test_traces_and_metrics_count_the_same_requests(told):
    counted = {
        (operation, code): int(count)
        for operation, code, count in re.findall(
            r'^conclave_api_requests_total\{operation="(\w+)",code="(\w+)"\} (\d+)$', told.metrics, re.MULTILINE
        )
    }
    assert counted == dict(told.traces.requests())
    assert counted["SignUp", "OK"] == 1
    assert counted["ConfirmSignUp", "CodeMismatchException"] == 1


def test_sign_in_attempts_are_counted_by_flow_and_result(told):
    counted = {
        (flow, result): int(count)
        for flow, result, count in re.findall(
            r'^conclave_auth_attempts_total\{flow="(\w+)",result="(\w+)"\} (\d+)$', told.metrics, re.MULTILINE
        )
    }
    assert counted == dict(told.attempts)


def test_tokens_are_counted_by_kind(told):
    for kind, name in (("id", "IdToken"), ("access", "AccessToken"), ("refresh", "RefreshToken")):
        assert sample(told.metrics, "conclave_tokens_issued_total", kind=kind) == told.tokens_issued[name], kind


def test_every_log_line_is_an_object(told):
    records = [json.loads(line) for line in told.lines]
    assert records
    for record in records:
        assert {"timestamp", "level", "target", "fields"} <= record.keys()
        assert record["level"] in ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")


def test_log_lines_of_a_request_have_its_id(told):
    records = [json.loads(line) for line in told.lines]
    refusals = [r for r in records if r["fields"].get("message") == "request refused"]
    request = next(r["spans"][0] for r in refusals if r["spans"][0].get("request_id") == told.refusal_id)
    assert request["name"] == "request"
    assert request["operation"] == "InitiateAuth"


# ---- what is not told ------------------------------------------------------------------------------------------------


def test_no_secret_is_in_traces_logs_or_metrics(told):
    assert len(told.secrets) > 25
    # what they may hold is found in them
    control = {"the request's id": told.refusal_id}
    assert found_in(told.raw_traces, control) and found_in(told.log.encode(), control)
    assert found_in(told.raw_traces, told.secrets) == []
    assert found_in(told.log.encode(), told.secrets) == []
    assert found_in(told.metrics.encode(), told.secrets) == []


def test_no_code_is_in_traces_logs_or_metrics(told):
    values = [s.attributes for s in told.traces.spans]
    values += [attributes for s in told.traces.spans for _, attributes in s.events]
    values += [name for s in told.traces.spans for name, _ in s.events]
    assert tell(strings(values), told.codes) == []
    assert tell(strings([json.loads(line) for line in told.lines]), told.codes) == []
    assert tell(re.findall(r'"([^"]*)"', told.metrics), told.codes) == []


def test_what_is_looked_for_would_be_found():
    secret, code = "Canary-in-the-mine-1!", "481516"
    for told in (secret, secret.encode().hex(), str(list(secret.encode())), base64.b64encode(secret.encode()).decode()):
        assert found_in(f'{{"message":"{told}"}}'.encode(), {"it": secret}) == ["it"]
    record = {"timestamp": f"2026-01-01T00:00:00.{code}Z", "fields": {"id": f"a{code}b"}}
    assert tell(strings(record), [code]) == []
    assert tell(strings({**record, "spans": [{"code": f"Some({code})"}]}), [code])


# ---- across nodes ----------------------------------------------------------------------------------------------------


def test_a_trace_goes_on_in_the_node_that_is_asked(tmp_path, monkeypatch):
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("CONCLAVE_LOG", "debug")
        cluster = Cluster(tmp_path / "cluster")
        try:
            cluster.start()
            key, secret = cluster.credentials()
            follower = cluster.others(cluster.leader())[0]
            pool = Pool(follower, boto_client(follower, key, secret))
            app = pool.app_client()
            app.tokens(pool.user(USERNAME, PASSWORD), PASSWORD)
            asking, pids = str(follower.process.pid), {str(node.process.pid) for node in cluster.nodes}
            for node in cluster.nodes:
                assert node.stop() == 0
        finally:
            cluster.kill()
        traces = Traces(collector.spans())
    far = [s for s in traces.named("apply") if traces.path(s)[-1].process == asking != s.process]
    assert far, "no request of the follower was applied, in its trace, on the leader"
    names = traces.names(far[-1])
    assert names == ["apply", "shard.commit", "shard.call", "store.route", "store.commit", "transact", "request"]
    assert {s.process for s in far} <= pids
    secrets = {"access key's secret": secret, "password": PASSWORD, "user name": USERNAME}
    assert found_in(collector.raw(), secrets) == []
    for node in cluster.nodes:
        assert found_in(node.log().encode(), secrets) == [], f"node {node.number}"


# ---- without a collector ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collector", ["that refuses connections", "that never answers"])
def test_a_collector_does_not_hold_anything_up(tmp_path, collector):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        if collector == "that never answers":
            silent.listen(8)
        else:
            silent.close()
            [port] = free_ports(1)
        server = Server(tmp_path / "server", options=["--otlp-endpoint", f"http://127.0.0.1:{port}"])
        try:
            began = time.monotonic()
            server.start()
            assert time.monotonic() - began < START_SECONDS_MAX
            pool = Pool(server, boto_client(server))
            app = pool.app_client()
            app.tokens(pool.user())
            began = time.monotonic()
            assert server.stop() == 0
            took = time.monotonic() - began
        finally:
            server.kill()
    print(f"stopped in {took:.1f} s")
    assert took < STOP_SECONDS_MAX
