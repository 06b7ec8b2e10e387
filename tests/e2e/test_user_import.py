"""User imports: the job, its file, what becomes of the rows; passwords that come along as hashes; the death of the node
that works on a job.

Exceptions that the operations declare and that are not provoked here: NotAuthorizedException (a policy refuses with
AccessDeniedException before), OperationNotEnabledException (replicas of pools, which are not built),
InternalErrorException, TooManyRequestsException (quotas are off by default), PreconditionNotMetException of
CreateUserImportJob (nothing that is asked of a pool before a job is started), UserImportInProgressException of operations
other than the three that declare it.
"""

import os
import re
import socket
import time

import pytest
import requests
from cluster import NO_ANSWER, Cluster
from harness import srp
from harness.cognito import NEW_PASSWORD, Pool, as_dict, boto_client, newest_code, refused, unique
from harness.server import until

ROLE = "arn:aws:iam::123456789012:role/logs"
SSE = {"x-amz-server-side-encryption": "aws:kms"}
ENDED = {"Succeeded", "Failed", "Stopped", "Expired"}
# libxcrypt made this one, of:
HASHED = "correct horse – battery"
BCRYPT = "$2b$04$......................ZO0zc2eThVrmi74aYrAfbVNRl5rUhJW"
# Rows of the job whose node is killed.
KILLED_ROWS = int(os.environ.get("CONCLAVE_IMPORT_ROWS", "12000"))


@pytest.fixture(scope="module")
def importing(server, cognito):
    """A pool that verifies e-mail addresses, and imports users."""
    return Importing(server, cognito, AutoVerifiedAttributes=["email"])


