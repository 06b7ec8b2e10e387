"""Renders the chart, by helm or by the package helm-python-sdk, which holds its engine, and reads what is rendered."""

import copy
import os
import pathlib
import shutil
import subprocess
import tempfile
import tomllib

import yaml

try:
    import helm_python
except ImportError:
    helm_python = None

HELM = os.environ.get("HELM") or shutil.which("helm")
ROOT = pathlib.Path(__file__).parents[2]
CHART = ROOT / "helm" / "conclave"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = "1.34.0"
NAMESPACE = "identity"
RELEASE = "conclave"


class Refused(Exception):
    """The chart does not take the values, and says why."""


class OneOfEachKey(yaml.SafeLoader):
    """YAML, where a key that is given twice is a mistake and not the second value."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep)


def example(name):
    return yaml.load((CHART / "ci" / f"{name}-values.yaml").read_text(), OneOfEachKey)


def changed(values, **changes):
    """The values with others in them; `a__b` is the value b below a."""
    values = copy.deepcopy(values)
    for name, value in changes.items():
        *above, last = name.split("__")
        table = values
        for key in above:
            table = table.setdefault(key, {})
        table[last] = value
    return values


def helm(*arguments):
    return subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def text(values, *options, kubernetes=KUBERNETES):
    """Everything that is rendered, as one text."""
    if HELM is None:
        return text_by_library(values)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        done = helm(
            "template", RELEASE, CHART, "-n", NAMESPACE, "--kube-version", kubernetes, "-f", file.name, *options
        )
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def text_by_library(values):
    try:
        with helm_python.Chart.load(CHART) as chart:
            rendered = chart.render(values, name=RELEASE, namespace=NAMESPACE, is_install=True)
    except helm_python.HelmError as error:
        raise Refused(str(error)) from error
    return "\n---\n".join(text for path, text in rendered.items() if path.endswith(".yaml"))


def lint(values):
    """What there is to say against the chart with these values."""
    if HELM is None:
        report = helm_python.lint(CHART, values, strict=True, kube_version=f"v{KUBERNETES}")
        return [m for m in report["messages"] if m["severity"] > 1] + report["errors"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        done = helm("lint", "--strict", CHART, "-f", file.name)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def render(values, *options, **kubernetes):
    """The manifests by kind and name."""
    manifests = {}
    for manifest in yaml.load_all(text(values, *options, **kubernetes), OneOfEachKey):
        if manifest is None:
            continue
        metadata = manifest["metadata"]
        key = manifest["kind"], metadata.get("name") or metadata["generateName"]
        assert key not in manifests, f"{key} is there twice"
        manifests[key] = manifest
    return manifests


def all_of(manifests, kind):
    return [manifest for (of, _), manifest in manifests.items() if of == kind]


def one(manifests, kind):
    (found,) = all_of(manifests, kind)
    return found


def kinds(manifests):
    return {kind for kind, _ in manifests}


def workloads(manifests):
    """The stateful set, and the deployment where there is one."""
    return all_of(manifests, "StatefulSet") + all_of(manifests, "Deployment")


def pods(workload):
    """The names of a workload's pods; one stands for all of a deployment."""
    name = workload["metadata"]["name"]
    if workload["kind"] == "Deployment":
        return [f"{name}-0123456789-abcde"]
    return [f"{name}-{n}" for n in range(workload["spec"]["replicas"])]


def spec(workload):
    return workload["spec"]["template"]["spec"]


def container(workload):
    (found,) = [c for c in spec(workload)["containers"] if c["name"] == "conclave"]
    return found


def environment(of, pod):
    """What a container of a pod has in its environment."""
    found = {"POD_NAME": pod}
    for variable in of.get("env", []):
        if variable["name"] == "POD_NAME":
            assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
        else:
            found[variable["name"]] = variable["value"].replace("$(POD_NAME)", pod)
    return found


def files(of, volumes, pod):
    """What a container of a pod sees of secrets and config maps: its path, and where it is from as (kind, name, key).

    A volume without a list of items has `*` as its key.
    """
    volumes = {volume["name"]: volume for volume in volumes}
    found = {}
    for mount in of["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        content = dict(contents(volume))
        path = mount.get("subPath") or mount.get("subPathExpr", "").replace("$(POD_NAME)", pod)
        if path:
            source = content.get(path) or (*content["*"][:2], path)
            found[mount["mountPath"]] = source
        else:
            found.update({f"{mount['mountPath']}/{name}": source for name, source in content.items()})
    return found


def contents(volume):
    """The files in a volume, each with where it is from."""
    if "configMap" in volume:
        yield "*", ("ConfigMap", volume["configMap"]["name"], "*")
    sources = volume.get("projected", {}).get("sources", [])
    for source in [volume] + sources:
        if "secret" not in source:
            continue
        secret = source["secret"]
        name = secret.get("secretName") or secret["name"]
        if "items" not in secret:
            yield "*", ("Secret", name, "*")
        for item in secret.get("items", []):
            yield item["path"], ("Secret", name, item["key"])


def configs(manifests, workload):
    """The configuration that each pod of a workload reads, by the pod's name."""
    found = {}
    for pod in pods(workload):
        path = environment(container(workload), pod)["CONCLAVE_CONFIG"]
        seen = files(container(workload), spec(workload)["volumes"], pod)
        directory, _, name = path.rpartition("/")
        kind, config_map, _ = seen[f"{directory}/*"]
        found[pod] = tomllib.loads(manifests[kind, config_map]["data"][name])
    return found
