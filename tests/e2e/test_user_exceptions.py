"""Every exception that the API model documents for the operations on users and groups: provoked here, or not, and why.

The lists come from the model in botocore, so an exception that it gains is missed here until somebody has looked at it.
"""

import botocore.session
import pytest

from harness import wire
from harness.cognito import NEW_PASSWORD, PASSWORD, Pool, attributes, newest_code, unique

MISSING_POOL = "us-east-1_000000000"
MISSING_CLIENT = "1example23456789"

# Exceptions that none of these operations can answer, with the reason.
NEVER = {
    "InternalErrorException": "our fault: no input is to provoke it",
    "ForbiddenException": "AWS WAF, which there is not",
    "UnexpectedLambdaException": "triggers are refused by name at pools",
    "UserLambdaValidationException": "triggers are refused by name at pools",
    "InvalidLambdaResponseException": "triggers are refused by name at pools",
    "InvalidSmsRoleAccessPolicyException": "messages leave by the operator's gateway, without an IAM role",
    "InvalidSmsRoleTrustRelationshipException": "messages leave by the operator's gateway, without an IAM role",
    "InvalidEmailRoleAccessPolicyException": "messages leave by the operator's mail server, without an IAM role",
    "OperationNotEnabledException": "replicas of pools, which there are not",
}
POLICY = "a principal that may not is answered AccessDeniedException, as by IAM: `test_signatures.py`"
NO_DELIVERY = "this server's messages always arrive; `test_email.py` provokes it"
# Exceptions that most operations cannot be made to answer here.
SAID_ONCE = {
    "TooManyRequestsException": "quotas by category are off; the admission of processor-heavy work has tests of its own",
    "PasswordResetRequiredException": "a reset ends the session of every token, and the token is told so",
}
# Exceptions that an operation cannot answer although others can.
NOT_HERE = {
    ("AdminAddUserToGroup", "NotAuthorizedException"): POLICY,
    ("AdminDeleteUserAttributes", "NotAuthorizedException"): POLICY,
    ("AdminDisableProviderForUser", "AliasExistsException"): "nothing is given to anybody by it",
    ("AdminDisableProviderForUser", "NotAuthorizedException"): POLICY,
    ("AdminDisableUser", "NotAuthorizedException"): POLICY,
    ("AdminEnableUser", "NotAuthorizedException"): POLICY,
    ("AdminLinkProviderForUser", "NotAuthorizedException"): POLICY,
    ("AdminListGroupsForUser", "NotAuthorizedException"): POLICY,
    ("AdminRemoveUserFromGroup", "NotAuthorizedException"): POLICY,
    ("AdminUpdateUserAttributes", "NotAuthorizedException"): POLICY,
    ("CreateGroup", "LimitExceededException"): "10,000 groups: `create_group.rs` counts them",
    ("CreateGroup", "NotAuthorizedException"): POLICY,
    ("DeleteGroup", "NotAuthorizedException"): POLICY,
    ("GetGroup", "NotAuthorizedException"): POLICY,
    ("ListGroups", "NotAuthorizedException"): POLICY,
    ("ListUsersInGroup", "NotAuthorizedException"): POLICY,
    ("UpdateGroup", "NotAuthorizedException"): POLICY,
    ("ConfirmForgotPassword", "TooManyFailedAttemptsException"): "LimitExceededException says the same",
    ("ConfirmForgotPassword", "UserNotConfirmedException"): "the code goes to a verified address, and confirms",
    ("ForgotPassword", "CodeDeliveryFailureException"): NO_DELIVERY,
    ("GetUserAttributeVerificationCode", "CodeDeliveryFailureException"): NO_DELIVERY,
    ("ResendConfirmationCode", "CodeDeliveryFailureException"): NO_DELIVERY,
    ("UpdateUserAttributes", "CodeDeliveryFailureException"): NO_DELIVERY,
    ("UpdateUserAttributes", "CodeMismatchException"): "no code is given to it",
    ("UpdateUserAttributes", "ExpiredCodeException"): "no code is given to it",
}


