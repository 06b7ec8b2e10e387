"""What the chart renders, looked at as Kubernetes and Conclave would."""

import json
import re

import pytest
from chart import (
    CHART,
    EXAMPLES,
    HELM,
    ROOT,
    Refused,
    all_of,
    changed,
    configs,
    container,
    example,
    files,
    kinds,
    lint,
    one,
    pods,
    render,
    spec,
    workloads,
)

DEFAULT = example("default")
CERT_MANAGER = example("cert-manager")
FULL = example("full")
GROWN = example("grown")
SMALL = example("small")
TRIAL = example("trial")

every_example = pytest.mark.parametrize(
    "values", [example(path.stem.removesuffix("-values")) for path in EXAMPLES], ids=[path.stem for path in EXAMPLES]
)
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not installed")


def nodes(manifests):
    return one(manifests, "StatefulSet")


def gateways(manifests):
    return one(manifests, "Deployment")


def selector(component):
    return {
        "matchLabels": {
            "app.kubernetes.io/name": "conclave",
            "app.kubernetes.io/instance": "conclave",
            "app.kubernetes.io/component": component,
        }
    }


@every_example
def test_every_example_passes_lint_and_renders_without_a_secret(values):
    assert lint(values) == []
    manifests = render(values)
    assert "Secret" not in kinds(manifests)
    assert {"StatefulSet", "ConfigMap", "Service"} <= kinds(manifests)


@every_example
def test_each_node_reads_a_configuration_with_its_number_and_address(values):
    manifests = render(values)
    stateful_set = nodes(manifests)
    headless = manifests["Service", stateful_set["spec"]["serviceName"]]
    assert headless["spec"]["clusterIP"] == "None" and headless["spec"]["publishNotReadyAddresses"]
    assert stateful_set["spec"]["podManagementPolicy"] == "Parallel"
    found = configs(manifests, stateful_set)
    numbers = set()
    for ordinal, (pod, config) in enumerate(found.items()):
        numbers.add(config["node_id"])
        assert config["node_id"] == values.get("nodeNumbers", {}).get(str(ordinal), ordinal + 1)
        own = [m["address"] for m in config.get("members", []) if m["node_id"] == config["node_id"]]
        (address,) = own or [config["address"]]
        name, _, rest = address.partition(".identity.svc.")
        assert rest.endswith(":9230")
        if config["node_id"] == ordinal + 1:
            assert name == f"{pod}.{headless['metadata']['name']}"
        else:
            # the pod's own name is still that of the node before
            service = manifests["Service", name]["spec"]
            assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
            assert service["selector"] == {
                **selector("node")["matchLabels"], "statefulset.kubernetes.io/pod-name": pod,
            }  # fmt: skip
    assert len(numbers) == len(found) == len(manifests["ConfigMap", stateful_set["metadata"]["name"]]["data"])


@every_example
def test_the_first_nodes_name_each_other_and_all_others_join(values):
    manifests = render(values)
    found = configs(manifests, nodes(manifests))
    first = values.get("initialNodes", 3)
    members = []
    for ordinal, (pod, config) in enumerate(found.items()):
        makes = ordinal < first and str(ordinal) not in values.get("nodeNumbers", {})
        assert ("members" in config) == makes and ("join" in config) != makes, pod
        if makes:
            members.append(config["members"])
            assert [member["node_id"] for member in config["members"]] == list(range(1, first + 1))
        else:
            assert config["address"] not in config["join"]
            assert len(config["join"]) >= 2
    assert all(one == members[0] for one in members)


@every_example
def test_only_pods_that_serve_the_api_see_the_key_encryption_key_and_the_secrets_of_messages(values):
    manifests = render(values)
    for workload in workloads(manifests):
        serves = workload["kind"] == "Deployment" or not values.get("gateway", {}).get("enabled", True)
        for pod, config in configs(manifests, workload).items():
            seen = files(container(workload), spec(workload)["volumes"], pod)
            secrets = {name for kind, name, _ in seen.values() if kind == "Secret"}
            assert ("conclave-kek" in secrets) == ("kek" in config) == serves
            assert secrets & {"conclave-email", "conclave-sms", "conclave-triggers"} == set() or serves
            assert "public_url" in config or not serves
            roles = {"StatefulSet": ["shard"], "Deployment": ["gateway"]}[workload["kind"]]
            assert config.get("roles", roles) == roles
            assert ("roles" in config) == ("Deployment" in kinds(manifests))


