"""A collector of traces: OTLP over gRPC, kept as bytes and read as far as the tests need."""

import collections
import concurrent.futures
import dataclasses

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# What of opentelemetry/proto/collector/trace/v1/trace_service.proto is read. The rest is kept in the bytes.
MESSAGES = {
    "AnyValue": {"string": (1, str), "bool": (2, bool), "int": (3, int), "double": (4, float)},
    "KeyValue": {"key": (1, str), "value": (2, "AnyValue")},
    "Event": {"name": (2, str), "attributes": (3, ["KeyValue"])},
    "Span": {
        "trace_id": (1, bytes),
        "span_id": (2, bytes),
        "parent_span_id": (4, bytes),
        "name": (5, str),
        "attributes": (9, ["KeyValue"]),
        "events": (11, ["Event"]),
    },
    "ScopeSpans": {"spans": (2, ["Span"])},
    "Resource": {"attributes": (1, ["KeyValue"])},
    "ResourceSpans": {"resource": (1, "Resource"), "scope_spans": (2, ["ScopeSpans"])},
    "Export": {"resource_spans": (1, ["ResourceSpans"])},
}


def _export_message():
    field = descriptor_pb2.FieldDescriptorProto
    scalars = {
        str: field.TYPE_STRING,
        bytes: field.TYPE_BYTES,
        bool: field.TYPE_BOOL,
        int: field.TYPE_INT64,
        float: field.TYPE_DOUBLE,
    }
    file = descriptor_pb2.FileDescriptorProto(name="otlp_subset.proto", package="otlp", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            repeated = isinstance(kind, list)
            kind = kind[0] if repeated else kind
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            added = message.field.add(name=field_name, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = field.TYPE_MESSAGE, f".otlp.{kind}"
            else:
                added.type = scalars[kind]
            if name == "AnyValue":
                added.oneof_index = 0
        if name == "AnyValue":
            message.oneof_decl.add(name="value")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("otlp.Export"))


Export = _export_message()


@dataclasses.dataclass
class Span:
    process: str
    trace_id: bytes
    id: bytes
    parent_id: bytes
    name: str
    attributes: dict
    events: list


def _as_dict(attributes):
    def value(v):
        kind = v.WhichOneof("value")
        return getattr(v, kind) if kind else None

    return {a.key: value(a.value) for a in attributes}


class Collector:
    """Takes whatever is exported to `endpoint`, until the block ends."""

    METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

    def __init__(self):
        self.requests = []

    def __enter__(self):
        def export(request, context):
            self.requests.append(request)
            return b""

        handler = grpc.unary_unary_rpc_method_handler(export)

        class Service(grpc.GenericRpcHandler):
            def service(self, details):
                return handler if details.method == Collector.METHOD else None

        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Service()])
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_):
        self._server.stop(grace=None)

    def raw(self):
        return b"".join(self.requests)

    def spans(self):
        found = []
        for request in list(self.requests):
            for resource in Export.FromString(request).resource_spans:
                process = _as_dict(resource.resource.attributes).get("service.instance.id")
                for span in (s for scope in resource.scope_spans for s in scope.spans):
                    events = [(e.name, _as_dict(e.attributes)) for e in span.events]
                    attributes = _as_dict(span.attributes)
                    found.append(
                        Span(
                            process, span.trace_id, span.span_id, span.parent_span_id, span.name, attributes, events
                        )
                    )
        return found


class Traces:
    """Spans and how they hang together."""

    def __init__(self, spans):
        self.spans = spans
        self._by_id = {(s.trace_id, s.id): s for s in spans}
        assert len(self._by_id) == len(spans), "two spans with one id"

    def named(self, name):
        return [s for s in self.spans if s.name == name]

    def parent(self, span):
        """None for a root; a parent that never arrived is an error."""
        return self._by_id[span.trace_id, span.parent_id] if span.parent_id else None

    def path(self, span):
        """The span and those above it, innermost first."""
        path = [span]
        while (above := self.parent(path[-1])) is not None:
            path.append(above)
        return path

    def names(self, span):
        return [s.name for s in self.path(span)]

    def requests(self):
        """How many requests ended how: by operation and code."""
        roots = self.named("request")
        return collections.Counter((s.attributes.get("operation"), s.attributes.get("code")) for s in roots)
