"""SignUp, ConfirmSignUp, ResendConfirmationCode, AdminConfirmSignUp, and the development inbox."""

import re

import pytest

from harness import wire
from harness.cognito import PASSWORD, Pool, as_dict, attributes, inbox, newest_code, refused, unique, wrong

TAKEN = "User already exists"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def address():
    return unique("reader") + "@example.com"


def test_a_new_user_waits_for_confirmation(pool, app):
    username = unique("user")
    answer = app.sign_up(username, email="a@example.com")
    assert answer["UserConfirmed"] is False
    assert UUID.fullmatch(answer["UserSub"])
    assert "CodeDeliveryDetails" not in answer and "Session" not in answer
    got = pool.get(username)
    assert got["UserStatus"] == "UNCONFIRMED"
    assert got["Enabled"] is True
    assert got["UserCreateDate"] == got["UserLastModifiedDate"]
    assert as_dict(got["UserAttributes"]) == {
        "email": "a@example.com",
        "email_verified": "false",
        "sub": answer["UserSub"],
    }


def test_the_code_goes_to_the_address_and_confirms(mail_pool, mail_app, server):
    username, to = unique("user"), address()
    answer = mail_app.sign_up(username, email=to)
    assert answer["CodeDeliveryDetails"] == {
        "AttributeName": "email",
        "DeliveryMedium": "EMAIL",
        "Destination": "r***@e***",
    }
    message = inbox(server, to)[0]
    assert message["to"] == to
    assert message["channel"].lower() == "email"
    assert message["subject"] == "Your verification code"
    assert message["body"] == f"Your confirmation code is {message['code']}"
    assert re.fullmatch(r"[0-9]{6}", message["code"])
    assert message["sent_at"]
    confirmation = wire.call(
        server,
        "ConfirmSignUp",
        {"ClientId": mail_app.id, "Username": username, "ConfirmationCode": message["code"]},
    )
    assert (confirmation.status, confirmation.json) == (200, {})
    got = mail_pool.get(username)
    assert got["UserStatus"] == "CONFIRMED"
    assert as_dict(got["UserAttributes"])["email_verified"] == "true"
    assert mail_app.tokens(username)


def test_the_inbox_shows_one_address_newest_first(mail_app, server):
    username, to = unique("user"), address()
    mail_app.sign_up(username, email=to)
    mail_app.resend(username)
    mail_app.sign_up(email=address())
    messages = inbox(server, to)
    assert [m["to"] for m in messages] == [to, to]
    assert messages[0]["sent_at"] >= messages[1]["sent_at"]
    mail_app.confirm(username, messages[0]["code"])
    assert inbox(server, address()) == []


def test_s10_a_resent_code_replaces_the_first(mail_pool, mail_app, server):
    username, to = unique("user"), address()
    mail_app.sign_up(username, email=to)
    first = newest_code(server, to)
    answer = mail_app.resend(username)
    assert answer["CodeDeliveryDetails"] == {
        "AttributeName": "email",
        "DeliveryMedium": "EMAIL",
        "Destination": "r***@e***",
    }
    second = newest_code(server, to)
    if first != second:
        with refused("CodeMismatchException"):
            mail_app.confirm(username, first)
    mail_app.confirm(username, second)
    assert mail_pool.status(username) == "CONFIRMED"


def test_a_wrong_code_confirms_nothing(mail_pool, mail_app, server):
    username, to = unique("user"), address()
    mail_app.sign_up(username, email=to)
    with refused("CodeMismatchException", "Invalid verification code provided, please try again."):
        mail_app.confirm(username, wrong(newest_code(server, to)))
    assert mail_pool.status(username) == "UNCONFIRMED"


def test_a_code_of_another_user_confirms_nothing(mail_pool, mail_app, server):
    mine, other = unique("user"), unique("user")
    to_me, to_other = address(), address()
    mail_app.sign_up(mine, email=to_me)
    mail_app.sign_up(other, email=to_other)
    if newest_code(server, to_me) == newest_code(server, to_other):
        mail_app.resend(other)
    with refused("CodeMismatchException"):
        mail_app.confirm(mine, newest_code(server, to_other))


def test_a_code_is_used_once(mail_app, server):
    username, to = unique("user"), address()
    mail_app.sign_up(username, email=to)
    code = newest_code(server, to)
    mail_app.confirm(username, code)
    with refused("NotAuthorizedException", "User cannot be confirmed. Current status is CONFIRMED"):
        mail_app.confirm(username, code)


