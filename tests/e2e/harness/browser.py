"""Chromium without a window, driven over its debugging pipe: no driver, and no port that others could reach."""

import contextlib
import functools
import http.server
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time

ANSWER_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10


def chromium():
    """The path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One browser process with a profile of its own, and one page."""

    def __init__(self, directory):
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            f"--user-data-dir={directory}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # the browser reads commands from file 3 and writes answers to file 4
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, chromium(), *options],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._numbers = itertools.count(1)
        self._buffer = b""
        try:
            (page, *_) = (t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            attach = {"targetId": page["targetId"], "flatten": True}
            self._session = self.call("Target.attachToTarget", **attach)["sessionId"]
        except BaseException:
            self.stop()
            raise

    def call(self, method, session=None, **parameters):
        """Sends a command and returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while True:
            answer = self._message(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _message(self, deadline):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._read, 65_536)
            if not data:
                raise EOFError("the browser has gone")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def page(self, method, **parameters):
        return self.call(method, session=self._session, **parameters)

    def open(self, url):
        self.page("Page.navigate", url=url)
        loaded = "new Promise(done => document.readyState === 'complete' ? done(location.href) : onload = () => done(location.href))"
        deadline = time.monotonic() + ANSWER_SECONDS_MAX
        while self.evaluate(loaded) != url:
            assert time.monotonic() < deadline, f"{url} does not open"

    def evaluate(self, expression):
        """The value of an expression, or of the promise that it is."""
        answer = self.page(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS_MAX)
        os.close(self._write)
        os.close(self._read)


@contextlib.contextmanager
def site(directory):
    """Serves `directory` on localhost, and yields the origin."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