@every_example
def test_every_file_that_the_configuration_names_is_mounted_and_of_certificates_nothing_else(values):
    manifests = render(values)
    for workload in workloads(manifests):
        for pod, config in configs(manifests, workload).items():
            seen = files(container(workload), spec(workload)["volumes"], pod)
            named = {path for table in config.values() if isinstance(table, dict) for path in paths(table)}
            for path in named:
                directory = path.rpartition("/")[0]
                assert path in seen or f"{directory}/*" in seen, path
            secret = {name for path, (_, name, _) in seen.items() if path.startswith("/etc/conclave/pki/")}
            assert len(secret) == 1, "certificates are of one secret"
            if workload["kind"] == "StatefulSet":
                pki = {path: key for path, (_, _, key) in seen.items() if path.startswith("/etc/conclave/pki/")}
                assert set(pki) == set(config["internal_tls"].values())
            if "data_dir" in config:
                assert config["data_dir"] in [m["mountPath"] for m in container(workload)["volumeMounts"]]


def paths(table):
    for value in table.values():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, str) and path.startswith("/"):
                yield path


def test_a_node_sees_its_own_certificate_as_files_and_gateways_see_theirs_as_a_directory():
    """A directory by subPath is emptied when its secret changes; a whole volume shows the new files."""
    for values in (DEFAULT, CERT_MANAGER):
        manifests = render(values)
        for pod in pods(nodes(manifests)):
            seen = files(container(nodes(manifests)), spec(nodes(manifests))["volumes"], pod)
            keys = {key for path, (_, name, key) in seen.items() if path.startswith("/etc/conclave/pki/")}
            assert keys in ({"ca.pem", f"{pod}.pem", f"{pod}-key.pem"}, {"ca.crt", "tls.crt", "tls.key"})
            names = {name for path, (_, name, _) in seen.items() if path.startswith("/etc/conclave/pki/")}
            assert names in ({"conclave-internal-tls"}, {f"{pod}-internal-tls"})
        for mount in container(nodes(manifests))["volumeMounts"]:
            assert ("subPath" in mount or "subPathExpr" in mount) == (mount["name"] == "pki"), mount
        for mount in container(gateways(manifests))["volumeMounts"]:
            assert "subPath" not in mount and "subPathExpr" not in mount, mount


@pytest.mark.parametrize("values", [CERT_MANAGER, FULL, TRIAL], ids=["cert-manager", "full", "trial"])
def test_cert_manager_is_asked_for_the_identity_of_each_node_gateway_and_administrator(values):
    manifests = render(values)
    certificates = {m["spec"]["secretName"]: m["spec"] for m in all_of(manifests, "Certificate")}
    cluster = values["clusterId"]
    for pod, config in configs(manifests, nodes(manifests)).items():
        certificate = certificates[f"{pod}-internal-tls"]
        own = [m["address"] for m in config.get("members", []) if m["node_id"] == config["node_id"]]
        (address,) = own or [config["address"]]
        assert certificate["dnsNames"] == [address.removesuffix(":9230")]
        assert certificate["uris"] == [f"conclave://{cluster}/node/{config['node_id']}"]
        assert {"server auth", "client auth"} <= set(certificate["usages"])
    name = nodes(manifests)["metadata"]["name"]
    admin = certificates[f"{name}-admin-tls"]
    assert admin["uris"] == [f"conclave://{cluster}/admin/0"] and "dnsNames" not in admin
    assert "server auth" not in admin["usages"]
    assert (f"{name}-gateway-internal-tls" in certificates) == ("Deployment" in kinds(manifests))
    if "Deployment" in kinds(manifests):
        assert certificates[f"{name}-gateway-internal-tls"]["uris"] == [f"conclave://{cluster}/gateway/0"]


