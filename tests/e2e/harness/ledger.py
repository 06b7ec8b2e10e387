"""A write load that keeps a book: what was acknowledged, and what was in flight when the server went away.

A request without an answer may have been done or not; everything else must be exactly as it was acknowledged.
"""

import dataclasses
import random
import threading
import time

import botocore.exceptions

from harness.cognito import NEW_PASSWORD, PASSWORD, Pool, as_dict

GONE = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
ABSENT = "ABSENT"
WORKERS = 4


@dataclasses.dataclass
class Acknowledgement:
    """When a request was sent and when its answer was there, by the wall clock."""

    operation: str
    begin: float
    end: float


@dataclasses.dataclass
class Account:
    """What one user must be. `maybe` is what it is if the request in flight was done."""

    username: str
    status: str = ABSENT
    sub: str | None = None
    password: str = PASSWORD
    maybe: dict | None = None

    def change(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)
        self.maybe = None


class Ledger:
    """The users of one pool, and the pools made beside it."""

    def __init__(self, server, cognito):
        self.cognito = cognito
        self.pool = Pool(server, cognito)
        self.app = self.pool.app_client()
        self.accounts = {}
        self.pools = {}
        self.whole_pools = set()
        self.leftovers = set()
        self.acknowledged = []
        self.refusals = []
        self.rounds = 0
        self._lock = threading.Lock()

    def load(self, workers=WORKERS, keep_going=False):
        """Starts a load that goes on until the server is gone, or until `stop()`. Returns it.

        With `keep_going` a worker without an answer leaves that user alone and goes on with the next.
        """
        self.rounds += 1
        return Load(self, self.rounds, workers, keep_going)

    def timed(self, operation, request, **arguments):
        begin = time.time()
        answer = request(**arguments)
        with self._lock:
            self.acknowledged.append(Acknowledgement(operation, begin, time.time()))
        return answer

    def refused(self, error):
        with self._lock:
            self.refusals.append((time.time(), error))

    def check(self, rng, sign_ins):
        """Everything is as it was acknowledged; of the users who can sign in, `sign_ins` do.

        Returns how many users were looked at.
        """
        listed = self.listed()
        strangers = listed.keys() - self.accounts.keys()
        assert not strangers, f"users whom nobody signed up: {strangers}"
        for account in self.accounts.values():
            found = listed.get(account.username)
            self.settle(account, found["UserStatus"] if found else ABSENT)
            if found:
                sub = as_dict(found["Attributes"])["sub"]
                assert account.sub in (None, sub), f"{account.username} has another sub than was acknowledged"
                account.sub = sub
        for account in self.recent(rng, sign_ins):
            self.sign_in(account)
        self.check_pools()
        return len(self.accounts)

    def recent(self, rng, count):
        """Users who can sign in: all whose password was being changed, and some others, the newest preferred."""
        confirmed = [a for a in self.accounts.values() if a.status == "CONFIRMED"]
        unsure = [a for a in confirmed if a.maybe]
        sure = [a for a in confirmed if not a.maybe][-4 * count :]
        return unsure + rng.sample(sure, min(count, len(sure)))

    def settle(self, account, status):
        """Compares the status, and learns whether the request in flight was done."""
        maybe = account.maybe or {}
        possible = {account.status, maybe.get("status", account.status)}
        assert status in possible, f"{account.username} is {status}, but was acknowledged as {account.status}"
        if status != account.status:
            account.change(**maybe)
        elif "status" in maybe:
            account.maybe = None

    def sign_in(self, account):
        """The acknowledged password works and no other; one that was in flight may have taken its place."""
        passwords = {account.password, (account.maybe or {}).get("password", account.password)}
        works = [p for p in (PASSWORD, NEW_PASSWORD) if self.accepts(account, p)]
        assert len(works) == 1, f"{account.username} can sign in with {len(works)} passwords"
        assert works[0] in passwords, f"{account.username} has another password than was acknowledged"
        account.change(password=works[0])

    def accepts(self, account, password):
        try:
            tokens = self.app.tokens(account.username, password)
        except self.cognito.exceptions.NotAuthorizedException:
            return False
        user = self.cognito.get_user(AccessToken=tokens["AccessToken"])
        assert as_dict(user["UserAttributes"])["sub"] == account.sub
        return True

    def listed(self):
        pages = self.cognito.get_paginator("list_users").paginate(UserPoolId=self.pool.id)
        return {user["Username"]: user for page in pages for user in page["Users"]}

    def check_pools(self):
        """Pools whose creation was acknowledged are there with their clients."""
        pages = self.cognito.get_paginator("list_user_pools").paginate(MaxResults=60)
        there = {pool["Id"] for page in pages for pool in page["UserPools"]}
        missing = self.pools.keys() - there
        assert not missing, f"pools that were acknowledged: {missing}"
        for pool_id in there - self.whole_pools:
            try:
                self.cognito.describe_user_pool(UserPoolId=pool_id)
            except self.cognito.exceptions.ResourceNotFoundException:
                # entered in the directory, and not made: DeleteUserPool clears it away
                assert pool_id not in self.pools, f"the pool {pool_id} was acknowledged"
                self.leftovers.add(pool_id)
                continue
            if client := self.pools.get(pool_id):
                self.cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client)
        self.whole_pools |= there


