"""A mail server on loopback that keeps what it gets, refuses it, or takes its time."""

import asyncio
import datetime
import email
import email.policy
import ipaddress
import ssl
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.server import free_ports, until


class Mail:
    """`security` is that of the configuration: starttls, tls or none. With a user name, whoever sends has to sign in."""

    def __init__(self, directory, security="none", username=None, password=None):
        self.directory = directory
        self.security = security
        self.credentials = (username, password) if username else None
        self.port = free_ports(1)[0]
        self.refusal = None
        self.delay = 0
        self.signed_in = 0
        self._messages = []
        self._lock = threading.Lock()
        self._controller = None
        directory.mkdir(parents=True, exist_ok=True)
        self._context = self._make_certificate() if security != "none" else None

    def start(self):
        options = {"hostname": "127.0.0.1", "port": self.port}
        if self.security == "tls":
            options["ssl_context"] = self._context
        if self.security == "starttls":
            options.update(tls_context=self._context, require_starttls=True)
        if self.credentials:
            options.update(authenticator=self._authenticate, auth_required=True, auth_require_tls=self.security == "starttls")
        self._controller = Controller(self, **options)
        self._controller.start()
        return self

    def stop(self):
        if self._controller:
            self._controller.stop()
            self._controller = None

    def configuration(self):
        """The section of Conclave's configuration that names this server."""
        lines = [
            "[email]",
            'host = "127.0.0.1"',
            f"port = {self.port}",
            f'security = "{self.security}"',
            'from = "Example <no-reply@example.com>"',
            "timeout_seconds = 5",
        ]
        if self._context:
            lines.append(f'ca = "{self.directory / "mail.pem"}"')
        if self.credentials:
            (self.directory / "password").write_text(self.credentials[1] + "\n")
            lines.append(f'username = "{self.credentials[0]}"')
            lines.append(f'password_file = "{self.directory / "password"}"')
        return "\n".join(lines) + "\n"

    def to(self, address):
        """The messages to an address, oldest first."""
        with self._lock:
            return [m for m in self._messages if m["To"] == address]

    def wait_for(self, address, seconds=20):
        return until(lambda: self.to(address), seconds, f"a message to {address}")[-1]

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        await asyncio.sleep(self.delay)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with self._lock:
            self._messages.append(message)
        return "250 OK"

    def _authenticate(self, server, session, envelope, mechanism, data):
        given = (data.login.decode(), data.password.decode())
        if given != self.credentials:
            return AuthResult(success=False, handled=False)
        self.signed_in += 1
        return AuthResult(success=True)

    def _make_certificate(self):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
        now = datetime.datetime.now(datetime.timezone.utc)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem, key_pem = self.directory / "mail.pem", self.directory / "mail-key.pem"
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key_pem)
        return context