class Scene:
    """A pool that verifies addresses and remembers a password, with a user who is signed in."""

    def __init__(self, server, cognito):
        self.server, self.cognito = server, cognito
        self.pool = Pool(
            server,
            cognito,
            AutoVerifiedAttributes=["email"],
            AliasAttributes=["email"],
            Policies={"PasswordPolicy": {"MinimumLength": 8, "PasswordHistorySize": 1}},
        )
        self.app = self.pool.app_client()
        self.username = unique("user")
        self.address = f"{self.username}@example.com"
        self.pool.user(self.username, email=self.address, email_verified="true")
        self.token = self.app.tokens(self.username)["AccessToken"]
        cognito.create_group(UserPoolId=self.pool.id, GroupName="staff")
        details = {"client_id": "c", "client_secret": "s", "authorize_scopes": "openid"}
        cognito.create_identity_provider(
            UserPoolId=self.pool.id, ProviderName="Google", ProviderType="Google", ProviderDetails=details
        )

    def call(self, operation, body):
        return wire.call(self.server, operation, body)

    def code(self):
        return newest_code(self.server, self.address)

    def forgot(self):
        self.cognito.forgot_password(ClientId=self.app.id, Username=self.username)

    def another(self):
        """Somebody else has the address verified."""
        self.pool.user(email=self.address, email_verified="true")

    def link(self, value, username=None):
        self.cognito.admin_link_provider_for_user(
            UserPoolId=self.pool.id, DestinationUser=local(username or self.username), SourceUser=google(value)
        )


def local(username):
    return {"ProviderName": "Cognito", "ProviderAttributeName": "Cognito_Subject", "ProviderAttributeValue": username}


def google(value):
    return {**local(value), "ProviderName": "Google"}


# ---- a request of each operation that succeeds ------------------------------------------------------------------------


def of_admin(**more):
    return lambda scene: {"UserPoolId": scene.pool.id, "Username": scene.username, **more}


def of_group(**more):
    return lambda scene: {"UserPoolId": scene.pool.id, "GroupName": "staff", **more}


def of_member(scene):
    return {**of_group()(scene), "Username": scene.username}


def of_token(**more):
    return lambda scene: {"AccessToken": scene.token, **more}


def of_app(**more):
    return lambda scene: {"ClientId": scene.app.id, "Username": scene.username, **more}


NAME = attributes({"name": "N"})
GOOD = {
    "AdminAddUserToGroup": of_member,
    "AdminDeleteUserAttributes": of_admin(UserAttributeNames=["name"]),
    "AdminDisableProviderForUser": lambda scene: {"UserPoolId": scene.pool.id, "User": local(scene.username)},
    "AdminDisableUser": of_admin(),
    "AdminEnableUser": of_admin(),
    "AdminLinkProviderForUser": lambda scene: {
        "UserPoolId": scene.pool.id,
        "DestinationUser": local(scene.username),
        "SourceUser": google("1"),
    },
    "AdminListGroupsForUser": of_admin(),
    "AdminRemoveUserFromGroup": of_member,
    "AdminResetUserPassword": of_admin(),
    "AdminUpdateUserAttributes": of_admin(UserAttributes=NAME),
    "ChangePassword": of_token(PreviousPassword=PASSWORD, ProposedPassword=NEW_PASSWORD),
    "ConfirmForgotPassword": lambda scene: {
        "ClientId": scene.app.id,
        "Username": scene.username,
        "ConfirmationCode": scene.forgot() or scene.code(),
        "Password": NEW_PASSWORD,
    },
    "CreateGroup": of_group(GroupName="new"),
    "DeleteGroup": of_group(),
    "DeleteUser": of_token(),
    "DeleteUserAttributes": of_token(UserAttributeNames=["name"]),
    "ForgotPassword": of_app(),
    "GetGroup": of_group(),
    "GetUserAttributeVerificationCode": of_token(AttributeName="email"),
    "ListGroups": lambda scene: {"UserPoolId": scene.pool.id},
    "ListUsersInGroup": of_group(),
    "UpdateGroup": of_group(Description="D"),
    "UpdateUserAttributes": of_token(UserAttributes=NAME),
    "VerifyUserAttribute": lambda scene: {
        "AccessToken": scene.token,
        "AttributeName": "email",
        "Code": scene.cognito.get_user_attribute_verification_code(AccessToken=scene.token, AttributeName="email")
        and scene.code(),
    },
}


# ---- what makes each of them fail -------------------------------------------------------------------------------------


def with_member(**members):
    """The request with these members in the place of its own."""
    return lambda scene, body: {**body, **members}


def many(count):
    """So many requests before this one."""

    def provoke(scene, body, operation):
        for _ in range(count):
            scene.call(operation, body)
        return body

    return provoke


def client_is_gone(scene, body):
    scene.cognito.delete_user_pool_client(UserPoolId=scene.pool.id, ClientId=scene.app.id)
    return body


