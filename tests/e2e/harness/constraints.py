"""Every way to break one constraint of an operation's input, made from the API model that botocore carries."""

import dataclasses

import botocore.session

OPERATIONS = [
    "CreateUserPool", "DescribeUserPool", "ListUserPools", "DeleteUserPool",
    "CreateUserPoolClient", "DescribeUserPoolClient", "ListUserPoolClients", "DeleteUserPoolClient",
    "SignUp", "ConfirmSignUp", "ResendConfirmationCode", "AdminConfirmSignUp",
    "AdminCreateUser", "AdminGetUser", "AdminSetUserPassword", "AdminDeleteUser", "ListUsers",
    "AdminUpdateUserAttributes", "AdminDeleteUserAttributes", "AdminDisableUser", "AdminEnableUser",
    "CreateGroup", "GetGroup", "UpdateGroup", "DeleteGroup", "ListGroups", "ListUsersInGroup",
    "AdminAddUserToGroup", "AdminRemoveUserFromGroup", "AdminListGroupsForUser",
    "ChangePassword", "ForgotPassword", "ConfirmForgotPassword", "AdminResetUserPassword",
    "GetUserAttributeVerificationCode", "VerifyUserAttribute", "UpdateUserAttributes", "DeleteUserAttributes",
    "DeleteUser",
    "InitiateAuth", "RespondToAuthChallenge", "GetUser",
    "UpdateUserPool", "GetUserPoolMfaConfig", "SetUserPoolMfaConfig", "AddCustomAttributes", "TagResource", "UntagResource", "ListTagsForResource",
    "CreateUserPoolDomain", "DescribeUserPoolDomain", "UpdateUserPoolDomain", "DeleteUserPoolDomain",
    "CreateResourceServer", "DescribeResourceServer", "UpdateResourceServer", "DeleteResourceServer", "ListResourceServers",
    "CreateIdentityProvider", "DescribeIdentityProvider", "UpdateIdentityProvider", "DeleteIdentityProvider",
    "ListIdentityProviders", "GetIdentityProviderByIdentifier",
    "UpdateUserPoolClient", "AddUserPoolClientSecret", "DeleteUserPoolClientSecret", "ListUserPoolClientSecrets",
    "CreateManagedLoginBranding", "DescribeManagedLoginBranding", "DescribeManagedLoginBrandingByClient",
    "UpdateManagedLoginBranding", "DeleteManagedLoginBranding", "GetUICustomization", "SetUICustomization",
    "CreateTerms", "DescribeTerms", "UpdateTerms", "DeleteTerms", "ListTerms",
]  # fmt: skip

# A text that does not match, for every pattern of these inputs. A new pattern in the model needs a new line here.
_ANY_TEXT = r"\p{L}\p{M}\p{S}\p{N}\p{P}"
_ARN = r"arn:[\w+=/,.@-]+:[\w+=/,.@-]+:([\w+=/,.@-]*)?:[0-9]+:[\w+=/,.@-]+(:[\w+=/,.@-]+)?(:[\w+=/,.@-]+)?"
MISMATCH = {
    _ARN: "not an arn",
    f"({_ARN})?": "not an arn",
    f"[{_ANY_TEXT}]+": "with space",
    r"[\w-]+_[0-9a-zA-Z]+": "no underscore",
    r"[\w+]+": "with-hyphen",
    r"[\S]+": "with space",
    rf"[{_ANY_TEXT}\t\n\r ]+": "control\x01",
    rf"[{_ANY_TEXT}\s]+": "control\x01",
    r".*\{####\}.*": "no place for the code",
    r"[\x21\x23-\x5B\x5D-\x7E]+": "with space",
    r"[\w+=/]+": "with space",
    r"[\x21\x23-\x2E\x30-\x5B\x5D-\x7E]+": "with/slash",
    rf"[^_\p{{Z}}][{_ANY_TEXT}][^_\p{{Z}}]+": "_begins",
    r"[\w\s+=.@-]+": "semi;colon",
    r"[\w\s+=,.@-]+": "semi;colon",
    rf"[{_ANY_TEXT}\s*]*\{{####\}}[{_ANY_TEXT}\s*]*": "no place for the code",
    rf"[{_ANY_TEXT}\s*]*\{{##[{_ANY_TEXT}\s*]*##\}}[{_ANY_TEXT}\s*]*": "no place for the link",
    rf"[{_ANY_TEXT}]+@[{_ANY_TEXT}]+": "no address",
    r"^[a-zA-Z0-9_-]+$": "with space",
    rf"[{_ANY_TEXT}\s*]*": "control\x01",
    "Level[1-4]": "Level9",
    rf"[{_ANY_TEXT}\p{{Z}}]+": "control\x01",
    "^[0-9a-fA-F]+$": "no hex",
    "[A-Za-z0-9-_=.]+": "with space",
    r"^[\S]+.*[\S]+$": " begins with space",
    r"^[a-z0-9](?:[a-z0-9\-\.]{0,61}[a-z0-9])?$": "UPPER",
    "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[4][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$": "00000000-0000-0000-0000-000000000000",
    r"^[\w\- ]+$": "semi;colon",
    "^(terms-of-use|privacy-policy)$": "terms-of-abuse",
    "^cognito:(default|dutch|english|french|spanish|german|bahasa-indonesia|italian|japanese|korean|portuguese-brazil"
    "|chinese-(simplified|traditional))$": "cognito:klingon",
    rf"^[{_ANY_TEXT}]+$": "with space",
}
MATCHES_EVERYTHING = {"(?s).*"}

