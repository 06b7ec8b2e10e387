"""Everything that is rendered is what its kind allows, and holds no field that the kind does not know.

Kubernetes' own kinds are checked by the schemas in the package kubernetes-validate, those of others by the definitions
that they install, which are in their Go modules: where there is no Go, these are skipped.
"""

import functools
import json
import pathlib
import shutil
import subprocess

import jsonschema
import pytest
import yaml
from chart import EXAMPLES, changed, example, render

kubernetes_validate = pytest.importorskip("kubernetes_validate")

KUBERNETES = "1.34"
DEFINITIONS = {
    "gateway.networking.k8s.io/v1": ("sigs.k8s.io/gateway-api@v1.4.1", "config/crd/standard"),
    "cert-manager.io/v1": ("github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds"),
}
# Their definitions are in no Go module.
UNCHECKED = {"monitoring.coreos.com/v1"}
VALUES = [changed(example(path.stem.removesuffix("-values"))) for path in EXAMPLES]
VALUES.append(changed(example("grown"), admin__command=["status"]))


@functools.cache
def definitions(module, directory):
    """The schemas of a module's kinds, by kind and version; None where it cannot be had."""
    if shutil.which("go") is None:
        return None
    done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        return None
    found = {}
    for path in (pathlib.Path(json.loads(done.stdout)["Dir"]) / directory).glob("*.yaml"):
        for definition in yaml.safe_load_all(path.read_text()):
            if definition and definition["kind"] == "CustomResourceDefinition":
                spec = definition["spec"]
                for version in spec["versions"]:
                    key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                    found[key] = strict(version["schema"]["openAPIV3Schema"])
    return found


def strict(schema):
    """The schema, where an object has no fields that are not named."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


def check(manifest):
    """Whether there was a schema to check it by; what is wrong is raised."""
    version = manifest["apiVersion"]
    if version in UNCHECKED:
        return False
    if version not in DEFINITIONS:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return True
    found = definitions(*DEFINITIONS[version])
    if found is None:
        return False
    schema = dict(found[version, manifest["kind"]])
    schema["properties"] = {**schema["properties"], "metadata": {"type": "object"}}
    jsonschema.Draft202012Validator(schema).validate(manifest)
    return True


@pytest.mark.parametrize("values", VALUES, ids=[*[path.stem for path in EXAMPLES], "administration"])
def test_every_manifest_is_what_its_kind_allows(values):
    manifests = render(values)
    checked = {kind for (kind, _), manifest in manifests.items() if check(manifest)}
    assert {"StatefulSet", "Service", "ConfigMap", "Pod"} <= checked


def test_a_field_that_is_not_known_is_found():
    manifests = render(example("grown"))
    for kind in ("Deployment", "HTTPRoute"):
        (manifest,) = [m for (of, _), m in manifests.items() if of == kind]
        if not check(manifest):
            continue
        manifest["spec"]["replica"] = 3
        with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
            check(manifest)
