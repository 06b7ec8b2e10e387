"""Fixtures: one server for most tests, fresh ones for those that kill it, pools and app clients."""

import pytest

from harness.cognito import Pool, boto_client
from harness.functions import Functions
from harness.server import Server, binary

_running = []


def pytest_sessionstart():
    if not binary().is_file():
        pytest.exit(f"there is no {binary()}: run `make build`", returncode=1)


def _track(server):
    _running.append(server)
    return server


@pytest.fixture(scope="session")
def functions():
    """Where pools' functions run."""
    functions = Functions()
    yield functions
    functions.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory, functions):
    """The server that tests share. Each makes its own pool, so none sees another's users."""
    options = ["--lambda", functions.url]
    server = _track(Server(tmp_path_factory.mktemp("conclave"), options=options).start())
    yield server
    server.stop()
    _running.remove(server)


@pytest.fixture
def start_server(tmp_path):
    """Starts servers of a test's own: `start_server(options=[...])`. They end with the test."""
    started = []

    def start(name="conclave", **settings):
        server = _track(Server(tmp_path / name, **settings).start())
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()
        _running.remove(server)


@pytest.fixture(scope="session")
def cognito(server):
    """boto3's client with the development credentials."""
    return boto_client(server)


@pytest.fixture
def make_pool(server, cognito):
    def make(**settings):
        return Pool(server, cognito, **settings)

    return make


@pytest.fixture(scope="module")
def pool(server, cognito):
    """A pool with default settings, shared by the tests of a module."""
    return Pool(server, cognito)


@pytest.fixture(scope="module")
def app(pool):
    """An app client with every flow and no secret."""
    return pool.app_client()


@pytest.fixture(scope="module")
def mail_pool(server, cognito):
    """A pool that verifies e-mail addresses at sign-up."""
    return Pool(server, cognito, AutoVerifiedAttributes=["email"])


@pytest.fixture(scope="module")
def mail_app(mail_pool):
    return mail_pool.app_client()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    item.stash[_LOG_SIZES] = {s: s.log_path.stat().st_size for s in _running if s.log_path.exists()}
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        before = item.stash.get(_LOG_SIZES, {})
        for server in _running:
            report.sections.append((f"log of {server.endpoint}", server.log_tail(before.get(server, 0))))
    return report


_LOG_SIZES = pytest.StashKey()
