"""Alerts and dashboards ask for what a running cluster shows, and the alerts go off when they should."""

import re
import subprocess

import chart
import pytest
import requests
import yaml
from cluster import Cluster, ClusterPool, Load
from netns import BINARY, until
from prometheus import ALERTS, DASHBOARDS, PROMETHEUS, PROMTOOL, Prometheus, expressions, filled, rules

# What only comes after something has gone wrong, or a client that asks for what is not known.
QUIET = {
    "Refused and failed requests by exception",
    "Members of requests that are not known",
    "Share of attempts that are refused",
    # where pools name functions
    "Calls of functions by result",
    "95th percentile by source",
}

needs_binary = pytest.mark.skipif(BINARY is None, reason="needs CONCLAVE_BIN")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), settings="dead_after_seconds = 600") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def load(cluster):
    """Clients have signed up and in, one of them with a wrong password, and one has asked for what is not known. A pool
    has named a function that is nowhere."""
    pool = ClusterPool(cluster)
    with Load(pool, threads=2) as load:
        until(lambda: load.acks_since(load.started) > 20, 30, "clients are served")
    with pytest.raises(Exception, match="NotAuthorizedException"):
        cluster.client(1).initiate_auth(
            ClientId=pool.app_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": next(iter(load.usable)), "PASSWORD": "Wrong-password-1!"},
        )
    requests.post(
        cluster.node(1).endpoint,
        headers={
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": "AWSCognitoIdentityProviderService.GetUser",
        },
        json={"AccessToken": "none", "NotInThisVersion": True},
        timeout=10,
    )
    client = cluster.client(1)
    function = {"PreSignUp": "arn:aws:lambda:us-east-1:000000000000:function:nowhere"}
    pool_id = client.create_user_pool(PoolName="functions", LambdaConfig=function)["UserPool"]["Id"]
    app = client.create_user_pool_client(UserPoolId=pool_id, ClientName="app")["UserPoolClient"]
    with pytest.raises(Exception, match="UnexpectedLambdaException"):
        client.sign_up(ClientId=app["ClientId"], Username="ada", Password="Correct-Horse-1!")
    return load


def asked(text):
    """The metrics that an expression names, with the labels that it asks of each."""
    return [
        (name, re.findall(r'(\w+)(?:=~|!=|=)"', labels))
        for name, labels in re.findall(r"\b(conclave_[a-z_]+)(?:\{([^}]*)\})?", text)
    ]


def shown(cluster):
    """The metrics of all nodes, each with the labels that it has been seen with."""
    found = {}
    for node in cluster.nodes:
        for line in node.metrics().splitlines():
            if match := re.match(r"# TYPE (\S+) (\S+)", line):
                name, kind = match.groups()
                suffixes = {"counter": ["_total"], "info": ["_info"], "histogram": ["_bucket", "_sum", "_count"]}
                for suffix in suffixes.get(kind, [""]):
                    found.setdefault(name + suffix, set())
            elif match := re.match(r"(\w+)(?:\{([^}]*)\})? ", line):
                name, labels = match.groups()
                found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return found


@needs_binary
def test_every_metric_that_is_asked_for_is_shown_with_its_labels(cluster, load):
    found = shown(cluster)
    texts = [rule["expr"] for rule in rules()]
    texts += [filled(target["expr"]) for _, _, target in expressions()]
    checked = 0
    for text in texts:
        for name, labels in asked(text):
            assert name in found, f"{name} is not shown: {text}"
            # what Prometheus adds itself
            unknown = set(labels) - {"job", "instance"} - found[name]
            assert not unknown or not found[name], f"{name} has no label {unknown}: {text}"
            checked += 1
    assert checked > 60


def test_every_alert_says_what_it_means_and_every_panel_has_a_unit_and_a_query():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) and all(name.startswith("Conclave") for name in names)
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        # the chart puts its own selector there
        assert all('job="conclave"' in selector for selector in re.findall(r"\{([^}]*)\}", rule["expr"])), rule
    for _, panel, target in expressions():
        assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
        assert 'job=~"$job"' in target["expr"] and 'instance=~"$instance"' in target["expr"], target
    assert len(list(DASHBOARDS.glob("*.json"))) == 2


def test_the_chart_puts_its_own_job_and_namespace_into_the_alerts():
    if chart.HELM is None and chart.helm_python is None:
        pytest.skip("nothing renders charts")
    values = chart.changed(chart.example("cert-manager"), metrics={"prometheusRule": {"enabled": True}})
    (group,) = chart.one(chart.render(values), "PrometheusRule")["spec"]["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [rule["alert"] for rule in rules()]
    text = yaml.safe_dump(group)
    assert 'job="conclave"' not in text and 'namespace="identity",job="identity"' in text
    assert [rule["annotations"] for rule in group["rules"]] == [rule["annotations"] for rule in rules()]


@needs_promtool
def test_alerts_go_off_when_they_should():
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(
            [PROMTOOL, *command], cwd=chart.ROOT / "deploy" / "prometheus", capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


@needs_binary
@needs_prometheus
@pytest.mark.timeout(240)
def test_dashboards_show_a_cluster_that_works_and_alerts_one_that_does_not(cluster, load, tmp_path):
    targets = [node.management.removeprefix("http://") for node in cluster.nodes]
    with Prometheus(tmp_path, targets) as prometheus:
        with Load(load.pool, threads=2) as again:
            until(lambda: len(prometheus.query("up == 1")) == 3, 30, "all nodes are read")
            until(lambda: again.acks_since(again.started) > 30, 60, "clients are served")
            until(lambda: prometheus.query("sum(rate(conclave_api_requests_total[10s])) > 0"), 30, "requests are seen")
            empty = {
                panel["title"] for _, panel, target in expressions() if not prometheus.query(filled(target["expr"]))
            }
        assert empty <= QUIET, empty
        # before all three were read, voters and leaders were missing
        until(lambda: prometheus.alerts() == set(), 20, lambda: f"all is well: {prometheus.alerts()}")
        for node in cluster.nodes[1:]:
            node.kill()
        expected = {"ConclaveTargetDown", "ConclaveVoterMissing", "ConclaveGroupWithoutQuorum"}
        until(lambda: expected <= prometheus.alerts(), 60, lambda: f"{expected} go off: {prometheus.alerts()}")
        assert requests.get(f"{cluster.nodes[0].management}/livez", timeout=5).status_code == 200
        cluster.start()
        until(lambda: prometheus.alerts() == set(), 60, lambda: f"all is well again: {prometheus.alerts()}")