class Load:
    """Threads that write, each to users of its own."""

    def __init__(self, ledger, round_, workers, keep_going):
        self.ledger = ledger
        self.round = round_
        self.keep_going = keep_going
        self._stop = threading.Event()
        self._failure = None
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        self.wait()

    def wait(self):
        """Returns when every thread has seen that the server is gone. A wrong answer fails here."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request without an answer after 60 s"
        if self._failure:
            raise self._failure

    def _run(self, number):
        rng = random.Random(self.round * 1000 + number)
        for i in range(100_000):
            if self._stop.is_set():
                return
            try:
                self._one_user(f"user-{self.round}-{number}-{i}", rng)
                if number == 0 and i % 4 == 3:
                    self._one_pool(f"pool-{self.round}-{i}")
            except GONE:
                if not self.keep_going:
                    return
            except botocore.exceptions.ClientError as error:
                # the server may say that it cannot go on
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    self._failure = error
                self.ledger.refused(error)
                if self._failure or not self.keep_going:
                    return
            except Exception as error:
                self._failure = error
                return

    def _one_user(self, username, rng):
        ledger, cognito = self.ledger, self.ledger.cognito
        of_user = {"UserPoolId": ledger.pool.id, "Username": username}
        account = ledger.accounts[username] = Account(username)

        account.maybe = {"status": "UNCONFIRMED"}
        email = f"{username}@example.com"
        sub = ledger.timed("SignUp", ledger.app.sign_up, username=username, email=email)["UserSub"]
        account.change(status="UNCONFIRMED", sub=sub)

        account.maybe = {"status": "CONFIRMED"}
        ledger.timed("AdminConfirmSignUp", cognito.admin_confirm_sign_up, **of_user)
        account.change(status="CONFIRMED")

        what_next = rng.random()
        if what_next < 0.3:
            account.maybe = {"password": NEW_PASSWORD}
            change = {**of_user, "Password": NEW_PASSWORD, "Permanent": True}
            ledger.timed("AdminSetUserPassword", cognito.admin_set_user_password, **change)
            account.change(password=NEW_PASSWORD)
        elif what_next < 0.5:
            account.maybe = {"status": ABSENT}
            ledger.timed("AdminDeleteUser", cognito.admin_delete_user, **of_user)
            account.change(status=ABSENT)

    def _one_pool(self, name):
        ledger, cognito = self.ledger, self.ledger.cognito
        pool = ledger.timed("CreateUserPool", cognito.create_user_pool, PoolName=name)["UserPool"]
        ledger.pools[pool["Id"]] = None
        make = {"UserPoolId": pool["Id"], "ClientName": name}
        client = ledger.timed("CreateUserPoolClient", cognito.create_user_pool_client, **make)["UserPoolClient"]
        ledger.pools[pool["Id"]] = client["ClientId"]
