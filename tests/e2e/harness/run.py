"""Runs a command beside a fresh server, whose address is in CONCLAVE_ENDPOINT:

    python -m harness.run COMMAND...
"""

import os
import subprocess
import sys
import tempfile

from harness.server import Server


def main(command):
    with tempfile.TemporaryDirectory() as directory:
        server = Server(directory).start()
        try:
            code = subprocess.run(command, env={**os.environ, "CONCLAVE_ENDPOINT": server.endpoint}).returncode
            if code != 0:
                sys.stderr.write(server.log_tail())
            return code
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