def user_is_gone(scene, body):
    scene.cognito.admin_delete_user(UserPoolId=scene.pool.id, Username=scene.username)
    return body


def user_signs_up_again(scene, body):
    user_is_gone(scene, body)
    scene.app.sign_up(scene.username, email=scene.address)
    return body


def updates_of_the_address(count):
    def provoke(scene, body, operation):
        for number in range(count):
            address = attributes({"email": f"{scene.username}-{number}@example.com"})
            assert scene.call(operation, {**body, "UserAttributes": address}).status == 200
        return {**body, "UserAttributes": attributes({"email": f"{scene.username}-last@example.com"})}

    return provoke


def linked_to_another(scene, body):
    scene.link("1", scene.pool.user())
    return body


def linked_often(scene, body):
    for number in range(2, 7):
        scene.link(str(number))
    return body


def pending_address_is_anothers(scene, body):
    """An address that is not verified here is verified by somebody else before the code is shown."""
    scene.cognito.admin_update_user_attributes(
        UserPoolId=scene.pool.id, Username=scene.username, UserAttributes=attributes({"email": scene.address + ".org"})
    )
    scene.address += ".org"
    code = scene.code()
    scene.another()
    return {**body, "Code": code}


POOL = with_member(UserPoolId=MISSING_POOL)
NO_USER = with_member(Username="nobody")
NO_GROUP = with_member(GroupName="none")
BAD_NAME = with_member(Username="")
BAD_TOKEN = with_member(AccessToken="x.y.z")
ADMIN = {"ResourceNotFoundException": POOL, "UserNotFoundException": NO_USER, "InvalidParameterException": BAD_NAME}
GROUP = {"ResourceNotFoundException": NO_GROUP, "InvalidParameterException": with_member(GroupName="")}
TOKEN = {
    "ResourceNotFoundException": client_is_gone,
    "NotAuthorizedException": BAD_TOKEN,
    "UserNotFoundException": user_is_gone,
    "UserNotConfirmedException": user_signs_up_again,
}
APP = {"ResourceNotFoundException": with_member(ClientId=MISSING_CLIENT), "UserNotFoundException": NO_USER}
BAD_ATTRIBUTE = with_member(UserAttributes=attributes({"nonsense": "x"}))