def test_s09_many_wrong_codes_lock_the_right_one_out(mail_pool, mail_app, server):
    username, to = unique("user"), address()
    mail_app.sign_up(username, email=to)
    code = newest_code(server, to)
    answers = set()
    for _ in range(20):
        with pytest.raises(mail_pool.cognito.exceptions.ClientError) as caught:
            mail_app.confirm(username, wrong(code))
        answers.add(caught.value.response["Error"]["Code"])
    assert answers <= {"CodeMismatchException", "LimitExceededException", "TooManyFailedAttemptsException"}
    with refused("LimitExceededException", "Attempt limit exceeded, please try after some time."):
        mail_app.confirm(username, code)
    assert mail_pool.status(username) == "UNCONFIRMED"


def test_resending_is_limited(mail_pool, mail_app):
    username = unique("user")
    mail_app.sign_up(username, email=address())
    with refused("LimitExceededException", "Attempt limit exceeded, please try after some time."):
        for _ in range(20):
            mail_app.resend(username)


def test_a_confirmed_user_gets_no_new_code(mail_pool, mail_app):
    username = mail_pool.user(email=address())
    with refused("InvalidParameterException", "User is already confirmed."):
        mail_app.resend(username)


def test_nothing_is_resent_without_verification(app):
    username = unique("user")
    app.sign_up(username, email="a@example.com")
    with refused("InvalidParameterException", "Cannot resend codes. Auto verification not turned on."):
        app.resend(username)


def test_a_sign_up_without_the_address_sends_nothing(mail_app, server):
    answer = mail_app.sign_up(name="No Address")
    assert "CodeDeliveryDetails" not in answer


@pytest.mark.parametrize("prevent", [None, "LEGACY", "ENABLED"])
def test_unknown_users_at_confirmation(mail_pool, prevent):
    app = mail_pool.app_client(**({"PreventUserExistenceErrors": prevent} if prevent else {}))
    if prevent == "ENABLED":
        with refused("ExpiredCodeException", "Invalid code provided, please request a code again."):
            app.confirm("nobody", "123456")
        details = app.resend("nobody")["CodeDeliveryDetails"]
        assert details["DeliveryMedium"] == "EMAIL" and "***" in details["Destination"]
    else:
        with refused("UserNotFoundException", "Username/client id combination not found."):
            app.confirm("nobody", "123456")
        with refused("UserNotFoundException", "Username/client id combination not found."):
            app.resend("nobody")


def test_s06_a_code_is_resent_to_nobody_as_to_somebody(mail_pool, server):
    """What is said of a name that nobody has is what would be said of a user, and the same whenever it is asked."""
    app = mail_pool.app_client(PreventUserExistenceErrors="ENABLED")
    username = unique("user")
    app.sign_up(username, email=address())
    mute = unique("user")
    app.sign_up(mute)
    real = app.resend(username)["CodeDeliveryDetails"]
    for name in ("nobody", mute):
        simulated = app.resend(name)["CodeDeliveryDetails"]
        assert simulated.keys() == real.keys()
        assert (simulated["AttributeName"], simulated["DeliveryMedium"]) == ("email", "EMAIL")
        assert simulated == app.resend(name)["CodeDeliveryDetails"]
    assert app.resend("bob@corp.example")["CodeDeliveryDetails"]["Destination"] == "b***@c***"
    assert inbox(server, "bob@corp.example") == []
    for name in ("nobody2", username):
        with refused("LimitExceededException", "Attempt limit exceeded, please try after some time."):
            for _ in range(6):
                app.resend(name)


def test_an_administrator_confirms_without_verifying(pool, app, server):
    username = unique("user")
    app.sign_up(username, email="a@example.com")
    answer = wire.call(server, "AdminConfirmSignUp", {"UserPoolId": pool.id, "Username": username})
    assert (answer.status, answer.json) == (200, {})
    got = pool.get(username)
    assert got["UserStatus"] == "CONFIRMED"
    assert as_dict(got["UserAttributes"])["email_verified"] == "false"
    with refused("NotAuthorizedException", "User cannot be confirmed. Current status is CONFIRMED"):
        pool.cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username=username)


def test_an_administrator_cannot_confirm_who_is_not_there(pool, cognito):
    with refused("UserNotFoundException", "User does not exist."):
        cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username="nobody")


def test_a_name_is_taken_once(app):
    username = unique("user")
    app.sign_up(username)
    with refused("UsernameExistsException", TAKEN):
        app.sign_up(username)