def test_without_an_issuer_the_chart_makes_an_authority_and_with_one_it_does_not():
    own = render(CERT_MANAGER)
    (authority,) = [m for m in own.values() if m["kind"] == "Certificate" and m["spec"].get("isCA")]
    issuers = {m["metadata"]["name"]: m["spec"] for m in own.values() if m["kind"] == "Issuer"}
    assert "selfSigned" in issuers[authority["spec"]["issuerRef"]["name"]]
    for manifest in own.values():
        if manifest["kind"] == "Certificate" and manifest is not authority:
            issuer = issuers[manifest["spec"]["issuerRef"]["name"]]
            assert issuer == {"ca": {"secretName": authority["spec"]["secretName"]}}
    given = render(FULL)
    assert "Issuer" not in kinds(given)
    named = {m["spec"]["issuerRef"]["name"] for m in given.values() if m["kind"] == "Certificate"}
    assert named == {"conclave-internal", "letsencrypt"}


def test_growing_restarts_no_node_and_a_change_of_the_configuration_does():
    for values in (DEFAULT, CERT_MANAGER):
        three, five = render(changed(values, replicaCount=5, initialNodes=5)), None
        three = render(changed(values, replicaCount=3, initialNodes=3))
        five = render(changed(values, replicaCount=5, initialNodes=3))
        replaced = render(changed(values, replicaCount=5, initialNodes=3, nodeNumbers={"1": 101}))
        for grown in (five, replaced):
            assert nodes(three)["spec"]["template"] == nodes(grown)["spec"]["template"]
        before, after = configs(three, nodes(three)), configs(five, nodes(five))
        assert all(after[pod] == config for pod, config in before.items())
        assert (
            nodes(three)["spec"]["template"]
            == nodes(render(changed(values, replicaCount=3, initialNodes=3, service={"labels": {"a": "b"}})))["spec"][
                "template"
            ]
        )
        other = render(changed(values, replicaCount=3, initialNodes=3, snapshots={"entries": 1000}))
        assert nodes(three)["spec"]["template"] != nodes(other)["spec"]["template"]
        assert gateways(three)["spec"]["template"] == gateways(other)["spec"]["template"]
        url = render(changed(values, replicaCount=3, initialNodes=3, publicUrl="https://other.example.com"))
        assert nodes(three)["spec"]["template"] == nodes(url)["spec"]["template"]
        assert gateways(three)["spec"]["template"] != gateways(url)["spec"]["template"]


def test_once_a_single_node_has_grown_no_node_makes_the_cluster():
    manifests = render(changed(TRIAL, replicaCount=3, bootstrap=False))
    for config in configs(manifests, nodes(manifests)).values():
        assert "members" not in config and len(config["join"]) == 2
    made = render(changed(TRIAL, replicaCount=3))
    assert nodes(made)["spec"]["template"] != nodes(manifests)["spec"]["template"]


@every_example
def test_pods_have_no_rights_and_write_to_their_data_only(values):
    for workload in workloads(render(values)):
        pod = spec(workload)
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        security = container(workload)["securityContext"]
        assert security["readOnlyRootFilesystem"] is True and security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        writable = [m["name"] for m in container(workload)["volumeMounts"] if not m.get("readOnly")]
        writable = [name for name in writable if name != "scratch"]
        assert writable == (["data"] if workload["kind"] == "StatefulSet" else [])


@every_example
def test_probes_ask_the_management_port_and_only_readiness_asks_for_the_quorum(values):
    for workload in workloads(render(values)):
        found = container(workload)
        assert {"name": "management", "containerPort": 9000} in found["ports"]
        assert found["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "management"}
        assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "management"}
        if values.get("customStartupProbe"):
            assert found["startupProbe"] == {"tcpSocket": {"port": "management"}, "failureThreshold": 600}
        else:
            assert found["startupProbe"]["httpGet"]["path"] == "/livez"


