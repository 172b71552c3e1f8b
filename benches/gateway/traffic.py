"""The request that a client sends, and the response of the upstream."""

import socket
import time

BODY = '{"model":"claude-sonnet-4-5","max_tokens":1024,"messages":[{"role":"user","content":"%s"}]}'
BODY %= "a" * (256 - len(BODY) + 2)
# As an official SDK sends them.
HEADERS = {
    "host": "localhost",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
    "user-agent": "Anthropic/Python 0.68.0",
    "x-stainless-arch": "x64",
    "x-stainless-lang": "python",
    "x-stainless-os": "Linux",
    "x-stainless-package-version": "0.68.0",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "CPython",
}
REPLY = "x" * 300
# The upstream adds content-type, date, server and content-length.
REPLY_HEADERS = {"request-id": "req_011CSHoEeqs5C35K2UUqR7Fy"}

KEYS = ["sk-ant-benchmark-1-aaaaaaaa", "sk-ant-benchmark-2-bbbbbbbb", "sk-ant-benchmark-3-cccccccc"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until_open(port):
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def ask(port, count, headers=()):
    """Sends requests one after the other over one connection."""
    lines = ["POST /v1/messages HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (HEADERS | dict(headers)).items()]
    lines += [f"content-length: {len(BODY)}", "", BODY]
    request = "\r\n".join(lines).encode()
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(count):
        stream.sendall(request)
        received = b""
        while not received.endswith(REPLY.encode()):
            part = stream.recv(65536)
            assert part, received
            received += part
        assert received.startswith(b"HTTP/1.1 200"), received
