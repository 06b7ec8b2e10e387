"""Functions as AWS Lambda runs them, behind its invoke API: a pool names one by ARN, the server calls it here."""

import http.server
import itertools
import json
import threading
import urllib.parse

ACCOUNT = "000000000000"
PREFIX = "/2015-03-31/functions/"
_numbers = itertools.count(1)


class Thrown(Exception):
    """What a function throws: its message, as a runtime reports it."""


class Raw:
    """An answer that is no function's."""

    def __init__(self, status=200, body=b"", **headers):
        self.status, self.body, self.headers = status, body, headers


class Functions:
    """A server on loopback. `events` are those of each function, `requests` the headers and bodies of all."""

    def __init__(self):
        functions = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                functions.requests.append((self.path, self.headers, body))
                answer = functions.run(self.path, body)
                if self.headers["X-Amz-Invocation-Type"] == "Event" and answer.status == 200:
                    answer = Raw(202)  # what the function has made of it is told to nobody
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                try:
                    self.wfile.write(answer.body)
                except OSError:
                    pass  # nobody waits any more

            def log_message(self, *arguments):
                pass

        self.handlers, self.events, self.requests = {}, {}, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        for part in (define, create, verify):
            self.add(part, f"ask-{part.__name__}")

    def add(self, handler=None, name=None):
        """Deploys a function, which returns its event unless `handler` does something to it. Returns the ARN."""
        arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name or f'function-{next(_numbers)}'}"
        self.handlers[arn], self.events[arn] = handler or (lambda event: None), []
        return arn

    def run(self, path, body):
        arn = urllib.parse.unquote(path.removeprefix(PREFIX).removesuffix("/invocations"))
        if arn not in self.handlers:
            return Raw(404, b'{"Type":"User"}', x_amzn_ErrorType="ResourceNotFoundException:http://internal")
        event = json.loads(body)
        self.events[arn].append(json.loads(body))
        try:
            answer = self.handlers[arn](event)
        except Thrown as thrown:
            error = {"errorMessage": str(thrown), "errorType": "Error"}
            return Raw(200, json.dumps(error).encode(), X_Amz_Function_Error="Unhandled")
        if isinstance(answer, Raw):
            return answer
        return Raw(200, json.dumps(event if answer is None else answer).encode())

    def sources(self, arn):
        return [event["triggerSource"] for event in self.events[arn]]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


# A custom sign-in with one question, after the password where there is one.


def define(event):
    session, response = event["request"]["session"], event["response"]
    last = session[-1] if session else {"challengeName": None}
    if last["challengeName"] == "SRP_A":
        response["challengeName"] = "PASSWORD_VERIFIER"
    elif last["challengeName"] == "CUSTOM_CHALLENGE" and last["challengeResult"]:
        response["issueTokens"] = True
    elif sum(not result["challengeResult"] for result in session) >= 3:
        response["failAuthentication"] = True
    else:
        response["challengeName"] = "CUSTOM_CHALLENGE"


def create(event):
    event["response"]["publicChallengeParameters"] = {"question": "6 * 7"}
    event["response"]["privateChallengeParameters"] = {"answer": "42"}
    event["response"]["challengeMetadata"] = "ARITHMETIC"


def verify(event):
    request = event["request"]
    event["response"]["answerCorrect"] = request["challengeAnswer"] == request["privateChallengeParameters"]["answer"]


def asking():
    """LambdaConfig of that sign-in."""
    arn = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:ask-"
    return {
        "DefineAuthChallenge": f"{arn}define",
        "CreateAuthChallenge": f"{arn}create",
        "VerifyAuthChallengeResponse": f"{arn}verify",
    }
