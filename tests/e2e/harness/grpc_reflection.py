"""A gRPC client that knows nothing but an address: services and messages come from the server's reflection."""

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "conclave.cognito.v1.CognitoIdentityProvider"
SECONDS_MAX = 30


class Client:
    """Calls operations with dictionaries in proto's JSON form."""

    def __init__(self, authority, certificates=None):
        """`certificates` are those of the authorities that are trusted, in PEM; without them, nothing is encrypted."""
        self.authority = authority
        if certificates is None:
            self.channel = grpc.insecure_channel(authority)
        else:
            self.channel = grpc.secure_channel(authority, grpc.ssl_channel_credentials(certificates))
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def close(self):
        self.channel.close()

    def services(self):
        return set(self.database.get_services())

    def methods(self, service=SERVICE):
        return {m.name: m for m in self.pool.FindServiceByName(service).methods}

    def call(self, operation, request, signed=False, key="test", secret="test"):
        """The answer as a dictionary; grpc.RpcError when it is an error."""
        path = f"/{SERVICE}/{operation}"
        metadata = self._signature(path, key, secret) if signed else []
        return self.unary(SERVICE, operation, request, metadata)

    def unary(self, service, method, request, metadata=()):
        descriptor = self.methods(service)[method]
        message = json_format.ParseDict(request, message_factory.GetMessageClass(descriptor.input_type)())
        output = message_factory.GetMessageClass(descriptor.output_type)
        invoke = self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=output.FromString,
        )
        answer = invoke(message, metadata=metadata, timeout=SECONDS_MAX)
        return json_format.MessageToDict(answer, preserving_proto_field_name=True)

    def raw(self, operation, data, metadata=()):
        """Sends bytes that need not be a message."""
        invoke = self.channel.unary_unary(f"/{SERVICE}/{operation}", None, None)
        return invoke(data, metadata=metadata, timeout=SECONDS_MAX)

    def _signature(self, path, key, secret):
        """SigV4 over the method's path and the date; the message itself is not signed."""
        headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        request = botocore.awsrequest.AWSRequest("POST", f"http://{self.authority}{path}", headers=headers)
        credentials = botocore.credentials.Credentials(key, secret)
        botocore.auth.SigV4Auth(credentials, "cognito-idp", "us-east-1").add_auth(request)
        return [(name.lower(), value) for name, value in request.headers.items()]


def exception_name(error):
    """The name of the Cognito exception that a gRPC error carries."""
    return dict(error.trailing_metadata()).get("x-amzn-errortype")