# Where the service is known to check another pattern than its model says: a password may have spaces inside.
REAL_PATTERN = {
    "PasswordType": r"^[\S]+.*[\S]+$",
    # a domain of the customer's own has dots
    "DomainType": r"^[a-z0-9](?:[a-z0-9\-\.]{0,61}[a-z0-9])?$",
}


@dataclasses.dataclass
class Break:
    """One broken constraint: the input, and what the answer has to say."""

    operation: str
    path: str
    kind: str
    body: dict
    text: str

    def __str__(self):
        return f"{self.operation}-{self.path}-{self.kind}"


def breaks():
    """All of them, in the order of the model."""
    model = botocore.session.get_session().get_service_model("cognito-idp")
    for operation in OPERATIONS:
        shape = model.operation_model(operation).input_shape
        base = {name: sample(shape.members[name]) for name in shape.required_members}
        for path, kind, body, text in _structure(shape, ""):
            top = next(iter(body))
            whole = {**base, **body}
            if body[top] is None:
                del whole[top]
            yield Break(operation, path, kind, whole, text)


def sample(shape):
    """A value that keeps the constraints, as far as these inputs need it."""
    if shape.type_name == "string":
        if shape.enum:
            return shape.enum[0]
        if shape.metadata.get("pattern") == r"[\w-]+_[0-9a-zA-Z]+":
            return "us-east-1_000000000"
        return "aaaaaaaa"
    if shape.type_name in ("integer", "long"):
        return shape.metadata.get("min", 1)
    if shape.type_name == "boolean":
        return False
    if shape.type_name == "list":
        return [sample(shape.member)] * shape.metadata.get("min", 0)
    if shape.type_name == "map":
        return {}
    return {name: sample(shape.members[name]) for name in shape.required_members}


def _structure(shape, parent):
    for name, member in shape.members.items():
        path = f"{parent}{name[0].lower()}{name[1:]}"
        if name in shape.required_members:
            others = {n: sample(shape.members[n]) for n in shape.required_members if n != name}
            text = f"Value null at '{path}' failed to satisfy constraint: Member must not be null"
            yield path, "absent", {name: None, **others}, text
        for kind, value, text in _own(member):
            shown = "Value at" if member.metadata.get("sensitive") else " at"
            yield path, kind, {name: value}, f"{shown} '{path}' failed to satisfy constraint: {text}"
        for inner_path, kind, value, text in _inner(member, path):
            yield inner_path, kind, {name: value}, text


def _inner(shape, path):
    if shape.type_name == "structure":
        yield from _structure(shape, f"{path}.")
    elif shape.type_name == "list" and shape.member.type_name == "structure":
        for inner_path, kind, value, text in _structure(shape.member, f"{path}.1.member."):
            yield inner_path, kind, [value], text
    elif shape.type_name == "map" and shape.value.type_name == "structure":
        for inner_path, kind, value, text in _structure(shape.value, f"{path}.key.member."):
            yield inner_path, kind, {"key": value}, text


def _own(shape):
    if shape.type_name == "string":
        yield from _text(shape)
    elif shape.type_name in ("integer", "long"):
        yield from _bounds(shape, "value", lambda number: number)
    elif shape.type_name == "list":
        yield from _bounds(shape, "length", lambda count: [sample(shape.member)] * count)
        if shape.member.type_name == "string":
            for kind, value, text in _text(shape.member):
                yield f"item {kind}", [value], Each("Member", text)
    elif shape.type_name == "map":
        yield from _bounds(shape, "length", lambda count: {f"k{n}": sample(shape.value) for n in range(count)})
        for kind, value, text in _text(shape.key):
            yield f"key {kind}", {value: sample(shape.value)}, Each("Map keys", text)
        if shape.value.type_name == "string":
            for kind, value, text in _text(shape.value):
                yield f"value {kind}", {"key": value}, Each("Map value", text)


class Each(str):
    """The text of a constraint on every item: the answer lists all constraints of the item, this one among them."""

    def __new__(cls, what, text):
        made = super().__new__(cls, f"{what} must satisfy constraint: [")
        made.part = text
        return made


def _text(shape):
    if shape.enum:
        yield "enum", "NO_SUCH_VALUE", f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        return
    yield from _bounds(shape, "length", lambda count: "a" * count)
    pattern = REAL_PATTERN.get(shape.name, shape.metadata.get("pattern"))
    if pattern and pattern not in MATCHES_EVERYTHING:
        yield "pattern", MISMATCH[pattern], f"Member must satisfy regular expression pattern: {pattern}"


def _bounds(shape, of, make):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and (least > 0 or of == "value"):
        yield "min", make(least - 1), f"Member must have {of} greater than or equal to {least}"
    if most is not None:
        yield "max", make(most + 1), f"Member must have {of} less than or equal to {most}"