def test_at_most_one_node_is_taken_away_and_no_two_share_a_machine():
    manifests = render(DEFAULT)
    for workload, component in ((nodes(manifests), "node"), (gateways(manifests), "gateway")):
        assert workload["spec"]["selector"] == selector(component)
        budget = manifests["PodDisruptionBudget", workload["metadata"]["name"]]["spec"]
        assert budget == {"maxUnavailable": 1, "selector": selector(component)}
        (spread,) = spec(workload)["topologySpreadConstraints"]
        assert spread["labelSelector"] == selector(component)
        assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    (apart,) = spec(nodes(manifests))["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart == {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector("node")}
    soft = spec(gateways(manifests))["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert soft[0]["podAffinityTerm"]["labelSelector"] == selector("gateway")


def test_gateways_scale_by_load_unless_their_number_is_given():
    manifests = render(DEFAULT)
    scaler = one(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "conclave-gateway"}
    assert "replicas" not in gateways(manifests)["spec"]
    fixed = render(GROWN)
    assert "HorizontalPodAutoscaler" not in kinds(fixed)
    assert gateways(fixed)["spec"]["replicas"] == 3
    resources = [m["resource"]["name"] for m in one(render(FULL), "HorizontalPodAutoscaler")["spec"]["metrics"][:2]]
    assert resources == ["cpu", "memory"]


@pytest.mark.parametrize("values", [DEFAULT, SMALL, FULL], ids=["default", "small", "full"])
def test_the_internal_port_is_open_to_the_cluster_only_and_the_public_port_of_who_serves(values):
    manifests = render(values)
    apart = "Deployment" in kinds(manifests)
    policies = {
        m["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: m["spec"]
        for m in all_of(manifests, "NetworkPolicy")
    }
    assert set(policies) == ({"node", "gateway"} if apart else {"node"})

    def rules(policy, port):
        return [rule for rule in policy["ingress"] if any(p["port"] == port for p in rule["ports"])]

    who = ["node", "gateway", "admin"] if apart else ["node", "admin"]
    (internal,) = rules(policies["node"], 9230)
    assert internal["from"] == [{"podSelector": selector(component)} for component in who]
    assert bool(rules(policies["node"], 9229)) != apart
    if apart:
        assert rules(policies["gateway"], 9230) == [] and rules(policies["gateway"], 9229)
        assert {} not in policies["node"]["egress"], "nodes that serve nobody reach only each other"
    assert "internal" not in [p["name"] for p in manifests["Service", "conclave"]["spec"]["ports"]]


@every_example
def test_services_monitors_and_routes_find_the_pods(values):
    manifests = render(values)
    labels = {w["metadata"]["name"]: w["spec"]["template"]["metadata"]["labels"].items() for w in workloads(manifests)}
    name = nodes(manifests)["metadata"]["name"]
    server = f"{name}-gateway" if "Deployment" in kinds(manifests) else name
    assert manifests["Service", name]["spec"]["selector"].items() <= labels[server]
    assert manifests["Service", f"{name}-headless"]["spec"]["selector"].items() <= labels[name]
    port = manifests["Service", name]["spec"]["ports"][0]
    for route in all_of(manifests, "HTTPRoute") + all_of(manifests, "GRPCRoute"):
        (backend,) = route["spec"]["rules"][0]["backendRefs"]
        assert backend == {"name": name, "port": port["port"]}
    for ingress in all_of(manifests, "Ingress"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend == {"name": name, "port": {"name": "http"}}
    for monitor in all_of(manifests, "ServiceMonitor"):
        wanted, endpoint = monitor["spec"]["selector"]["matchLabels"].items(), monitor["spec"]["endpoints"][0]
        read = [
            service["metadata"]["name"]
            for service in all_of(manifests, "Service")
            if wanted <= service["metadata"]["labels"].items()
            and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
        ]
        assert sorted(read) == sorted([f"{name}-headless", f"{name}-gateway-metrics"])
        assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": name}


def test_a_route_has_the_host_of_the_public_url():
    assert one(render(GROWN), "HTTPRoute")["spec"]["hostnames"] == ["id.example.com"]


def test_settings_of_messages_limits_and_snapshots_reach_who_needs_them():
    manifests = render(FULL)
    (gateway,) = configs(manifests, gateways(manifests)).values()
    assert gateway["email"] == {
        "host": "smtp.example.com", "port": 587, "security": "starttls", "username": "conclave",
        "password_file": "/etc/conclave/email/password", "ca": "/etc/conclave/email/ca.crt",
        "from": "Example <no-reply@example.com>", "reply_to": "support@example.com", "timeout_seconds": 20,
        "connections": 8,
    }  # fmt: skip
    assert gateway["sms"] == {
        "gateway": "twilio", "url": "https://api.twilio.com", "account": "AC00000000000000000000000000000000",
        "from": "+12065550100", "token_file": "/etc/conclave/sms/token", "timeout_seconds": 10, "connections": 4,
    }  # fmt: skip
    assert gateway["limits"] == {"pools_per_account": 5000, "custom_attributes_per_pool": 25}
    assert gateway["signing_keys"] == {"rotate_after_days": 30, "publish_seconds": 7200}
    assert gateway["public_tls"]["certificate"] == "/etc/conclave/public-tls/tls.crt"
    seen = files(container(gateways(manifests)), spec(gateways(manifests))["volumes"], "any")
    assert seen["/etc/conclave/email/password"] == ("Secret", "conclave-email", "smtp")
    assert seen["/etc/conclave/email/ca.crt"] == ("Secret", "conclave-email", "ca")
    assert seen["/etc/conclave/sms/token"] == ("Secret", "conclave-sms", "auth-token")
    assert gateway["audit"] == {"output": "stdout"}
    for node in configs(manifests, nodes(manifests)).values():
        assert node["audit"] == {"output": "stdout"}
        assert node["memory"] == {"cache_mebibytes": 256}
        assert node["snapshots"] == {"entries": 200_000, "mebibytes": 512, "keep_entries": 20_000, "keep_seconds": 120}
        assert not {"email", "sms", "limits", "signing_keys", "kek", "public_tls"} & set(node)


def test_where_functions_are_reaches_who_calls_them():
    manifests = render(FULL)
    (gateway,) = configs(manifests, gateways(manifests)).values()
    directory, account = "/etc/conclave/triggers", "eu-central-1:111122223333"
    aws = {
        "region": "eu-central-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key_file": f"{directory}/aws",
    }  # fmt: skip
    hooks = {"pre-sign-up": "https://hooks.example.com/pre-sign-up?a=b&c=d", "claims": "http://localhost:8000/claims"}
    assert gateway["triggers"] == {
        "timeout_seconds": 4, "tries": 2, "concurrency": 64, "allow_networks": ["10.0.0.0/8", "fd00::/8"],
        "allow_plain_http": True, "ca": f"{directory}/ca.pem",
        "lambda": {**aws, "endpoint": "https://lambda.eu-central-1.amazonaws.com",
                   "functions": [f"arn:aws:lambda:{account}:function:cognito-*"]},
        "kms": {**aws, "endpoint": "https://kms.eu-central-1.amazonaws.com", "keys": [f"arn:aws:kms:{account}:key/*"]},
        "webhooks": [
            {"arn": f"arn:aws:lambda:{account}:function:{name}", "url": url, "secret_file": f"{directory}/hook"}
            for name, url in hooks.items()
        ],
        "keys": [{"arn": f"arn:aws:kms:{account}:key/codes", "key_file": f"{directory}/codes"}],
    }  # fmt: skip
    seen = files(container(gateways(manifests)), spec(gateways(manifests))["volumes"], "any")
    for key in ("aws", "hook", "codes", "ca.pem"):
        assert seen[f"{directory}/{key}"] == ("Secret", "conclave-triggers", key)
    for config in configs(manifests, nodes(manifests)).values():
        assert "triggers" not in config
    # where no function is anywhere, there is nothing to say
    (gateway,) = configs(render(GROWN), gateways(render(GROWN))).values()
    assert "triggers" not in gateway


def test_what_the_program_can_be_told_of_functions_the_chart_can_say():
    """A new setting of the program is a new value of the chart. Secrets come in files."""
    source = (ROOT / "crates" / "conclave" / "src" / "triggers.rs").read_text()

    def settings(struct):
        body = re.search(rf"^pub struct {struct} \{{\n(.*?)^\}}", source, re.MULTILINE | re.DOTALL)[1]
        return {name for name in re.findall(r"^    pub (\w+):", body, re.MULTILINE) if not name.endswith("_env")}

    manifests = render(FULL)
    (gateway,) = configs(manifests, gateways(manifests)).values()
    said = gateway["triggers"]
    tables = {"Triggers": said, "Lambda": said["lambda"], "Webhook": said["webhooks"][0], "Kms": said["kms"],
              "Key": said["keys"][0]}  # fmt: skip
    for struct, table in tables.items():
        assert set(table) == settings(struct), struct


def test_the_key_encryption_key_is_a_directory_with_versions_or_vault_s():
    manifests = render(changed(FULL, kek__directory=True))
    (gateway,) = configs(manifests, gateways(manifests)).values()
    assert gateway["kek"] == {"directory": "/etc/conclave/kek"}
    (volume,) = [v for v in spec(gateways(manifests))["volumes"] if v["name"] == "kek"]
    # all keys of the secret, so that one that is added comes to the pods that run
    assert "items" not in volume["secret"]
    vault = {"address": "https://vault:8200", "key": "conclave", "existingSecretCaKey": "ca.crt"}
    manifests = render(changed(FULL, kek__vault=vault, kek__existingSecretKey="token"))
    (gateway,) = configs(manifests, gateways(manifests)).values()
    assert gateway["kek"] == {"previous_files": ["/etc/conclave/kek/first"], "vault": {
        "address": "https://vault:8200", "key": "conclave",
        "token_file": "/etc/conclave/kek/token", "ca": "/etc/conclave/kek/ca.crt",
    }}  # fmt: skip
    seen = files(container(gateways(manifests)), spec(gateways(manifests))["volumes"], "any")
    assert seen["/etc/conclave/kek/token"] == ("Secret", "conclave-kek", "token")
    assert seen["/etc/conclave/kek/ca.crt"] == ("Secret", "conclave-kek", "ca.crt")


def test_what_the_program_can_be_told_of_messages_limits_and_snapshots_the_chart_can_say():
    """A new setting of the program is a new value of the chart."""
    directory = ROOT / "crates" / "conclave" / "src"
    files = [directory / "config.rs", *sorted((directory / "config").glob("*.rs"))]
    source = "\n".join(path.read_text() for path in files)

    def settings(struct):
        body = re.search(rf"^pub struct {struct} \{{\n(.*?)^\}}", source, re.MULTILINE | re.DOTALL)[1]
        return set(re.findall(r"^    pub (\w+):", body, re.MULTILINE)) - {"password_env", "token_env"}

    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    for struct, table in (("Limits", "limits"), ("Snapshots", "snapshots"), ("SigningKeys", "signingKeys")):
        named = {re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name) for name in schema[table]["properties"]}
        assert named == settings(struct), named ^ settings(struct)
    said = {"email": set(), "sms": set()}
    for values in (FULL, SMALL):
        manifests = render(values)
        for workload in workloads(manifests):
            for config in configs(manifests, workload).values():
                for table, names in said.items():
                    names |= set(config.get(table, {}))
    assert said == {"email": settings("Email"), "sms": settings("SmsGateway")}


def test_a_command_of_administration_has_the_administrators_certificate_and_no_other_key():
    manifests = render(changed(GROWN, admin__command=["drain", "4"]))
    job = one(manifests, "Job")
    pod = spec(job)
    assert job["spec"]["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
    assert pod["containers"][0]["args"] == ["drain", "4"]
    assert [v["secret"]["secretName"] for v in pod["volumes"]] == ["conclave-admin-tls"]
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    assert selector("admin")["matchLabels"].items() <= labels, "the network policy lets it in"
    assert "Job" not in kinds(render(GROWN))


def test_backups_are_made_on_a_schedule_by_a_job_that_cannot_read_them():
    manifests = render(FULL)
    [backup] = [job for job in all_of(manifests, "CronJob") if job["metadata"]["name"].endswith("-backup")]
    job = backup["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    [only] = pod["containers"]
    assert only["args"] == ["backup", "s3://backups/identity", "--rate", "16", "--json"]
    assert {"name": "AWS_REGION", "value": "eu-central-1"} in only["env"]
    assert only["envFrom"] == [{"secretRef": {"name": "conclave-backup"}}]
    assert pod["restartPolicy"] == "Never" and job["activeDeadlineSeconds"] == 3600
    # the administrator's certificate, and no other key
    assert [volume["name"] for volume in pod["volumes"]] == ["admin"]
    labels = job["template"]["metadata"]["labels"].items()
    assert "admin" in [value for name, value in labels if name.endswith("component")], "the network policy lets it in"
    recipients = FULL["backup"]["recipients"]
    for config in configs(manifests, nodes(manifests)).values():
        assert config["backup"]["recipients"] == recipients
    assert not [job for job in all_of(render(DEFAULT), "CronJob") if job["metadata"]["name"].endswith("-backup")]


@pytest.mark.parametrize("values", [DEFAULT, SMALL], ids=["with gateways", "without"])
def test_a_restore_comes_before_the_nodes_and_what_opens_a_backup_is_seen_by_nothing_else(values):
    restore = {"source": "s3://b/c", "existingSecret": "opens", "existingSecretOldKekKey": "k", "keep": "refreshTokens"}
    manifests = render(changed(values, initialNodes=1, restore=restore))
    pod = spec(nodes(manifests))
    [first] = pod["initContainers"]
    assert first["args"][:4] == ["restore", "s3://b/c", "latest", "--if-empty"]
    assert "--keep-refresh-tokens" in first["args"]
    seen = files(first, pod["volumes"], "conclave-0")
    for path in [word for word in first["args"] if word.startswith("/")]:
        assert path in seen or f"{path.rpartition('/')[0]}/*" in seen, path
    assert seen["/etc/conclave/restore/old-kek"] == ("Secret", "opens", "k")
    for workload in workloads(manifests):
        of_container = files(container(workload), spec(workload)["volumes"], pods(workload)[0])
        assert not [path for path in of_container if "restore" in path]
    [others] = [spec(workload) for workload in workloads(manifests)[1:]] or [{}]
    assert "initContainers" not in others and "initContainers" not in spec(nodes(render(values)))


def test_the_tests_of_a_release_are_hooks_and_ask_the_service():
    manifests = render(GROWN)
    tests = all_of(manifests, "Pod")
    assert [test["metadata"]["name"] for test in tests] == ["conclave-test-api", "conclave-test-status"]
    assert {test["metadata"]["annotations"]["helm.sh/hook"] for test in tests} == {"test"}
    assert len(all_of(render(DEFAULT), "Pod")) == 1, "without an administrator's certificate the API alone"


def test_nodes_can_be_restarted_on_a_schedule_with_no_other_rights():
    manifests = render(CERT_MANAGER)
    assert one(manifests, "Role")["rules"] == [
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "resourceNames": ["identity"], "verbs": ["get", "patch"]}
    ]
    job = one(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert job["containers"][0]["args"] == ["rollout", "restart", "statefulset/identity"]
    assert job["serviceAccountName"] == one(manifests, "RoleBinding")["subjects"][0]["name"]


@needs_helm
def test_what_an_old_kubernetes_does_not_know_is_left_out():
    old = render(DEFAULT, kubernetes="1.25.0")
    assert "lifecycle" not in container(nodes(old)) and "lifecycle" not in container(gateways(old))
    assert "persistentVolumeClaimRetentionPolicy" not in nodes(old)["spec"]
    assert "lifecycle" in container(nodes(render(DEFAULT)))
    with pytest.raises(Refused):
        render(DEFAULT, kubernetes="1.24.0")
