"""Clients that never pause, of a pool that is made for them: tests/e2e/cluster.py says how they judge."""

import copy

import boto3
import botocore.config
import cluster as e2e


class Pool(e2e.ClusterPool):
    """A pool, its app client, and a client for each of the endpoints."""

    def __init__(self, endpoints, account_created, key_printed, verify=None):
        """With what `conclave account create` and `conclave credentials create` have printed.

        `verify` is the authority of the endpoints' certificates.
        """
        assert account_created.strip().isdigit(), account_created
        self._key = self._read(key_printed)
        # who looks after the clients, and the clients
        self.cluster = self
        self.nodes = []
        self._clients = [self._client_of(endpoint, verify) for endpoint in endpoints]
        self.id = self.client().create_user_pool(PoolName="main")["UserPool"]["Id"]
        self.app_id = self.make_app()

    def _client_of(self, endpoint, verify=None):
        return boto3.client(
            "cognito-idp",
            endpoint_url=endpoint,
            region_name="us-east-1",
            verify=verify,
            aws_access_key_id=self._key["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._key["AWS_SECRET_ACCESS_KEY"],
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, parameter_validation=False
            ),
        )

    @staticmethod
    def _read(key_printed):
        return dict(line.split("=", 1) for line in key_printed.splitlines())

    def another(self):
        """A second pool with an app client of its own."""
        other = copy.copy(self)
        other.cluster = other
        other.id = self.client().create_user_pool(PoolName="another")["UserPool"]["Id"]
        other.app_id = other.make_app()
        return other

    def at(self, endpoints, key=None):
        """The same pool and app client elsewhere, with the same access key or the one that is given as it was printed."""
        there = copy.copy(self)
        if key is not None:
            there._key = self._read(key)
        there.cluster = there
        there._clients = [there._client_of(endpoint) for endpoint in endpoints]
        return there

    def client(self, number=1):
        return self._clients[number - 1]

    def load(self, threads=3, through=None):
        return e2e.Load(self, threads=threads, through=through or list(range(1, len(self._clients) + 1)))


def check(load, capsys, what):
    """No request has failed that was sent once more, and nothing that was acknowledged is lost."""
    with capsys.disabled():
        print(f"\n  {what}: {load.summary()}")
    assert not load.failures, load.failures[:5]
    load.check()
