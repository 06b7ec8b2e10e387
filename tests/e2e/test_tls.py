"""TLS: `conclave dev --tls` with unmodified clients, and certificates that are replaced while a cluster serves."""

import datetime
import itertools
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess

import grpc
import jwt
import pytest
import requests
from cluster import NODES, Cluster, ClusterPool, Load, issue, make_authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from harness.cognito import PASSWORD, Pool, boto_client
from harness.grpc_reflection import Client
from harness.server import Server, until


class Development:
    """A `conclave dev --tls`, its authority, and boto3 with it."""

    def __init__(self, server):
        self.server = server
        self.authority = server.data / "tls" / "ca.pem"
        self.cognito = boto_client(server, verify=str(self.authority))


@pytest.fixture(scope="module")
def development(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("tls"), options=["--tls"])
    yield Development(server.start())
    server.stop()


def test_dev_says_how_to_trust_its_authority(development):
    log = development.server.log()
    for text in (f"endpoint     {development.server.endpoint}", "AWS_CA_BUNDLE=", "NODE_EXTRA_CA_CERTS=", "curl --cacert "):
        assert text in log, log
    assert f"AWS_CA_BUNDLE={development.authority.resolve()}" in log
    for name in ("ca-key.pem", "server-key.pem"):
        assert development.authority.with_name(name).stat().st_mode & 0o777 == 0o600


def test_boto3_signs_a_user_in_and_the_issuer_is_https(development):
    pool = Pool(development.server, development.cognito)
    app = pool.app_client()
    username = pool.user()
    answer = development.cognito.initiate_auth(
        ClientId=app.id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD},
    )
    token = answer["AuthenticationResult"]["IdToken"]
    issuer = f"{development.server.endpoint}/{pool.id}"
    trusting = ssl.create_default_context(cafile=str(development.authority))
    keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json", ssl_context=trusting)
    claims = jwt.decode(
        token, keys.get_signing_key_from_jwt(token).key, algorithms=["RS256"], audience=app.id, issuer=issuer
    )
    assert claims["cognito:username"] == username
    configuration = requests.get(f"{issuer}/.well-known/openid-configuration", verify=str(development.authority))
    assert configuration.json()["issuer"] == issuer


