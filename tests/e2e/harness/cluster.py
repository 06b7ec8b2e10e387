"""The nodes of `cluster.py` in their plainest form: on loopback, where Conclave needs no certificates, with one group of
pools, and with no account until a test asks for one."""

import cluster


class Cluster(cluster.Cluster):
    """Three nodes by default, the directory (group 0) and one group of pools (group 1)."""

    GROUP = 1

    def __init__(self, directory, size=3, settings=""):
        """`settings` are added to the nodes' configuration files: tables, in TOML."""
        super().__init__(directory, numbers=range(1, size + 1), pool_groups=1, tables=settings, secure=False)

    def credentials(self):
        return self.make_credentials()