class Importing(Pool):
    """A pool, and its import jobs."""

    def create_job(self, **settings):
        settings = {"JobName": unique("job"), "CloudWatchLogsRoleArn": ROLE, **settings}
        return self.cognito.create_user_import_job(UserPoolId=self.id, **settings)["UserImportJob"]

    def describe_job(self, job):
        return self.cognito.describe_user_import_job(UserPoolId=self.id, JobId=job["JobId"])["UserImportJob"]

    def start_job(self, job):
        return self.cognito.start_user_import_job(UserPoolId=self.id, JobId=job["JobId"])["UserImportJob"]

    def stop_job(self, job):
        return self.cognito.stop_user_import_job(UserPoolId=self.id, JobId=job["JobId"])["UserImportJob"]

    def upload(self, job, content):
        answer = requests.put(job["PreSignedUrl"], data=content, headers=SSE, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-amz-server-side-encryption"] == "aws:kms"

    def ended(self, job, seconds=60):
        """The job when it has ended."""

        def look():
            now = self.describe_job(job)
            return now if now["Status"] in ENDED else None

        return until(look, seconds, f"{job['JobId']} has ended")

    def imports(self, content, **settings):
        """Imports a file, to the end of the job."""
        job = self.create_job(**settings)
        self.upload(job, content)
        assert self.start_job(job)["Status"] == "Pending"
        return self.ended(job)

    def report(self, job):
        answer = requests.get(self.describe_job(job)["PreSignedUrl"], timeout=30)
        answer.raise_for_status()
        return answer.text.splitlines()


def counts(job):
    return [job["ImportedUsers"], job["SkippedUsers"], job["FailedUsers"]]


def table(*rows, columns="cognito:username,email,email_verified"):
    return "\n".join([columns, *rows, ""]).encode()


def test_the_header_is_cognitos(make_pool, cognito):
    pool = make_pool(Schema=[{"Name": "team", "AttributeDataType": "String"}])
    answer = cognito.get_csv_header(UserPoolId=pool.id)
    assert answer["UserPoolId"] == pool.id
    header = answer["CSVHeader"]
    assert header.pop(19) == "custom:team"
    # the developer guide's sample, in its order
    assert header == [
        *("name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile"),
        *("picture", "website", "email", "email_verified", "gender", "birthdate", "zoneinfo", "locale"),
        *("phone_number", "phone_number_verified", "address", "updated_at", "cognito:mfa_enabled", "cognito:username"),
    ]


def test_the_sample_of_the_developer_guide_is_imported(make_importing):
    """Its two users have a phone number and a birth date; both have to reset their passwords, and can."""
    pool = make_importing()
    sample = (
        "cognito:username,name,given_name,family_name,middle_name,nickname,preferred_username,profile,picture,website,"
        "email,email_verified,gender,birthdate,zoneinfo,locale,phone_number,phone_number_verified,address,updated_at,"
        "cognito:mfa_enabled\n"
        "John,,John,Doe,,,,,,,johndoe@example.com,TRUE,,02/01/1985,,,+12345550100,TRUE,123 Any Street,,FALSE\n"
        "Jane,,Jane,Roe,,,,,,,janeroe@example.com,TRUE,,01/01/1985,,,+12345550199,TRUE,100 Main Street,,FALSE\n"
    )
    created = pool.create_job()
    assert created["Status"] == "Created"
    assert created["UserPoolId"] == pool.id and created["CloudWatchLogsRoleArn"] == ROLE
    assert re.fullmatch(r"import-[0-9a-zA-Z]{10}", created["JobId"])
    assert created["PreSignedUrl"].startswith(f"{pool.server.endpoint}/")
    assert counts(created) == [0, 0, 0]
    assert not {"StartDate", "CompletionDate", "CompletionMessage"} & created.keys()
    pool.upload(created, sample)
    started = pool.start_job(created)
    assert started["Status"] == "Pending" and started["StartDate"] >= started["CreationDate"]
    job = pool.ended(created)
    assert (job["Status"], counts(job)) == ("Succeeded", [2, 0, 0])
    assert job["CompletionDate"] >= job["StartDate"]
    assert pool.report(job) == []
    john = pool.get("John")
    assert (john["UserStatus"], john["Enabled"]) == ("RESET_REQUIRED", True)
    found = as_dict(john["UserAttributes"])
    found.pop("sub")
    assert found == {
        "given_name": "John",
        "family_name": "Doe",
        "email": "johndoe@example.com",
        "email_verified": "true",
        "birthdate": "1985-02-01",
        "phone_number": "+12345550100",
        "phone_number_verified": "true",
        "address": "123 Any Street",
    }
    app = pool.app_client(PreventUserExistenceErrors="LEGACY")
    with refused("PasswordResetRequiredException", "Password reset required for the user"):
        app.password_sign_in("John", "anything")
    hiding = pool.app_client(PreventUserExistenceErrors="ENABLED")
    with refused("NotAuthorizedException", "Incorrect username or password."):
        hiding.password_sign_in("John", "anything")
    sent = pool.cognito.forgot_password(ClientId=app.id, Username="John")["CodeDeliveryDetails"]
    to = {"EMAIL": "johndoe@example.com", "SMS": "+12345550100"}[sent["DeliveryMedium"]]
    code = newest_code(pool.server, to)
    pool.cognito.confirm_forgot_password(
        ClientId=app.id, Username="John", ConfirmationCode=code, Password=NEW_PASSWORD
    )
    app.tokens("John", NEW_PASSWORD)


@pytest.fixture
def make_importing(server, cognito):
    def make(**settings):
        return Importing(server, cognito, **{"AutoVerifiedAttributes": ["email"], **settings})

    return make


def test_rows_that_are_not_users_are_told_by_line(importing):
    importing.user("taken")
    job = importing.imports(
        table(
            "ada,ada@example.com,true",
            "taken,taken@example.com,true",
            "two words,two@example.com,true",
            "",
            "unverified,unverified@example.com,false",
            "few,values",
            "alan,alan@example.com,TRUE",
            "ada,ada@example.com,true",
            "grace,grace@example.com,True",
            "barbara,barbara@example.com,True",
            "edsger,edsger@example.com,True",
        )
    )
    assert (job["Status"], counts(job)) == ("Succeeded", [5, 2, 3])
    assert importing.report(job) == [
        "[SKIPPED] Line Number 3 - The user already exists.",
        "[FAILED] Line Number 4 - The column cognito:username must not contain spaces or tabs.",
        "[FAILED] Line Number 6 - The User Record does not set any of the auto verified attributes to true. "
        "(Example: email_verified to true).",
        "[FAILED] Line Number 7 - The row has 2 values, and the header 3 columns.",
        "[SKIPPED] Line Number 9 - The user already exists.",
    ]
    # no data of users in the log
    assert "row of a user import" in importing.server.log()
    assert "ada@example.com" not in importing.server.log()


def test_a_job_in_which_most_rows_fail_has_failed(make_importing):
    pool = make_importing()
    job = pool.imports(table("ada,ada@example.com,true", "b,b@example.com,false", "c,c@example.com,false"))
    assert (job["Status"], counts(job)) == ("Failed", [1, 0, 2])
    assert job["CompletionMessage"] == "Too many users have failed or been skipped during the import."
    job = pool.imports(table("ada", columns="cognito:username,shoe_size"))
    assert (job["Status"], counts(job)) == ("Failed", [0, 0, 0])
    assert job["CompletionMessage"] == "Column 2 of the CSV header is not known."


def test_imported_hashes_sign_in_by_password_first_and_by_srp_then(make_importing):
    pool = make_importing()
    columns = "cognito:username,email,email_verified,password_hash"
    rows = [f"ada,ada@example.com,true,{BCRYPT}", "eve,eve@example.com,true,"]
    job = pool.imports(table(*rows, columns=columns), PasswordHashingAlgorithm="BCRYPT")
    assert (job["PasswordHashingAlgorithm"], counts(job)) == ("BCRYPT", [2, 0, 0])
    assert (pool.status("ada"), pool.status("eve")) == ("CONFIRMED", "RESET_REQUIRED")
    app = pool.app_client()
    assert srp_refusal(app, "ada", HASHED) == ("NotAuthorizedException", "Incorrect username or password.")
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.password_sign_in("ada", "wrong-Password-1")
    app.tokens("ada", HASHED)
    assert "AuthenticationResult" in srp_sign_in(app, "ada", HASHED)
    app.tokens("ada", HASHED)


def srp_sign_in(app, username, password):
    exchange = srp.Exchange(app.pool.id, password)
    challenge = app.initiate("USER_SRP_AUTH", USERNAME=username, SRP_A=exchange.srp_a)
    return app.respond("PASSWORD_VERIFIER", **exchange.responses(challenge["ChallengeParameters"]))


def srp_refusal(app, username, password):
    try:
        srp_sign_in(app, username, password)
    except app.cognito.exceptions.ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    raise AssertionError("SRP without a verifier")


def test_srp_before_the_first_sign_in_looks_like_a_wrong_password(make_importing):
    pool = make_importing()
    columns = "cognito:username,email,email_verified,conclave:password_hash"
    pool.imports(table(f"ada,ada@example.com,true,{BCRYPT}", columns=columns))
    app = pool.app_client(PreventUserExistenceErrors="ENABLED")
    expected = ("NotAuthorizedException", "Incorrect username or password.")
    assert srp_refusal(app, "ada", HASHED) == expected
    assert srp_refusal(app, "nobody", HASHED) == expected


def test_hashes_that_cost_too_much_or_are_none_fail_their_rows(make_importing):
    pool = make_importing()
    costly = BCRYPT.replace("$04$", "$13$")
    columns = "cognito:username,email,email_verified,password_hash,conclave:password_hash"
    rows = [
        f"a,a@example.com,true,{costly},",
        "b,b@example.com,true,secret,",
        "c,c@example.com,true,1024$8$1$30313233343536373839616263646566$07e726943efbc38660cfc3c8ada44542,",
        f"d,d@example.com,true,,{BCRYPT.replace('$04$', '$31$')}",
        f"e,e@example.com,true,,{costly}",
    ]
    job = pool.imports(table(*rows, columns=columns), PasswordHashingAlgorithm="BCRYPT")
    assert counts(job) == [1, 0, 4]
    assert pool.report(job) == [
        "[FAILED] Line Number 2 - The column password_hash has a hash with a parameter that is out of bounds.",
        "[FAILED] Line Number 3 - The column password_hash has a malformed hash.",
        "[FAILED] Line Number 4 - The column password_hash has a hash by another algorithm than the job's.",
        "[FAILED] Line Number 5 - The column conclave:password_hash has a hash with a parameter that is out of bounds.",
    ]


def test_what_has_to_be_met_before_a_job_starts(importing, make_pool, cognito):
    job = importing.create_job()
    with refused("PreconditionNotMetException", re.compile("The CSV file .* has not been uploaded.")):
        importing.start_job(job)
    with refused("PreconditionNotMetException"):
        importing.stop_job(job)
    importing.upload(job, table())
    importing.start_job(job)
    importing.ended(job)
    with refused("PreconditionNotMetException"):
        importing.start_job(job)
    with refused("PreconditionNotMetException"):
        importing.stop_job(job)
    plain = make_pool()
    made = cognito.create_user_import_job(UserPoolId=plain.id, JobName="j", CloudWatchLogsRoleArn=ROLE)
    made = made["UserImportJob"]
    requests.put(made["PreSignedUrl"], data=table("ada,a@example.com,true"), headers=SSE, timeout=30)
    with refused("PreconditionNotMetException", re.compile(".*at least one auto verified attribute.*")):
        cognito.start_user_import_job(UserPoolId=plain.id, JobId=made["JobId"])
    with refused("ResourceNotFoundException"):
        cognito.describe_user_import_job(UserPoolId=plain.id, JobId=job["JobId"])
    with refused("ResourceNotFoundException"):
        cognito.get_csv_header(UserPoolId="us-east-1_nothinghere")
    with refused("InvalidParameterException"):
        cognito.describe_user_import_job(UserPoolId=plain.id, JobId="job")


def test_jobs_are_listed_newest_first(make_importing, cognito):
    pool = make_importing()
    assert cognito.list_user_import_jobs(UserPoolId=pool.id, MaxResults=10)["UserImportJobs"] == []
    made = [pool.create_job()["JobId"] for _ in range(3)]
    first = cognito.list_user_import_jobs(UserPoolId=pool.id, MaxResults=2)
    rest = cognito.list_user_import_jobs(
        UserPoolId=pool.id, MaxResults=2, PaginationToken=first["PaginationToken"]
    )
    listed = [job["JobId"] for job in first["UserImportJobs"] + rest["UserImportJobs"]]
    assert sorted(listed) == sorted(made) and "PaginationToken" not in rest
    created = [job["CreationDate"] for job in first["UserImportJobs"] + rest["UserImportJobs"]]
    assert created == sorted(created, reverse=True)
    with refused("InvalidParameterException", "Invalid pagination token given."):
        cognito.list_user_import_jobs(UserPoolId=pool.id, MaxResults=2, PaginationToken="x")


def put(url, content, **headers):
    answer = requests.put(url, data=content, headers={**SSE, **headers}, timeout=60)
    return answer.status_code, re.sub(r".*<Code>(.*)</Code>.*", r"\1", answer.text, flags=re.DOTALL)


def test_uploads_are_refused_cleanly(make_importing):
    pool = make_importing()
    job = pool.create_job()
    url = job["PreSignedUrl"]
    assert put(url[:-1] + ("0" if url[-1] != "0" else "1"), b"x") == (403, "SignatureDoesNotMatch")
    assert put(url.replace(job["JobId"], "import-0000000000"), b"x") == (403, "SignatureDoesNotMatch")
    assert put(url.partition("?")[0], b"x") == (403, "AccessDenied")
    assert put(url, b"cognito:username\n\xff\n") == (400, "InvalidRequest")
    assert put(url, b"") == (400, "InvalidRequest")
    assert put(url, b"x" * 16_001) == (400, "InvalidRequest")
    assert put(url, b"a\n" * 500_002) == (400, "InvalidRequest")
    assert put(url, bytes(b"a" * 15_999 + b"\n") * 6_600) == (400, "EntityTooLarge")
    chunked = (bytes(b"a" * 15_999 + b"\n") * 100 for _ in range(70))
    assert put(url, chunked) == (400, "EntityTooLarge")
    # nothing of all that counts
    with refused("PreconditionNotMetException"):
        pool.start_job(job)
    pool.upload(job, table("ada,ada@example.com,true"))
    pool.upload(job, table("grace,grace@example.com,true"))
    assert put(url, b"\xff") == (400, "InvalidRequest")
    pool.start_job(job)
    assert put(url, table())[0] == 403
    assert counts(pool.ended(job)) == [1, 0, 0]
    assert pool.status("grace") == "RESET_REQUIRED"


def test_a_cut_upload_does_not_count(make_importing):
    pool = make_importing()
    job = pool.create_job()
    url = job["PreSignedUrl"]
    host, _, path = url.removeprefix("http://").partition("/")
    with socket.create_connection(host.rsplit(":", 1), timeout=10) as s:
        s.sendall(f"PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\n\r\n".encode())
        s.sendall(table("ada,ada@example.com,true"))
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
    with refused("PreconditionNotMetException"):
        pool.start_job(job)


def test_a_pool_waits_for_its_import_to_end_or_to_be_stopped(make_importing, cognito):
    pool = make_importing()
    other = make_importing()
    job = pool.create_job()
    pool.upload(job, table(*(f"u{n},u{n}@example.com,true" for n in range(30_000))))
    waiting = other.create_job()
    other.upload(waiting, table("ada,ada@example.com,true"))
    pool.start_job(job)
    until(lambda: pool.describe_job(job)["ImportedUsers"] > 0, 30, "users are imported")
    assert pool.describe_job(job)["Status"] == "InProgress"
    with refused("UserImportInProgressException"):
        cognito.update_user_pool(UserPoolId=pool.id)
    with refused("UserImportInProgressException"):
        cognito.delete_user_pool(UserPoolId=pool.id)
    with refused("UserImportInProgressException"):
        cognito.add_custom_attributes(
            UserPoolId=pool.id, CustomAttributes=[{"Name": "x", "AttributeDataType": "String"}]
        )
    with refused("PreconditionNotMetException", "Only one user import job can be active at a time per account."):
        other.start_job(waiting)
    assert pool.stop_job(job)["Status"] in ("Stopping", "Stopped")
    stopped = pool.ended(job)
    assert stopped["Status"] == "Stopped"
    assert stopped["CompletionMessage"] == "The Import Job was stopped by the developer."
    imported = stopped["ImportedUsers"]
    assert 0 < imported < 30_000
    pool.get(f"u{imported - 1}")
    with refused("UserNotFoundException"):
        pool.get(f"u{imported}")
    with refused("PreconditionNotMetException"):
        pool.start_job(job)
    other.start_job(waiting)
    assert counts(other.ended(waiting)) == [1, 0, 0]
    cognito.delete_user_pool(UserPoolId=pool.id)


def test_a_restart_in_the_middle_goes_on_where_it_was(start_server):
    server = start_server()
    pool = Importing(server, boto_client(server), AutoVerifiedAttributes=["email"])
    job = pool.create_job()
    rows = 8_000
    pool.upload(job, table(*(f"u{n},u{n}@example.com,true" for n in range(rows))))
    pool.start_job(job)
    until(lambda: pool.describe_job(job)["ImportedUsers"] > 0, 30, "users are imported")
    server.kill()
    server.start()
    now = pool.describe_job(job)
    assert now["Status"] == "InProgress" and now["ImportedUsers"] < rows
    assert counts(pool.ended(job, 120)) == [rows, 0, 0]


@pytest.mark.timeout(300)
def test_when_the_node_that_works_on_a_job_is_killed_another_goes_on(tmp_path, capsys):
    """Every user is imported once: the counts say so, and so do the users."""
    with Cluster(tmp_path / "cluster") as cluster:
        client = cluster.client(1)
        pool = Importing(cluster.node(1), client, AutoVerifiedAttributes=["email"])
        job = pool.create_job()
        # the pool's public address is a name that nobody resolves
        url = job["PreSignedUrl"].replace("http://login.test", cluster.node(2).endpoint)
        content = table(*(f"u{n},u{n}@example.com,true" for n in range(KILLED_ROWS)))
        assert requests.put(url, data=content, headers=SSE, timeout=120).status_code == 200
        sizes = cluster.log_sizes()
        pool.start_job(job)
        kills = []
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            now = describe_anywhere(cluster, pool, job)
            if now["Status"] in ENDED:
                break
            worker = next((n for n in cluster.nodes if n.running and works_on(n, sizes)), None)
            if worker and len(kills) < 2 and now["ImportedUsers"] > (1 + len(kills)) * KILLED_ROWS // 6:
                worker.kill()
                kills.append((worker.number, now["ImportedUsers"]))
                sizes = cluster.log_sizes()
                worker.start()
        with capsys.disabled():
            print(f"\n  killed (node, imported so far): {kills}; in the end {counts(now)}", flush=True)
        assert len(kills) == 2
        assert (now["Status"], counts(now)) == ("Succeeded", [KILLED_ROWS, 0, 0])
        assert count_users(client, pool) == KILLED_ROWS
        for n in (0, KILLED_ROWS // 2, KILLED_ROWS - 1):
            assert pool.status(f"u{n}") == "RESET_REQUIRED"


def works_on(node, sizes):
    return "works on a user import" in node.log_tail(sizes.get(node.number, 0))


def describe_anywhere(cluster, pool, job):
    """The job, by any gateway that answers."""

    def ask():
        for node in cluster.nodes:
            try:
                answer = cluster.client(node.number).describe_user_import_job(UserPoolId=pool.id, JobId=job["JobId"])
                return answer["UserImportJob"]
            except (*NO_ANSWER, cluster.client(node.number).exceptions.ClientError):
                continue
        return None

    return until(ask, 30, "some gateway answers")


def count_users(client, pool):
    seen, token = set(), None
    while True:
        more = {"PaginationToken": token} if token else {}
        page = client.list_users(UserPoolId=pool.id, Limit=60, **more)
        names = [user["Username"] for user in page["Users"]]
        assert seen.isdisjoint(names)
        seen.update(names)
        token = page.get("PaginationToken")
        if token is None:
            return len(seen)
