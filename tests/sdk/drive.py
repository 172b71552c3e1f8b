"""Drives the official SDKs against a gateway that has this crate's layer in it.

    pip install -r tests/sdk/requirements.txt
    python tests/sdk/drive.py target/debug/key-failover-gateway [further arguments for the gateway]

`tests/sdk/run` does both.

For each SDK there is a fake provider on loopback whose answer depends on the key, and a gateway in
front of it. Four things are to hold:

- an answer comes through although the first key is refused,
- so does a stream,
- when the only key is rate-limited for a second, the SDK waits and then succeeds,
- when it is rate-limited for an hour, the SDK fails at once, with its own rate-limit error.

Prints a line for each and exits with 1 if one fails. Takes some 20 seconds.
"""

import contextlib
import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback

# What a client that has no key of its own sends: the gateway runs with `--byok never`.
PLACEHOLDER = "placeholder"
PROMPT = "Say hello."
REPLY = ["Hello", " from", " upstream"]
TEXT = "".join(REPLY)

# The keys, by what the fake provider makes of them.
BAD, GOOD, SOON, LATER = "key-refused-0001", "key-good-000002", "key-soon-000003", "key-later-00004"

# The SDKs must not go round the gateway.
for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)


def sse(events):
    """Server-sent events: pairs of a name, or none, and data."""
    lines = []
    for name, data in events:
        text = data if isinstance(data, str) else json.dumps(data)
        lines.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
    return lines


class OpenAi:
    provider = "openai"

    refusal = (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key",
                               "type": "invalid_request_error", "param": None}})
    limit = {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded",
                       "type": "requests", "param": None}}

    def key(self, headers, _query):
        return headers.get("authorization", "").removeprefix("Bearer ")

    def is_stream(self, _path, body):
        return body.get("stream", False)

    def reply(self):
        return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "finish_reason": "stop",
             "message": {"role": "assistant", "content": TEXT}}]}

    def events(self):
        chunks = [{"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": {"content": part}}]} for part in REPLY]
        return sse([(None, chunk) for chunk in chunks] + [(None, "[DONE]")])

    def client(self, url):
        import openai
        self.limit_error = openai.RateLimitError
        return openai.OpenAI(api_key=PLACEHOLDER, base_url=url + "/v1")

    def ask(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        return client.chat.completions.create(model="m", messages=messages).choices[0].message.content

    def stream(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        chunks = client.chat.completions.create(model="m", messages=messages, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


class Anthropic:
    provider = "anthropic"

    refusal = (401, {"type": "error", "error": {"type": "authentication_error",
                                                "message": "invalid x-api-key"}})
    limit = {"type": "error", "error": {"type": "rate_limit_error", "message": "Too many requests"}}

    def key(self, headers, _query):
        assert "authorization" not in headers, "the client's own credential reached the provider"
        return headers.get("x-api-key", "")

    def is_stream(self, _path, body):
        return body.get("stream", False)

    def reply(self):
        return {**self.message(), "content": [{"type": "text", "text": TEXT}],
                "stop_reason": "end_turn"}

    def message(self):
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                "stop_reason": None, "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1}}

    def events(self):
        events = [
            {"type": "message_start", "message": self.message()},
            {"type": "content_block_start", "index": 0,
             "content_block": {"type": "text", "text": ""}},
            *({"type": "content_block_delta", "index": 0,
               "delta": {"type": "text_delta", "text": part}} for part in REPLY),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "usage": {"output_tokens": 3},
             "delta": {"stop_reason": "end_turn", "stop_sequence": None}},
            {"type": "message_stop"},
        ]
        return sse([(event["type"], event) for event in events])

    def client(self, url):
        import anthropic
        self.limit_error = anthropic.RateLimitError
        return anthropic.Anthropic(api_key=PLACEHOLDER, base_url=url)

    def ask(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        return client.messages.create(model="m", max_tokens=9, messages=messages).content[0].text

    def stream(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            return "".join(stream.text_stream)


class Gemini:
    provider = "gemini"
    # It retries only where it is told to, and goes by its own clock.

    refusal = (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT",
                               "message": "API key not valid.", "details": [
                                   {"@type": "type.googleapis.com/google.rpc.ErrorInfo",
                                    "reason": "API_KEY_INVALID"}]}})
    limit = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Slow down."}}

    def key(self, headers, query):
        assert "key=" not in query, "the client's own credential reached the provider"
        return headers.get("x-goog-api-key", "")

    def is_stream(self, path, _body):
        return "streamGenerateContent" in path

    def candidate(self, text):
        return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]}

    def reply(self):
        return self.candidate(TEXT)

    def events(self):
        return sse([(None, self.candidate(part)) for part in REPLY])

    def client(self, url, patient=False):
        from google import genai
        from google.genai import errors, types
        self.limit_error = errors.ClientError
        retry = types.HttpRetryOptions(attempts=4, initial_delay=0.6, exp_base=2, jitter=0)
        options = types.HttpOptions(base_url=url, retry_options=retry if patient else None)
        return genai.Client(api_key=PLACEHOLDER, http_options=options)

    def patient(self, url):
        return self.client(url, patient=True)

    def ask(self, client):
        return client.models.generate_content(model="m", contents=PROMPT).text

    def stream(self, client):
        chunks = client.models.generate_content_stream(model="m", contents=PROMPT)
        return "".join(chunk.text or "" for chunk in chunks)


