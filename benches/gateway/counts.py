"""Counts the instructions and the system calls of a proxy for a request.

One client sends requests one after the other over one connection. Counts are differences of two runs, so that starting
costs nothing. Instructions are those in user space.

Those of the gateway are attributed to the source file they come from, also where a function was inlined.
"""

import collections
import os
import re
import tempfile
from pathlib import Path

from proxies import Proxies
from traffic import ask

FEW, MANY = 200, 1200

# Where a file or a function belongs. The first match counts.
PARTS = [
    ("the layer", r"\bsrc/(failover|inspect|model_scope|policy|pool|replay|telemetry)/|tower_key_failover::"),
    ("the gateway", r"\bgateway/src/|key_failover_gateway::"),
    ("hyper-util: client pool, protocol detection", r"/(hyper-util|hyper-rustls)-\d|hyper_util::|hyper_rustls::"),
    ("hyper: HTTP/1.1", r"/(hyper|httparse|httpdate|itoa|want|try-lock)-\d|hyper::"),
    ("header maps, URIs, bodies", r"/(http|http-body|http-body-util|bytes|fnv)-\d|\b(http|http_body|bytes)::"),
    ("tokio: tasks, timers, sockets", r"/(tokio|mio|socket2|futures-[a-z]+|parking_lot[a-z_]*)-\d|\b(tokio|mio)::"),
    ("malloc and free", r"(malloc|arena)\.c$|mimalloc|\bmi_"),
    ("memory copies and comparisons", r"(mem[a-z]+|str[a-z]+)[-_a-z0-9]*\.(S|c)$"),
    ("serde_json", r"/serde[a-z_]*-\d|serde"),
]

# Code of the standard library belongs to the function into which it was inlined.
STANDARD = r"/(core|alloc|std)/src/|/library/|hashbrown"


def run(start, tool, count, headers):
    """Runs a proxy under a tool while it serves requests."""
    with start(under=tool) as (port, process):
        ask(port, count, headers)
        # A tool passes the signal on, or is the parent of the proxy.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if tool[0] == "strace":
            os.kill(int(children[0]), 15)
        else:
            process.terminate()
        process.wait()


def instructions(start, count, headers):
    """The instructions of each part."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        tool = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        run(start, tool, count, headers)
        names, costs, is_call = {}, collections.Counter(), False
        own, inlined, function = "", "", ""
        for text in Path(out).read_text().splitlines():
            name = re.match(r"(fl|fi|fe|fn|cfi|cfl|cfn)=\((\d+)\)(?: (.*))?", text)
            if name:
                kind, number, new = name.groups()
                kind = kind.removeprefix("c") if kind.startswith("c") else kind
                space = "fn" if kind == "fn" else "file"
                if new:
                    names[space, number] = new
                if text.startswith("c"):
                    continue
                if kind == "fl":
                    own = inlined = names[space, number]
                elif kind == "fn":
                    function, inlined = names[space, number], own
                else:
                    inlined = names[space, number]
            elif text.startswith("calls="):
                is_call = True
            elif re.match(r"[+\-*\d]", text):
                # The line after `calls` is the cost of the callee, which has its own.
                if not is_call:
                    costs[part_of(own, inlined, function)] += int(text.split()[1])
                is_call = False
        return costs


def system_calls(start, count, headers):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        run(start, ["strace", "-f", "-qq", "-c", "-o", out], count, headers)
        calls = collections.Counter()
        for text in Path(out).read_text().splitlines():
            words = text.split()
            if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
                calls[words[-1]] += int(words[3])
        return calls


def per_request(counted, start, headers):
    few, many = counted(start, FEW, headers), counted(start, MANY, headers)
    difference = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
    return dict(sorted(difference.items(), key=lambda item: -item[1]))


def part_of(own, inlined, function):
    for place in (inlined, own, function):
        if place and not re.search(STANDARD, place):
            for part, pattern in PARTS:
                if re.search(pattern, place):
                    return part
    return "other"


def print_counts(name, start, headers=(), attributed=False):
    costs = per_request(instructions, start, headers)
    print(f"{name}\n{sum(costs.values()):10,.0f}  instructions per request")
    for part, cost in costs.items():
        if attributed:
            print(f"{cost:10,.0f}    {part}")
    calls = per_request(system_calls, start, headers)
    print(f"{sum(calls.values()):10.2f}  system calls per request")
    for call, count in calls.items():
        if count >= 0.01:
            print(f"{count:10.2f}    {call}", flush=True)


def counts(builds, flags):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        # One process, which the tools follow.
        others, single = Proxies(folder, None, 1), "master_process off;"
        with others.upstream() as (upstream, _):
            for name, binary in builds.items():
                print_counts_of_build(name, Proxies(folder, binary, 1), upstream, flags)
            print_counts("nginx", lambda under: others.plain_nginx(upstream, under, single))
            print_counts("nginx with failover", lambda under: others.failover_nginx(upstream, under, single))


def print_counts_of_build(name, proxies, upstream, flags):
    gateway = lambda under: proxies.gateway(upstream, flags, under)
    print_counts(name, gateway, attributed=True)
    no_scope = lambda under: proxies.gateway(upstream, ["--scope", "off", *flags], under)
    print_counts(f"{name}, --scope off", no_scope)
    own = {"x-api-key": "sk-ant-key-of-the-client"}
    print_counts(f"{name}, clients with their own key", gateway, own)