def test_who_does_not_trust_the_authority_does_not_speak_to_it(development):
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(development.server.endpoint, timeout=10)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_certificate_is_good_for_the_names_of_this_machine(development, host):
    """As strict verifiers see it (RFC 5280): with the identifiers of keys, and the authority marked as one."""
    context = ssl.create_default_context(cafile=str(development.authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    address = ("127.0.0.1", int(development.server.authority.rsplit(":")[1]))
    with socket.create_connection(address) as plain, context.wrap_socket(plain, server_hostname=host.strip("[]")) as s:
        assert s.version() == "TLSv1.3"


@pytest.mark.parametrize("version, options", [("2", ["--http2"]), ("1.1", ["--http1.1"])])
def test_curl_chooses_the_version_of_http(development, version, options):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    command = [curl, "-sS", *options, "--cacert", development.authority, "-w", "%{http_version} %{http_code}"]
    done = subprocess.run([*command, development.server.endpoint], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{version} 200"), done.stdout


def test_plain_http_is_told_to_use_https(development):
    answer = requests.post(development.server.endpoint.replace("https:", "http:"), data=b"{}" * 1_000, timeout=10)
    assert (answer.status_code, answer.text) == (400, "This port speaks TLS: use https://\n")
    channel = grpc.insecure_channel(development.server.authority)
    with channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_noise_and_silent_connections_do_not_stop_the_port(development):
    address = ("127.0.0.1", int(development.server.authority.rsplit(":")[1]))
    silent = [socket.create_connection(address) for _ in range(50)]
    try:
        for i in range(50):
            with socket.create_connection(address) as s:
                # the begin of a handshake, and then none
                s.sendall(b"\x16\x03\x01\x02\x00" + os.urandom(64) if i % 2 else os.urandom(64))
        assert requests.get(development.server.endpoint, verify=str(development.authority), timeout=10).ok
    finally:
        for s in silent:
            s.close()


def other_address():
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            # nothing is sent
            s.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return s.getsockname()[0]


def test_signed_grpc_works_from_elsewhere(start_server):
    """Its messages are not signed, so without TLS it is taken from loopback only."""
    address = other_address()
    if address is None:
        pytest.skip("this machine has loopback only")
    for options, taken in ((["--tls"], True), ([], False)):
        name = "with" if taken else "without"
        server = start_server(name, options=[*options, "--public-url", f"http{'s' * taken}://{address}"], host=address)
        certificates = (server.data / "tls" / "ca.pem").read_bytes() if taken else None
        client = Client(server.authority, certificates)
        try:
            if taken:
                assert client.call("CreateUserPool", {"pool_name": "p"}, signed=True)["user_pool"]["id"]
                continue
            with pytest.raises(grpc.RpcError) as refused:
                client.call("CreateUserPool", {"pool_name": "p"}, signed=True)
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        finally:
            client.close()


def test_the_authority_is_made_once_and_the_certificate_follows_the_public_url(start_server):
    server = start_server(options=["--tls"])
    authority = (server.data / "tls" / "ca.pem").read_bytes()
    server.stop()
    server.options = ["--tls", "--public-url", "https://id.test:8443"]
    server.start()
    assert (server.data / "tls" / "ca.pem").read_bytes() == authority
    served = x509.load_pem_x509_certificate((server.data / "tls" / "server.pem").read_bytes())
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "id.test" in names.get_values_for_type(x509.DNSName)
    server.stop()
    server.options = ["--tls", "--public-url", "http://id.test"]
    with pytest.raises(RuntimeError, match="--public-url begins with http://, and --tls serves https"):
        server.start()


# a cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    directory = tmp_path_factory.mktemp("rotation")
    settings = f'''certificate_check_s = 1
public_tls = {{ certificate = "{directory}/public.pem", key = "{directory}/public-key.pem" }}'''
    make_authority(directory / "public-authority", "public")
    public_certificate(directory)
    with Cluster(directory, settings, public_authority=directory / "public-authority" / "ca.pem") as cluster:
        yield cluster
        print(cluster.logs(dict.fromkeys(NODES, 0)))


_numbers = itertools.count()


def public_certificate(directory):
    """A new certificate for the public ports."""
    name = f"public-{next(_numbers)}"
    made = issue(directory / "public-authority", 0, name, "public")
    replace(made["key"], directory / "public-key.pem")
    replace(made["certificate"], directory / "public.pem")
    return x509.load_pem_x509_certificate(made["certificate"].read_bytes())


def replace(source, target):
    """As an operator should: never half a file."""
    draft = target.with_suffix(".draft")
    shutil.copy(source, draft)
    draft.rename(target)


def reading(node, name, labels):
    found = re.search(rf"^conclave_{name}{{{re.escape(labels)}}} ([0-9.]+)", node.metrics(), re.MULTILINE)
    return int(float(found.group(1)))


def reloads(node, port="internal", name="certificate_reloads_total"):
    return reading(node, name, f'port="{port}"')


def served_certificate(node):
    host, port = node.authority.split(":")
    return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode())


def take_over(cluster, change, hangup):
    """Changes files, and waits until every node has taken them over: at once after SIGHUP, else at its next look."""
    before = {node: reloads(node) for node in cluster.nodes}
    change()
    for node in cluster.nodes:
        if hangup:
            node.process.send_signal(signal.SIGHUP)
        until(lambda: reloads(node) > before[node], 10, f"node {node.number} has the new files")


def test_every_internal_certificate_and_the_authority_are_replaced_under_load(cluster, tmp_path):
    """With an overlap, in the order of an operator: trust both, exchange certificates, trust the new one alone."""
    pool = ClusterPool(cluster)
    bundle = cluster.pki / "ca.pem"
    old_bundle, old_tls = bundle.read_text(), {}
    make_authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(old_bundle + (tmp_path / "ca.pem").read_text())
    for n in NODES:
        issue(tmp_path, n, f"node-{n}")
        for name in (f"node-{n}.pem", f"node-{n}-key.pem"):
            shutil.copy(cluster.pki / name, tmp_path / f"old-{name}")
        old_tls[n] = {"certificate": tmp_path / f"old-node-{n}.pem", "key": tmp_path / f"old-node-{n}-key.pem"}

    def certificates():
        for n in NODES:
            # key first: a node that looks between the two keeps the pair that it has
            replace(tmp_path / f"node-{n}-key.pem", cluster.pki / f"node-{n}-key.pem")
            replace(tmp_path / f"node-{n}.pem", cluster.pki / f"node-{n}.pem")

    with Load(pool, threads=3) as load:
        until(lambda: len(load.acks) > 20, 20, "the load runs")
        take_over(cluster, lambda: replace(both, bundle), hangup=True)
        take_over(cluster, certificates, hangup=False)
        take_over(cluster, lambda: replace(tmp_path / "ca.pem", bundle), hangup=True)
        last = len(load.acks)
        until(lambda: len(load.acks) > last + 40, 20, "the load goes on")
    assert not load.failures, load.failures
    load.check()

    # the old ones open nothing any more
    node = cluster.node(1)
    assert ask_internal(node, cluster.node(2).tls) == grpc.StatusCode.FAILED_PRECONDITION
    with_old = {**old_tls[2], "ca": bundle}
    assert ask_internal(node, with_old) == grpc.StatusCode.UNAVAILABLE
    cluster.client(2).admin_create_user(UserPoolId=pool.id, Username="after", MessageAction="SUPPRESS")
    for node in cluster.nodes:
        expiry = reading(node, "certificate_expiry_timestamp_seconds", 'certificate="internal"')
        assert expiry == end(x509.load_pem_x509_certificate(node.tls["certificate"].read_bytes()))


def end(certificate):
    return int(certificate.not_valid_after_utc.timestamp())


def ask_internal(node, tls, seconds=5):
    """What a call of the store's service answers; an empty message is refused once the certificate is not."""
    read = lambda name: tls[name].read_bytes()  # noqa: E731
    credentials = grpc.ssl_channel_credentials(read("ca"), read("key"), read("certificate"))
    with grpc.secure_channel(f"{node.internal[0]}:{node.internal[1]}", credentials) as channel:
        try:
            channel.unary_unary("/conclave.store.v1.Shard/Groups")(b"", timeout=seconds)
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


def test_an_expired_certificate_of_our_authority_is_refused(cluster, tmp_path):
    make_authority(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text((cluster.pki / "ca.pem").read_text() + (tmp_path / "ca.pem").read_text())
    take_over(cluster, lambda: replace(both, cluster.pki / "ca.pem"), hangup=True)
    node_2 = issue(tmp_path, 2, "node-2")
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    key = serialization.load_pem_private_key((tmp_path / "ca-key.pem").read_bytes(), None)
    good = x509.load_pem_x509_certificate(node_2["certificate"].read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(good.subject)
        .issuer_name(authority.subject)
        .public_key(good.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
    )
    for extension in good.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    answers = {}
    for name, left in (("good", 60), ("expired", -60)):
        made = builder.not_valid_after(now + datetime.timedelta(seconds=left)).sign(key, hashes.SHA256())
        path = tmp_path / f"made-{name}.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        answers[name] = ask_internal(cluster.node(1), {**node_2, "certificate": path, "ca": cluster.pki / "ca.pem"})
    assert answers == {"good": grpc.StatusCode.FAILED_PRECONDITION, "expired": grpc.StatusCode.UNAVAILABLE}


def test_the_public_certificate_is_replaced_and_a_bad_one_is_reported(cluster):
    node = cluster.node(1)
    new = public_certificate(cluster.directory)
    until(lambda: all(served_certificate(n) == new for n in cluster.nodes), 10, "the new certificate is served")
    assert reading(node, "certificate_expiry_timestamp_seconds", 'certificate="public"') == end(new)
    (cluster.directory / "public.pem").write_text("nonsense")
    refused = "certificate_reloads_refused_total"
    until(lambda: reloads(node, "public", refused) > 0, 10, "the bad file is noticed")
    assert "new certificates cannot be used, the old ones stay" in node.log()
    assert served_certificate(node) == new
    assert "UserPools" in cluster.client(1).list_user_pools(MaxResults=1)
    public_certificate(cluster.directory)