class Cohere:
    provider = "cohere"
    # It does not know `x-should-retry` and sleeps for up to a minute: it fails at once only
    # without retries.

    refusal = (401, {"message": "invalid api token"})
    limit = {"message": "Please wait and try again later"}

    def key(self, headers, _query):
        return headers.get("authorization", "").removeprefix("Bearer ")

    def is_stream(self, _path, body):
        return body.get("stream", False)

    def reply(self):
        return {"id": "1", "finish_reason": "COMPLETE", "message": {
            "role": "assistant", "content": [{"type": "text", "text": TEXT}]}}

    def events(self):
        events = [
            {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant"}}},
            *({"type": "content-delta", "index": 0,
               "delta": {"message": {"content": {"text": part}}}} for part in REPLY),
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
        ]
        return sse([(event["type"], event) for event in events])

    def client(self, url, retries=0):
        import cohere
        self.limit_error = cohere.TooManyRequestsError
        return cohere.ClientV2(api_key=PLACEHOLDER, base_url=url, max_retries=retries)

    def patient(self, url):
        return self.client(url, retries=2)

    def ask(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        return client.chat(model="m", messages=messages).message.content[0].text

    def stream(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        events = client.chat_stream(model="m", messages=messages)
        return "".join(event.delta.message.content.text for event in events
                       if event.type == "content-delta")


class Mistral:
    provider = "mistral"
    # It retries only where it is told to.

    refusal = (401, {"detail": "Unauthorized"})
    limit = {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited",
             "param": None, "code": "1300", "raw_status_code": 429}

    key = OpenAi.key
    is_stream = OpenAi.is_stream

    def reply(self):
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {**OpenAi.reply(self), "usage": usage}

    def events(self):
        chunks = [{"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
                  for part in REPLY]
        return sse([(None, chunk) for chunk in chunks] + [(None, "[DONE]")])

    def client(self, url, patient=False):
        from mistralai.client import Mistral as Client
        from mistralai.client.errors import SDKError
        from mistralai.client.utils import BackoffStrategy, RetryConfig
        self.limit_error = SDKError
        backoff = BackoffStrategy(600, 2000, 2, 10_000)
        retry = RetryConfig("backoff", backoff, False) if patient else None
        return Client(api_key=PLACEHOLDER, server_url=url, retry_config=retry)

    def patient(self, url):
        return self.client(url, patient=True)

    def ask(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        return client.chat.complete(model="m", messages=messages).choices[0].message.content

    def stream(self, client):
        messages = [{"role": "user", "content": PROMPT}]
        with client.chat.stream(model="m", messages=messages) as events:
            return "".join(event.data.choices[0].delta.content for event in events)


class Upstream(http.server.ThreadingHTTPServer):
    """The fake provider. Remembers the keys it saw."""

    daemon_threads = True

    def __init__(self, sdk):
        super().__init__(("127.0.0.1", 0), Handler)
        self.sdk = sdk
        self.keys = []
        self.lock = threading.Lock()

    def saw(self, key):
        """Notes the key; whether it is the first time."""
        with self.lock:
            self.keys.append(key)
            return self.keys.count(key) == 1


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        sdk = self.server.sdk
        body = json.loads(self.body() or b"{}")
        path, _, query = self.path.partition("?")
        try:
            key = sdk.key({name.lower(): value for name, value in self.headers.items()}, query)
        except AssertionError as leak:
            key = str(leak)
        first = self.server.saw(key)
        if key == BAD:
            self.answer(*sdk.refusal)
        elif key == LATER:
            self.answer(429, sdk.limit, {"retry-after": "3600"})
        elif key == SOON and first:
            self.answer(429, sdk.limit, {"retry-after": "1"})
        elif key not in (GOOD, SOON):
            self.answer(500, {"error": {"message": f"an unknown key: {key}"}})
        elif sdk.is_stream(path, body):
            self.stream(sdk.events())
        else:
            self.answer(200, sdk.reply())

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, events):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in [*events, ""]:
            data = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running(command, sdk, keys):
    """A fake provider with a gateway in front of it: the provider, and the gateway's URL."""
    with Upstream(sdk) as upstream:
        threading.Thread(target=upstream.serve_forever, args=[0.05], daemon=True).start()
        port = upstream.server_address[1]
        gateway = subprocess.Popen(
            [*command, "--provider", sdk.provider, "--upstream", f"http://127.0.0.1:{port}",
             "--listen", "127.0.0.1:0", "--byok", "never"],
            env={**os.environ, "GATEWAY_KEYS": ",".join(keys)},
            stdout=subprocess.PIPE, text=True)
        try:
            yield upstream, listening(gateway)
        finally:
            gateway.kill()
            gateway.wait()
            upstream.shutdown()


def listening(gateway):
    """The URL that the gateway prints once it is ready."""
    lines = queue.Queue()

    def read():
        for line in gateway.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := lines.get(timeout=10)) is not None:
        if line.startswith("gateway listening on "):
            return line.removeprefix("gateway listening on ").strip()
    raise AssertionError(f"the gateway ended with status {gateway.wait()}")


def refused_first(sdk, upstream, url):
    assert sdk.ask(sdk.client(url)) == TEXT
    assert upstream.keys == [BAD, GOOD], upstream.keys


def streamed(sdk, upstream, url):
    assert sdk.stream(sdk.client(url)) == TEXT
    assert upstream.keys == [BAD, GOOD], upstream.keys


def exhausted_soon(sdk, upstream, url):
    started = time.monotonic()
    assert sdk.ask(getattr(sdk, "patient", sdk.client)(url)) == TEXT
    assert time.monotonic() - started >= 1, "the SDK came back too early"
    assert upstream.keys == [SOON, SOON], upstream.keys


def exhausted_for_long(sdk, upstream, url):
    client = sdk.client(url)
    started = time.monotonic()
    try:
        reply = sdk.ask(client)
    except sdk.limit_error as error:
        assert "all configured keys are rate-limited" in str(error), error
    else:
        raise AssertionError(f"an answer: {reply}")
    assert time.monotonic() - started < 2, "the SDK did not fail at once"
    assert upstream.keys == [LATER], upstream.keys


CASES = [
    (refused_first, [BAD, GOOD]),
    (streamed, [BAD, GOOD]),
    (exhausted_soon, [SOON]),
    (exhausted_for_long, [LATER]),
]


def main():
    command = sys.argv[1:]
    if not command:
        sys.exit(__doc__)
    failed = 0
    for sdk in (OpenAi(), Anthropic(), Gemini(), Cohere(), Mistral()):
        for case, keys in CASES:
            name = f"{sdk.provider}: {case.__name__.replace('_', ' ')}"
            started = time.monotonic()
            try:
                with running(command, sdk, keys) as (upstream, url):
                    case(sdk, upstream, url)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"FAILED  {name}", flush=True)
            else:
                print(f"ok      {name} ({time.monotonic() - started:.1f} s)", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
