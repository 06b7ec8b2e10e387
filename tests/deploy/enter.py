"""Becomes a process of a container: enter.py ROOT USER GROUP COMMAND...

It has the root directory, the user, and no way to more rights.
"""

import ctypes
import os
import signal
import sys
import warnings  # noqa: F401  execvpe asks for it, when it can no longer be found

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 1, 38, 24


def prctl(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(*arguments, *[0] * (5 - len(arguments))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {arguments}")


LAST = int(open("/proc/sys/kernel/cap_last_cap").read())
root, user, group, *command = sys.argv[1:]
os.chroot(root)
os.chdir("/")
for capability in range(LAST + 1):
    prctl(PR_CAPBSET_DROP, capability)
os.setgroups([int(group)])
os.setgid(int(group))
os.setuid(int(user))
prctl(PR_SET_NO_NEW_PRIVS, 1)
prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
os.execvpe(command[0], command, os.environ)
