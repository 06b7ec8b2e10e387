"""A Prometheus that reads what runs here, where one is installed (Debian's package prometheus), and asks it."""

import json
import os
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import yaml
from chart import ROOT
from harness.server import free_ports
from netns import until

# .ci/deps unpacks one there.
_PATH = f"{os.environ['PATH']}:{ROOT / '.venv' / 'prometheus' / 'usr' / 'bin'}"
PROMETHEUS = os.environ.get("PROMETHEUS") or shutil.which("prometheus", path=_PATH)
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool", path=_PATH)
ALERTS = ROOT / "helm" / "conclave" / "files" / "alerts.yaml"
DASHBOARDS = ROOT / "helm" / "conclave" / "files" / "dashboards"
# As Grafana puts them in.
VARIABLES = {"$job": "conclave", "$instance": ".*", "$group": ".*", "$__rate_interval": "10s"}


def expressions():
    """Every query of the dashboards, with the dashboard and the panel that it is of."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield path.stem, panel, target


def filled(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def rules():
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return group["rules"]


class Prometheus:
    """Reads `targets`, host:port of management ports, once a second."""

    def __init__(self, directory, targets):
        self.directory = pathlib.Path(directory)
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(ALERTS)],
                    "scrape_configs": [{"job_name": "conclave", "static_configs": [{"targets": targets}]}],
                }
            )
        )
        self._command = [
            PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={self.directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip

    def __enter__(self):
        with (self.directory / "log").open("w") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.directory)
        until(lambda: self.get("/-/ready"), 30, "Prometheus is ready")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.endpoint}{path}?{query}", timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        except OSError:
            return None

    def query(self, expression):
        """The samples, as (labels, value)."""
        data = json.loads(self.get("/api/v1/query", query=expression))["data"]
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def query_range(self, expression, start, end, step):
        data = json.loads(self.get("/api/v1/query_range", query=expression, start=start, end=end, step=step))["data"]
        return [(series["metric"], [(at, float(value)) for at, value in series["values"]]) for series in data["result"]]

    def alerts(self):
        """The names of alerts that are pending or firing."""
        data = json.loads(self.get("/api/v1/rules"))["data"]["groups"]
        return {rule["name"] for group in data for rule in group["rules"] if rule["state"] != "inactive"}
