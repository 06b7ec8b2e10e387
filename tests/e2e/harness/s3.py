"""A bucket on loopback that speaks as much of S3 as backups need: objects, uploads in parts, lists. Signatures are checked.

Names of operations and elements: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

import datetime
import hashlib
import http.server
import itertools
import threading
import urllib.parse
import xml.sax.saxutils

import botocore.auth
import botocore.awsrequest
import botocore.credentials

KEY, SECRET, REGION, BUCKET = "AKIDBACKUPS", "s3-secret", "us-east-1", "backups"


class Bucket:
    """`objects` by name. While `full`, nothing more is taken."""

    def __init__(self, host="127.0.0.1"):
        self.objects = {}
        self.uploads = {}
        self.full = False
        self.numbers = itertools.count(1)
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"bucket": self})
        self._server = http.server.ThreadingHTTPServer((host, 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://{host}:{self._server.server_port}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def _signature(method, url, headers):
    """What the signature of a request must be, by botocore."""
    request = botocore.awsrequest.AWSRequest(method=method, url=url, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(KEY, SECRET), "s3", REGION)
    auth.payload = lambda _: headers["x-amz-content-sha256"]
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(to_sign, request)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket = None

    def log_message(self, *_):
        pass

    def _begin(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parsed = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(parsed.query, keep_blank_values=True))
        bucket, _, self.name = urllib.parse.unquote(parsed.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            return self._fail(404, "NoSuchBucket")
        if not self._is_signed():
            return self._fail(403, "SignatureDoesNotMatch")
        return True

    def _is_signed(self):
        given = self.headers.get("Authorization", "")
        fields = dict(part.strip().split("=", 1) for part in given.partition(" ")[2].split(",") if "=" in part)
        signed = fields.get("SignedHeaders", "").split(";")
        if "host" not in signed or "x-amz-content-sha256" not in signed:
            return False
        said = self.headers["x-amz-content-sha256"]
        if said not in ("UNSIGNED-PAYLOAD", hashlib.sha256(self.body).hexdigest()):
            return False
        headers = {name: self.headers[name] for name in signed}
        url = f"http://{self.headers['Host']}{self.path}"
        return fields.get("Signature") == _signature(self.command, url, headers)

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(headers.pop("length", len(body))))
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status, code):
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())
        return False

    def _xml(self, text):
        self._answer(200, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), **{"Content-Type": "application/xml"})

    def do_PUT(self):
        if not self._begin():
            return
        if self.bucket.full:
            self._fail(403, "QuotaExceeded")
            return
        with self.bucket.lock:
            if "uploadId" in self.query:
                self.bucket.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
            else:
                self.bucket.objects[self.name] = self.body
        self._answer(200, ETag=f'"{hashlib.md5(self.body).hexdigest()}"')

    def do_POST(self):
        if not self._begin():
            return
        with self.bucket.lock:
            if "uploads" in self.query:
                upload = f"upload-{next(self.bucket.numbers)}"
                self.bucket.uploads[upload] = {}
                self._xml(
                    f"<InitiateMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{self.name}</Key>"
                    f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                )
            else:
                parts = self.bucket.uploads.pop(self.query["uploadId"])
                content = b"".join(parts[number] for number in sorted(parts))
                self.bucket.objects[self.name] = content
                self._xml(
                    f"<CompleteMultipartUploadResult><Bucket>{BUCKET}</Bucket><Key>{self.name}</Key>"
                    f'<ETag>"{hashlib.md5(content).hexdigest()}-{len(parts)}"</ETag></CompleteMultipartUploadResult>'
                )

    def do_GET(self):
        if not self._begin():
            return
        if "list-type" in self.query:
            prefix = self.query.get("prefix", "")
            with self.bucket.lock:
                found = {name: len(data) for name, data in self.bucket.objects.items() if name.startswith(prefix)}
            now = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            contents = "".join(
                f"<Contents><Key>{xml.sax.saxutils.escape(name)}</Key><LastModified>{now}</LastModified>"
                f'<ETag>"e"</ETag><Size>{size}</Size></Contents>'
                for name, size in sorted(found.items())
            )
            self._xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>")
            return
        content = self.bucket.objects.get(self.name)
        if content is None:
            self._fail(404, "NoSuchKey")
            return
        self._answer(200, content, ETag=f'"{hashlib.md5(content).hexdigest()}"')

    do_HEAD = do_GET

    def do_DELETE(self):
        if not self._begin():
            return
        with self.bucket.lock:
            if "uploadId" in self.query:
                self.bucket.uploads.pop(self.query["uploadId"], None)
            else:
                self.bucket.objects.pop(self.name, None)
        self._answer(204)
