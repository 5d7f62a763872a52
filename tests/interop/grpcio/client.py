"""A gRPC client that isn't tonic: makes one call with grpcio and prints what it saw as JSON.

    client.py --target 127.0.0.1:50051 --method /pkg.Service/Method --message hello \
        --metadata 'authorization=Bearer …'

Messages are google.protobuf.StringValue both ways. With --stream the method's answer is a stream.
The status details are decoded as a google.rpc.Status with its ErrorInfo and RetryInfo.
"""

import argparse
import json
import time

import grpc
from google.protobuf import wrappers_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def pairs(metadata):
    """Metadata as a list of pairs; binary values in hexadecimal."""
    return [
        [key, value.hex() if isinstance(value, bytes) else value] for key, value in metadata or ()
    ]


def details(call):
    """The google.rpc.Status of the call; grpcio checks that it agrees with code and message."""
    status = rpc_status.from_call(call)
    if status is None:
        return None
    decoded = {"code": status.code, "message": status.message, "unknown": []}
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            decoded["error_info"] = {
                "reason": info.reason,
                "domain": info.domain,
                "metadata": dict(info.metadata),
            }
        elif detail.Unpack(retry):
            decoded["retry_info"] = {"retry_delay": retry.retry_delay.ToMilliseconds() / 1000}
        else:
            decoded["unknown"].append(detail.type_url)
    return decoded


def main():
    parser = argparse.ArgumentParser(description="Makes one gRPC call and prints the outcome.")
    parser.add_argument("--target", required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--message", default="")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--metadata", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--timeout", type=float, default=10)
    arguments = parser.parse_args()

    codecs = {
        "request_serializer": wrappers_pb2.StringValue.SerializeToString,
        "response_deserializer": wrappers_pb2.StringValue.FromString,
    }
    request = wrappers_pb2.StringValue(value=arguments.message)
    metadata = [tuple(pair.split("=", 1)) for pair in arguments.metadata]
    options = {"metadata": metadata, "timeout": arguments.timeout}
    messages = []
    # A proxy from the environment has no business on loopback.
    with grpc.insecure_channel(arguments.target, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            if arguments.stream:
                call = channel.unary_stream(arguments.method, **codecs)(request, **options)
                for message in call:
                    messages.append(message.value)
            else:
                method = channel.unary_unary(arguments.method, **codecs)
                message, call = method.with_call(request, **options)
                messages.append(message.value)
        except grpc.RpcError as error:
            call = error
        ended_at = time.time()
        print(
            json.dumps(
                {
                    "code": call.code().name,
                    "message": call.details(),
                    "details": details(call),
                    "messages": messages,
                    "ended_at": ended_at,
                    "initial_metadata": pairs(call.initial_metadata()),
                    "trailers": pairs(call.trailing_metadata()),
                }
            )
        )


if __name__ == "__main__":
    main()