def test_names_differ_by_case_unless_the_pool_says_otherwise(make_pool):
    name = unique("Mixed")
    strict = make_pool().app_client()
    strict.sign_up(name)
    strict.sign_up(name.upper())
    lenient = make_pool(UsernameConfiguration={"CaseSensitive": False}).app_client()
    lenient.sign_up(name)
    with refused("UsernameExistsException", TAKEN):
        lenient.sign_up(name.upper())


WEAK = {
    "Aa1!": "Password not long enough",
    "Aa1!aa7": "Password not long enough",
    "aaaaaaa1!": "Password must have uppercase characters",
    "AAAAAAA1!": "Password must have lowercase characters",
    "Aaaaaaaa!": "Password must have numeric characters",
    "Aaaaaaa11": "Password must have symbol characters",
}


@pytest.mark.parametrize("password", WEAK)
def test_a_weak_password_is_refused_by_the_rule_it_breaks(app, password):
    with refused("InvalidPasswordException", f"Password did not conform with policy: {WEAK[password]}"):
        app.sign_up(password=password)


@pytest.mark.parametrize("password", [" Correct-horse-7", "Correct-horse-7 "])
def test_a_password_does_not_begin_or_end_with_space(app, password):
    text = re.compile(r"1 validation error detected: Value at 'password' .*pattern: .*")
    with refused("InvalidParameterException", text):
        app.sign_up(password=password)


def test_the_whole_password_counts(pool, app):
    long = "Aa1!" + "x" * 250 + "zz"
    username = unique("user")
    app.sign_up(username, password=long)
    pool.cognito.admin_confirm_sign_up(UserPoolId=pool.id, Username=username)
    with refused("NotAuthorizedException", "Incorrect username or password."):
        app.tokens(username, long[:-1] + "y")
    assert app.tokens(username, long)


@pytest.mark.parametrize("name", ["email_verified", "phone_number_verified", "sub"])
def test_s21_nobody_verifies_an_address_by_claiming_it(app, name):
    with refused("InvalidParameterException", f"Cannot modify the non-mutable attribute {name}"):
        app.sign_up(email="a@example.com", **{name: "true"})


def test_an_unknown_attribute_is_refused(app):
    with refused(
        "InvalidParameterException",
        "Attributes did not conform to the schema: Type for attribute {custom:role} could not be determined",
    ):
        app.sign_up(**{"custom:role": "admin"})


def test_attributes_that_the_client_may_not_write_are_refused(pool):
    app = pool.app_client(WriteAttributes=["name"])
    with refused("NotAuthorizedException", "A client attempted to write unauthorized attribute"):
        app.sign_up(email="a@example.com")


def test_a_required_attribute_has_to_be_there(make_pool):
    pool = make_pool(Schema=[{"Name": "family_name", "AttributeDataType": "String", "Required": True, "Mutable": True}])
    app = pool.app_client()
    with refused(
        "InvalidParameterException",
        "Attributes did not conform to the schema: name.familyName: The attribute name.familyName is required",
    ):
        app.sign_up()
    assert app.sign_up(family_name="Reader")


@pytest.mark.parametrize("email", ["not-an-address", "@example.com", "a b@example.com"])
def test_an_address_has_the_form_of_one(app, email):
    with refused("InvalidParameterException", "Invalid email address format."):
        app.sign_up(email=email)


def test_the_last_of_equal_attributes_counts(pool, app, cognito):
    username = unique("user")
    cognito.sign_up(
        ClientId=app.id,
        Username=username,
        Password=PASSWORD,
        UserAttributes=[{"Name": "name", "Value": "first"}, {"Name": "name", "Value": "last"}],
    )
    assert as_dict(pool.get(username)["UserAttributes"])["name"] == "last"


def test_a_pool_may_leave_sign_up_to_administrators(make_pool):
    app = make_pool(AdminCreateUserConfig={"AllowAdminCreateUserOnly": True}).app_client()
    with refused("NotAuthorizedException", "SignUp is not permitted for this user pool"):
        app.sign_up()


def test_the_secret_hash_is_asked_for_and_checked(pool, cognito):
    app = pool.app_client(secret=True)
    username = unique("user")
    with refused(
        "NotAuthorizedException", f"Client {app.id} is configured with secret but SECRET_HASH was not received"
    ):
        cognito.sign_up(ClientId=app.id, Username=username, Password=PASSWORD)
    with refused("NotAuthorizedException", f"Unable to verify secret hash for client {app.id}"):
        cognito.sign_up(ClientId=app.id, Username=username, Password=PASSWORD, **app.proof("somebody else"))
    assert app.sign_up(username)