PROVOKED = {
    "AdminAddUserToGroup": {**ADMIN, "ResourceNotFoundException": NO_GROUP},
    "AdminDeleteUserAttributes": ADMIN,
    "AdminDisableProviderForUser": {
        "ResourceNotFoundException": POOL,
        "UserNotFoundException": with_member(User=local("nobody")),
        "InvalidParameterException": with_member(User={"ProviderName": "Cognito"}),
    },
    "AdminDisableUser": ADMIN,
    "AdminEnableUser": ADMIN,
    "AdminLinkProviderForUser": {
        "ResourceNotFoundException": with_member(SourceUser={**google("1"), "ProviderName": "Okta"}),
        "UserNotFoundException": with_member(DestinationUser=local("nobody")),
        "InvalidParameterException": with_member(SourceUser=local("nobody")),
        "AliasExistsException": linked_to_another,
        "LimitExceededException": linked_often,
    },
    "AdminListGroupsForUser": ADMIN,
    "AdminRemoveUserFromGroup": {**ADMIN, "ResourceNotFoundException": NO_GROUP},
    "AdminResetUserPassword": {
        **ADMIN,
        "LimitExceededException": many(20),
        "NotAuthorizedException": lambda scene, body: {
            **body,
            "Username": scene.cognito.admin_create_user(
                UserPoolId=scene.pool.id, Username=unique("user"), MessageAction="SUPPRESS"
            )["User"]["Username"],
        },
    },
    "AdminUpdateUserAttributes": {
        **ADMIN,
        "InvalidParameterException": BAD_ATTRIBUTE,
        "TooManyRequestsException": updates_of_the_address(20),
    },
    "ChangePassword": {
        **TOKEN,
        "InvalidParameterException": with_member(ProposedPassword=""),
        "InvalidPasswordException": with_member(ProposedPassword="short"),
        "PasswordHistoryPolicyViolationException": with_member(ProposedPassword=PASSWORD),
        "LimitExceededException": many(5),
    },
    "ConfirmForgotPassword": {
        **APP,
        "InvalidParameterException": with_member(ConfirmationCode=""),
        "InvalidPasswordException": with_member(Password="short"),
        "PasswordHistoryPolicyViolationException": with_member(Password=PASSWORD),
        "NotAuthorizedException": with_member(SecretHash="x"),
        "CodeMismatchException": with_member(ConfirmationCode="x"),
        "ExpiredCodeException": many(1),
        "LimitExceededException": many(15),
    },
    "CreateGroup": {
        "ResourceNotFoundException": POOL,
        "InvalidParameterException": with_member(GroupName=""),
        "GroupExistsException": many(1),
    },
    "DeleteGroup": GROUP,
    "DeleteUser": {**TOKEN, "InvalidParameterException": with_member(AccessToken="not a token")},
    "DeleteUserAttributes": {**TOKEN, "InvalidParameterException": with_member(UserAttributeNames=["nonsense"])},
    "ForgotPassword": {
        **APP,
        "InvalidParameterException": BAD_NAME,
        "NotAuthorizedException": with_member(SecretHash="x"),
        "LimitExceededException": many(5),
    },
    "GetGroup": GROUP,
    "GetUserAttributeVerificationCode": {
        **TOKEN,
        "InvalidParameterException": with_member(AttributeName="name"),
        "LimitExceededException": many(5),
    },
    "ListGroups": {"ResourceNotFoundException": POOL, "InvalidParameterException": with_member(NextToken="made-up")},
    "ListUsersInGroup": GROUP,
    "UpdateGroup": GROUP,
    "UpdateUserAttributes": {
        **TOKEN,
        "InvalidParameterException": BAD_ATTRIBUTE,
        "AliasExistsException": with_member(UserAttributes=attributes({"preferred_username": "taken-name"})),
        "TooManyRequestsException": updates_of_the_address(5),
    },
    "VerifyUserAttribute": {
        **TOKEN,
        "InvalidParameterException": with_member(AttributeName="name"),
        "CodeMismatchException": with_member(Code="x"),
        "ExpiredCodeException": many(1),
        "LimitExceededException": many(15),
        "AliasExistsException": pending_address_is_anothers,
    },
}
# AliasExistsException of administrators: an address that they vouch for moves, a preferred name does not.
PROVOKED["AdminUpdateUserAttributes"]["AliasExistsException"] = with_member(
    UserAttributes=attributes({"preferred_username": "taken-name"})
)
NEEDS_PREFERRED = {
    ("UpdateUserAttributes", "AliasExistsException"),
    ("AdminUpdateUserAttributes", "AliasExistsException"),
}


def documented(operation):
    model = botocore.session.get_session().get_service_model("cognito-idp").operation_model(operation)
    return {shape.name for shape in model.error_shapes}


@pytest.mark.parametrize("operation", sorted(GOOD))
def test_every_documented_exception_is_provoked_or_explained(operation):
    provoked = set(PROVOKED[operation])
    explained = {name for of, name in NOT_HERE if of == operation}
    left = documented(operation) - provoked - explained - set(NEVER)
    left -= set(SAID_ONCE)
    assert left == set()
    assert not provoked & explained


@pytest.fixture
def scene(server, cognito):
    return Scene(server, cognito)


@pytest.mark.parametrize("operation", sorted(GOOD))
def test_the_request_succeeds_where_nothing_is_wrong(scene, operation):
    answer = scene.call(operation, GOOD[operation](scene))
    assert answer.status == 200, answer.body


CASES = [(operation, name) for operation in sorted(PROVOKED) for name in sorted(PROVOKED[operation])]


@pytest.mark.parametrize("operation, name", CASES)
def test_an_exception_is_provoked(scene, operation, name):
    provoke = PROVOKED[operation][name]
    if (operation, name) in NEEDS_PREFERRED:
        settings = {"AliasAttributes": ["preferred_username"], "AutoVerifiedAttributes": ["email"]}
        scene.pool = Pool(scene.server, scene.cognito, **settings)
        scene.app = scene.pool.app_client()
        scene.pool.user("taken")
        scene.pool.user(scene.username)
        body = {"UserPoolId": scene.pool.id, "Username": "taken"}
        taken = attributes({"preferred_username": "taken-name"})
        assert scene.call("AdminUpdateUserAttributes", {**body, "UserAttributes": taken}).status == 200
        scene.token = scene.app.tokens(scene.username)["AccessToken"]
    body = GOOD[operation](scene)
    takes_operation = provoke.__code__.co_argcount == 3
    body = provoke(scene, body, operation) if takes_operation else provoke(scene, body)
    answer = scene.call(operation, body)
    assert (answer.status, answer.error) == (400, name), answer.body
