"""Drives a server and a client of grpcio's through a proxy that has this crate's layer in it.

    pip install -r tests/interop/requirements.txt
    python tests/interop/drive.py target/debug/examples/grpc_proxy

`tests/interop/run` does both.

The server refuses keys by their names, in a head alone or in trailers. Calls of every kind are to
move on to the good key, and a caller is to be told so when none is left. Prints a line for each and
exits with 1 if one fails.
"""

import contextlib
import os
import queue
import subprocess
import sys
import time
import traceback
from concurrent import futures

# Calls must not go round the proxy.
for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

SERVICE = "talk.Talk"
TIMEOUT = 20

REVOKED = "revoked-key-0001"
DENIED = "denied-key-00002"
LIMITED = "limited-key-0003"
GOOD = "good-key-0000004"


def name(key):
    return key.split("-")[0]


class Talk:
    """Answers every message with its capitals."""

    def __init__(self):
        self.asked = []

    def check(self, context):
        """Refuses the call if its key is not good. Nothing has been sent then: a head alone."""
        metadata = dict(context.invocation_metadata())
        key = metadata["authorization"].removeprefix("Bearer ")
        self.asked.append(key)
        # The proxy removes a trailer that contains the key itself.
        context.set_trailing_metadata([("x-served-by", name(key))])
        if key.startswith("revoked"):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "this key is revoked")
        if key.startswith("denied"):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not with this key")
        if key.startswith("limited"):
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "5000")])
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "50% too much")

    def unary(self, message, context):
        self.check(context)
        return message.upper()

    def watch(self, message, context):
        self.check(context)
        yield from message.upper().split()

    def upload(self, messages, context):
        self.check(context)
        return b" ".join(messages).upper()

    def unary_late(self, message, context):
        """Refuses after a head, in trailers."""
        context.send_initial_metadata([("x-head", "sent")])
        time.sleep(0.1)
        self.check(context)
        return message.upper()

    def upload_late(self, messages, context):
        """Refuses after the first message."""
        first = next(messages)
        self.check(context)
        return b" ".join([first, *messages]).upper()

    def chat(self, messages, context):
        self.check(context)
        for message in messages:
            yield message.upper()


@contextlib.contextmanager
def serving():
    talk = Talk()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
        "Unary": grpc.unary_unary_rpc_method_handler(talk.unary),
        "UnaryLate": grpc.unary_unary_rpc_method_handler(talk.unary_late),
        "Watch": grpc.unary_stream_rpc_method_handler(talk.watch),
        "Upload": grpc.stream_unary_rpc_method_handler(talk.upload),
        "UploadLate": grpc.stream_unary_rpc_method_handler(talk.upload_late),
        "Chat": grpc.stream_stream_rpc_method_handler(talk.chat),
    })])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield talk, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def calling(proxy, keys, options=(), wait_ms=0):
    """A server, a proxy with these keys in front of it, and a channel to that."""
    with serving() as (talk, url):
        process = subprocess.Popen([proxy, url], stdout=subprocess.PIPE, text=True,
                                   env=os.environ | {"GRPC_KEYS": ",".join(keys),
                                                     "GRPC_WAIT_MS": str(wait_ms)})
        try:
            line = process.stdout.readline()
            address = line.strip().removeprefix("listening on http://")
            with grpc.insecure_channel(address, options=options) as channel:
                yield talk, channel
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def equal(found, expected):
    assert found == expected, f"{found!r}, not {expected!r}"


ALL = [REVOKED, DENIED, LIMITED, GOOD]


def unary(proxy):
    with calling(proxy, ALL) as (talk, channel):
        answer, call = channel.unary_unary(f"/{SERVICE}/Unary").with_call(b"hello", timeout=TIMEOUT)
        equal(answer, b"HELLO")
        equal(dict(call.trailing_metadata())["x-served-by"], name(GOOD))
        equal(talk.asked, ALL)
        # The marks stay; a key that is only denied here is asked again.
        equal(channel.unary_unary(f"/{SERVICE}/Unary")(b"again", timeout=TIMEOUT), b"AGAIN")
        equal(talk.asked, ALL + [DENIED, GOOD])


def late_refusal(proxy):
    with calling(proxy, ALL, wait_ms=5000) as (talk, channel):
        answer = channel.unary_unary(f"/{SERVICE}/UnaryLate")(b"hello", timeout=TIMEOUT)
        equal(answer, b"HELLO")
        equal(talk.asked, ALL)
    # Nobody waits unless asked to.
    with calling(proxy, ALL) as (talk, channel):
        error = refused(channel, "UnaryLate")
        equal(error.code(), grpc.StatusCode.UNAUTHENTICATED)
        equal(talk.asked, [REVOKED])


