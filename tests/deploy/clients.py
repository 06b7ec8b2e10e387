"""Clients that never pause, of a pool that is made for them: tests/e2e/cluster.py says how they judge."""

import boto3
import botocore.config
import cluster as e2e


class Pool(e2e.ClusterPool):
    """A pool, its app client, and a client for each of the endpoints."""

    def __init__(self, endpoints, account_created, key_printed):
        """With what `conclave account create` and `conclave credentials create` have printed."""
        assert account_created.strip().isdigit(), account_created
        key = dict(line.split("=", 1) for line in key_printed.splitlines())
        # who looks after the clients, and the clients
        self.cluster = self
        self.nodes = []
        self._clients = [
            boto3.client(
                "cognito-idp",
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id=key["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=key["AWS_SECRET_ACCESS_KEY"],
                config=botocore.config.Config(
                    retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, parameter_validation=False
                ),
            )
            for endpoint in endpoints
        ]
        self.id = self.client().create_user_pool(PoolName="main")["UserPool"]["Id"]
        self.app_id = self.make_app()

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
