"""As much of AWS KMS as a custom sender takes: GenerateDataKey for the server, Decrypt for the functions. Data keys are bound to
their encryption context, and requests have to be signed."""

import base64
import http.server
import json
import os
import threading

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCOUNT = "000000000000"


class Refusal(Exception):
    pass


class Kms:
    """A server on loopback. `requests` are (operation, headers, body) of all; a key in `refusals` is refused by that name."""

    def __init__(self, key_id="test", secret="test"):
        kms = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["X-Amz-Target"].removeprefix("TrentService.")
                kms.requests.append((operation, self.headers, json.loads(body)))
                try:
                    kms.verify(self.path, self.headers, body)
                    status, answer = 200, getattr(kms, operation)(json.loads(body))
                except Refusal as refusal:
                    status, answer = 400, {"__type": str(refusal), "message": "no"}
                answer = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        self.credentials = botocore.credentials.Credentials(key_id, secret)
        self.keys, self.requests, self.refusals = {}, [], {}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def create_key(self, name):
        arn = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{name}"
        self.keys[arn] = AESGCM.generate_key(256)
        return arn

    def client(self):
        """What functions use it by."""
        return boto3.client(
            "kms",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
        )

    def verify(self, path, headers, body):
        """The signature, made again from the headers that it says it is of."""
        authorization = headers["Authorization"]
        scope = authorization.split("Credential=")[1].split(",")[0].split("/")
        names = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
        if not {"host", "x-amz-date", "x-amz-target"} <= set(names):
            raise Refusal("IncompleteSignatureException")
        request = botocore.awsrequest.AWSRequest(
            "POST", f"http://{headers['Host']}{path}", data=body, headers={name: headers[name] for name in names}
        )
        request.context["timestamp"] = headers["X-Amz-Date"]
        signer = botocore.auth.SigV4Auth(self.credentials, scope[3], scope[2])
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        if scope[0] != self.credentials.access_key or not authorization.endswith(f"Signature={signature}"):
            raise Refusal("InvalidSignatureException")

    def key(self, arn):
        if arn in self.refusals:
            raise Refusal(self.refusals[arn])
        if arn not in self.keys:
            raise Refusal("NotFoundException")
        return AESGCM(self.keys[arn])

    def GenerateDataKey(self, request):
        assert request["KeySpec"] == "AES_256"
        plaintext, iv = os.urandom(32), os.urandom(12)
        sealed = self.key(request["KeyId"]).encrypt(iv, plaintext, context(request))
        blob = json.dumps([request["KeyId"], base64.b64encode(iv + sealed).decode()]).encode()
        return {
            "CiphertextBlob": base64.b64encode(blob).decode(),
            "Plaintext": base64.b64encode(plaintext).decode(),
            "KeyId": request["KeyId"],
        }

    def Decrypt(self, request):
        arn, sealed = json.loads(base64.b64decode(request["CiphertextBlob"]))
        sealed = base64.b64decode(sealed)
        try:
            plaintext = self.key(arn).decrypt(sealed[:12], sealed[12:], context(request))
        except InvalidTag:
            raise Refusal("InvalidCiphertextException") from None
        return {"Plaintext": base64.b64encode(plaintext).decode(), "KeyId": arn}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def context(request):
    return json.dumps(request.get("EncryptionContext", {}), sort_keys=True).encode()
