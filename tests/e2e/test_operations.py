"""The process itself: the management port, the command line, start and stop."""

import itertools
import re
import shutil
import subprocess

import pytest
import requests

from harness.server import ROOT, Server, binary


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_the_management_port_says_how_it_is(server, path):
    assert requests.get(server.management + path, timeout=10).status_code == 200


def test_metrics_are_prometheus_text(server, cognito):
    cognito.list_user_pools(MaxResults=1)
    text = server.metrics()
    assert re.search(r'^conclave_api_requests_total\{.*operation="ListUserPools".*\} [1-9]', text, re.MULTILINE)
    for name in ("conclave_api_request_duration_seconds_count", "conclave_build_info"):
        assert f"\n{name}{{" in text


def test_metrics_say_how_much_room_the_disk_has(server):
    text = server.metrics()
    free, size = (int(re.search(rf"^conclave_disk_{name}_bytes (\d+)$", text, re.M)[1]) for name in ("free", "size"))
    assert 0 < free <= size
    there = shutil.disk_usage(server.data)
    assert size == there.total and abs(free - there.free) < 1 << 30


def test_metrics_are_not_on_the_public_port(server):
    for path in ("/metrics", "/livez", "/readyz"):
        assert requests.get(server.endpoint + path, timeout=10).status_code >= 400


def test_a_labels_value_is_not_the_clients_choice(server):
    requests.post(
        f"{server.endpoint}/",
        data=b"{}",
        headers={"X-Amz-Target": "AWSCognitoIdentityProviderService.MadeUpForTheMetrics"},
        timeout=10,
    )
    assert "MadeUpForTheMetrics" not in server.metrics()


def test_it_stops_when_it_is_told_to(start_server):
    server = start_server()
    assert server.stop() == 0
    server.start()
    assert server.stop() == 0


def run(*arguments):
    return subprocess.run(
        [binary(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
    )


def test_two_processes_cannot_share_data(start_server, tmp_path):
    server = start_server()
    with pytest.raises(RuntimeError, match="before it was ready"):
        second = Server(tmp_path / "second")
        second.data = server.data
        second.start()


def test_a_port_that_is_taken_is_named(server, tmp_path):
    done = run("dev", "--listen", server.authority, "--management", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    assert done.returncode != 0
    assert server.authority in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--listen", "nowhere"], ["--no-such-option"], ["--public-url", "not a url"]])
def test_a_wrong_option_is_refused_before_anything_starts(arguments, tmp_path):
    options = {"--management": "127.0.0.1:0", "--data-dir": tmp_path / "data"}
    if arguments[0] != "--listen":
        options["--listen"] = "127.0.0.1:0"
    done = run("dev", *arguments, *itertools.chain(*options.items()))
    assert done.returncode != 0
    assert arguments[0].strip("-").split("-")[0] in done.stderr


def test_help_and_version_are_there():
    assert "dev" in run("--help").stdout
    for option in ("--listen", "--management", "--data-dir", "--public-url"):
        assert option in run("dev", "--help").stdout
    assert re.search(r"\d+\.\d+\.\d+", run("--version").stdout)


def test_serve_needs_a_configuration(tmp_path):
    done = run("serve", "--config", tmp_path / "missing.toml")
    assert done.returncode != 0
    assert "missing.toml" in done.stderr


def test_the_example_configuration_is_understood():
    """It names files that are not here, which is another error than a setting that is not known."""
    done = run("serve", "--config", ROOT / "deploy" / "conclave.toml")
    assert done.returncode != 0
    assert "/etc/conclave/pki/node-1.pem: No such file or directory" in done.stderr