def test_a_missing_client_is_named(cognito):
    missing = "0123456789abcdefghijklmnop"
    with refused("ResourceNotFoundException", f"User pool client {missing} does not exist."):
        cognito.sign_up(ClientId=missing, Username="somebody", Password=PASSWORD)


@pytest.fixture(scope="module")
def by_mail(server, cognito):
    return Pool(server, cognito, UsernameAttributes=["email"], AutoVerifiedAttributes=["email"])


@pytest.fixture(scope="module")
def by_mail_app(by_mail):
    return by_mail.app_client()


@pytest.fixture(scope="module")
def aliased(server, cognito):
    return Pool(server, cognito, AliasAttributes=["email"], AutoVerifiedAttributes=["email"])


@pytest.fixture(scope="module")
def aliased_app(aliased):
    return aliased.app_client()


class TestAddressesAsNames:
    """A pool with UsernameAttributes: people sign up with their address, and the name is the service's."""

    def test_the_name_is_the_sub_and_the_address_an_attribute(self, by_mail, by_mail_app, server):
        to = address()
        sub = by_mail_app.sign_up(to)["UserSub"]
        by_mail_app.confirm(to, newest_code(server, to))
        got = by_mail.get(to)
        assert got["Username"] == sub
        assert as_dict(got["UserAttributes"]) == {"email": to, "email_verified": "true", "sub": sub}
        assert by_mail_app.tokens(to)

    def test_an_address_is_taken_once(self, by_mail_app):
        to = address()
        by_mail_app.sign_up(to)
        with refused("UsernameExistsException"):
            by_mail_app.sign_up(to)

    def test_a_name_that_is_no_address_is_refused(self, by_mail_app):
        with refused("InvalidParameterException", "Username should be an email."):
            by_mail_app.sign_up("reader")


class TestAddressesAsAliases:
    """A pool with AliasAttributes: people sign in with their verified address too."""

    def test_an_address_signs_in_once_it_is_verified(self, aliased, aliased_app, server):
        username, to = unique("user"), address()
        aliased_app.sign_up(username, email=to)
        with refused("UserNotFoundException"):
            aliased_app.password_sign_in(to)
        aliased_app.confirm(username, newest_code(server, to))
        assert aliased_app.tokens(to)
        assert aliased.get(to)["Username"] == username

    def test_s07_a_second_account_cannot_take_a_verified_address(self, aliased, aliased_app, server):
        to, first, second = address(), unique("user"), unique("user")
        aliased_app.sign_up(first, email=to)
        aliased_app.confirm(first, newest_code(server, to))
        aliased_app.sign_up(second, email=to)
        code = newest_code(server, to)
        with refused("AliasExistsException", "An account with the given email already exists."):
            aliased_app.confirm(second, code)
        assert aliased.status(second) == "UNCONFIRMED"

    def test_s27_the_proof_of_an_address_moves_it_when_asked(self, aliased, aliased_app, server):
        to, first, second = address(), unique("user"), unique("user")
        aliased_app.sign_up(first, email=to)
        aliased_app.confirm(first, newest_code(server, to))
        aliased_app.sign_up(second, email=to)
        code = newest_code(server, to)
        with refused("CodeMismatchException"):
            aliased_app.confirm(second, wrong(code), ForceAliasCreation=True)
        aliased_app.confirm(second, code, ForceAliasCreation=True)
        assert aliased.get(to)["Username"] == second
        assert as_dict(aliased.get(first)["UserAttributes"])["email_verified"] == "false"

    def test_a_name_that_looks_like_an_address_is_refused(self, aliased_app):
        with refused(
            "InvalidParameterException",
            "Username cannot be of email format, since user pool is configured for email alias.",
        ):
            aliased_app.sign_up(address())


def test_a_member_that_the_service_does_not_know_is_ignored(server, pool, app):
    username = unique("user")
    body = {
        "ClientId": app.id,
        "Username": username,
        "Password": PASSWORD,
        "UserAttributes": attributes({"name": "N"}),
        "FromTheFuture": {"deep": [1, 2, None]},
    }
    assert wire.call(server, "SignUp", body).status == 200
    assert pool.status(username) == "UNCONFIRMED"
