"""Writes sigv4-botocore.json: requests as botocore signs them, with a fixed clock and the documentation's example key.

    pip install botocore && python sigv4_botocore.py > sigv4-botocore.json
"""
import datetime
import hashlib
import json
import unittest.mock as mock
from urllib.parse import urlsplit

import botocore
import botocore.auth
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.config import Config

AK, SK = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime.datetime(2026, 1, 1, 12, 0, 0)
fixed = lambda remove_tzinfo=True: NOW if remove_tzinfo else NOW.replace(tzinfo=datetime.timezone.utc)
out = []

def record(name, req, region, service, token=None):
    u = urlsplit(req.url)
    raw = req.url.split("?", 1)
    path = raw[0].split("://", 1)[1]
    path = path[path.index("/"):] if "/" in path else "/"
    headers = []
    for k, v in req.headers.items():
        if k.lower() in ("user-agent", "amz-sdk-invocation-id", "amz-sdk-request"):
            continue  # not signed, and different at every run
        headers.append([k, v.decode() if isinstance(v, bytes) else str(v)])
    if not any(k.lower() == "host" for k, _ in headers):
        headers.append(["Host", u.netloc])
    body = req.body or b""
    if isinstance(body, str): body = body.encode()
    out.append(dict(name=name, access_key_id=AK, secret_access_key=SK, session_token=token, region=region, service=service,
        now="20260101T120000Z", method=req.method, path=path, query=raw[1] if len(raw) > 1 else "", headers=headers, body=body.decode()))

with mock.patch.object(botocore.auth, "get_current_datetime", fixed):
    def client(token=None, region="us-east-1", endpoint="http://127.0.0.1:9229"):
        s = botocore.session.Session()
        c = s.create_client("cognito-idp", region_name=region, endpoint_url=endpoint, aws_access_key_id=AK, aws_secret_access_key=SK,
            aws_session_token=token, config=Config(retries={"max_attempts": 0}))
        return c
    def call(name, op, kw, **c):
        cl = client(**c)
        class Stop(Exception): pass
        def hook(request, **_):
            record(name, request, c.get("region", "us-east-1"), "cognito-idp", c.get("token"))
            raise Stop
        cl.meta.events.register("before-send", hook)
        try: getattr(cl, op)(**kw)
        except Stop: pass
    call("list user pools", "list_user_pools", {"MaxResults": 10})
    call("admin get user with non-ascii name", "admin_get_user", {"UserPoolId": "us-east-1_EXAMPLE00", "Username": "zoë"})
    call("endpoint with base path", "list_user_pools", {"MaxResults": 1}, endpoint="https://id.example.com/conclave/api")
    call("endpoint on the default port", "list_user_pools", {"MaxResults": 1}, endpoint="https://id.example.com")
    call("other region", "describe_user_pool", {"UserPoolId": "eu-central-1_EXAMPLE00"}, region="eu-central-1")
    call("session token", "list_user_pools", {"MaxResults": 1}, token="example-session-token//==")
    call("tags", "tag_resource", {"ResourceArn": "arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_EXAMPLE00", "Tags": {"a b": "c+d"}})

    def raw(name, method, url, headers=None, body=b""):
        r = AWSRequest(method=method, url=url, headers=headers or {}, data=body)
        botocore.auth.SigV4Auth(Credentials(AK, SK), "cognito-idp", "us-east-1").add_auth(r)
        record(name, r.prepare(), "us-east-1", "cognito-idp")
    B = "https://example.amazonaws.com"
    raw("get vanilla", "GET", B + "/")
    raw("post vanilla", "POST", B + "/", {"Content-Type": "application/x-www-form-urlencoded"}, b"Param1=value1")
    raw("query order by name", "GET", B + "/?Param2=value2&Param1=value1")
    raw("query order by value", "GET", B + "/?Param1=value2&Param1=Value1")
    raw("query unreserved", "GET", B + "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789")
    raw("query escaped", "GET", B + "/?a%20b=c%2Bd&e=%E1%88%B4")
    raw("query without value", "GET", B + "/?flag=")
    raw("header value trimmed and folded", "GET", B + "/", {"My-Header1": "  value1   value2  ", "My-Header2": " \"a   b   c\" "})
    raw("header key sorted", "GET", B + "/", {"Zoo": "1", "alpha": "2", "My": "3"})
    raw("relative path", "GET", B + "/example/..")
    raw("relative path twice", "GET", B + "/example1/example2/../..")
    raw("dot path", "GET", B + "/./example")
    raw("slashes", "GET", B + "//example//")
    raw("escaped path", "GET", B + "/example%20space/")
    raw("unreserved path", "GET", B + "/-._~0123456789abcABC")
    raw("path with reserved characters", "GET", B + "/a:b@c;d=e,f")
    raw("content hash header", "POST", B + "/", {"X-Amz-Content-SHA256": hashlib.sha256(b"{}").hexdigest()}, b"{}")

print(json.dumps(dict(made_with="botocore " + botocore.__version__, cases=out), indent=1, ensure_ascii=False))