def large_messages(proxy):
    with calling(proxy, [REVOKED, GOOD]) as (_, channel):
        message = b"a" * 3_000_000
        answer = channel.unary_unary(f"/{SERVICE}/Unary")(message, timeout=TIMEOUT)
        equal(answer == message.upper(), True)


def server_streaming(proxy):
    with calling(proxy, ALL) as (talk, channel):
        answers = channel.unary_stream(f"/{SERVICE}/Watch")(b"one two three", timeout=TIMEOUT)
        equal(list(answers), [b"ONE", b"TWO", b"THREE"])
        equal(answers.code(), grpc.StatusCode.OK)
        equal(talk.asked, ALL)


def client_streaming(proxy):
    for method in "Upload", "UploadLate":
        with calling(proxy, ALL) as (talk, channel):
            messages = iter([b"one", b"two", b"three"])
            answer = channel.stream_unary(f"/{SERVICE}/{method}")(messages, timeout=TIMEOUT)
            equal(answer, b"ONE TWO THREE")
            equal(talk.asked, ALL)


def bidirectional_streaming(proxy):
    with calling(proxy, ALL) as (talk, channel):
        messages = queue.Queue()
        answers = channel.stream_stream(f"/{SERVICE}/Chat")(iter(messages.get, None),
                                                            timeout=TIMEOUT)
        for word in b"one", b"two", b"three":
            # Each is answered before the next is sent.
            messages.put(word)
            equal(next(answers), word.upper())
        messages.put(None)
        equal(list(answers), [])
        equal(talk.asked, ALL)


def refused(channel, method="Unary", metadata=()):
    try:
        channel.unary_unary(f"/{SERVICE}/{method}")(b"hello", metadata=metadata, timeout=TIMEOUT)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


def rate_limited(proxy):
    with calling(proxy, [REVOKED, LIMITED]) as (talk, channel):
        for _ in range(2):
            error = refused(channel)
            equal(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            assert error.details().startswith("all configured keys are rate-limited"), error
            pushback = int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])
            assert 3000 <= pushback <= 5000, pushback
            status = rpc_status.from_call(error)
            equal(status.code, 8)
            info = error_details_pb2.RetryInfo()
            assert status.details[0].Unpack(info), status
            delay = info.retry_delay.ToMilliseconds()
            assert abs(delay - pushback) <= 1, (delay, pushback)
        equal(talk.asked, [REVOKED, LIMITED])


# The client retries by this, unless a pushback forbids it.
RETRIES = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3,
    "initialBackoff": "0.1s", "maxBackoff": "0.1s", "backoffMultiplier": 1,
    "retryableStatusCodes": ["INTERNAL", "RESOURCE_EXHAUSTED"]}}]}"""


def rate_limited_and_back(proxy):
    """A client with a retry policy waits for as long as the pushback says, and succeeds."""
    options = [("grpc.service_config", RETRIES), ("grpc.enable_retries", 1)]
    with calling(proxy, [LIMITED], options) as (talk, channel):
        talk.check = lambda context: None if talk.asked else Talk.check(talk, context)
        began = time.monotonic()
        answer = channel.unary_unary(f"/{SERVICE}/Unary")(b"hello", timeout=TIMEOUT)
        equal(answer, b"HELLO")
        waited = time.monotonic() - began
        assert 4 < waited < 8, waited


def permanent(proxy):
    options = [("grpc.service_config", RETRIES), ("grpc.enable_retries", 1)]
    with calling(proxy, [REVOKED], options) as (_, channel):
        error = refused(channel)
        equal(error.code(), grpc.StatusCode.INTERNAL)
        equal(error.details(), "all configured keys failed authentication")
        equal(dict(error.trailing_metadata())["grpc-retry-pushback-ms"], "-1")


def kept(proxy):
    with calling(proxy, [DENIED]) as (_, channel):
        error = refused(channel)
        equal(error.code(), grpc.StatusCode.PERMISSION_DENIED)
        equal(error.details(), "not with this key")


def own_key(proxy):
    with calling(proxy, [GOOD]) as (talk, channel):
        error = refused(channel, metadata=[("authorization", "Bearer " + LIMITED)])
        equal(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        equal(error.details(), "50% too much")
        equal(talk.asked, [LIMITED])


def main():
    proxy = sys.argv[1]
    failed = False
    for case in (unary, late_refusal, large_messages, server_streaming, client_streaming,
                 bidirectional_streaming, rate_limited, rate_limited_and_back, permanent, kept,
                 own_key):
        began = time.monotonic()
        try:
            case(proxy)
        except Exception:
            failed = True
            print(f"FAILED  {case.__name__}")
            traceback.print_exc()
        else:
            print(f"ok      {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
