"""Puts the proxies under load in alternating rounds, and prints the median and the range of each.

The load generator, the proxy and the upstream share the machine. Each measurement starts its proxy anew. A ratio
compares two measurements of the same round.
"""

import fcntl
import os
import re
import statistics
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from proxies import Proxies
from traffic import BODY, HEADERS

CONNECTIONS = 32
CALLER_KEY = {"x-api-key": "sk-ant-key-of-the-client"}


@contextmanager
def locked(file):
    """Holds a file lock, so that several runs on a machine take turns."""
    with ExitStack() as stack:
        if file:
            handle = stack.enter_context(open(file, "w"))
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def requests_per_second(port, seconds, headers):
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
    command += ["--duration", f"{seconds}s", "--script", str(Path(__file__).parent / "post.lua")]
    for name, value in (HEADERS | headers).items():
        # wrk adds its own host.
        if name != "host":
            command += ["--header", f"{name}: {value}"]
    env = dict(os.environ, BENCH_BODY=BODY)
    command.append(f"http://127.0.0.1:{port}/v1/messages")
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    assert "Non-2xx" not in output and "Socket errors" not in output, output
    return float(re.search(r"Requests/sec: +([\d.]+)", output).group(1))


def cpu_seconds(process):
    """The CPU time of a process and its children."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    tasks = [task for pid in [process.pid, *children] for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def measure(start, seconds, headers):
    with start() as (port, process):
        requests_per_second(port, 1, headers)
        before = cpu_seconds(process)
        rate = requests_per_second(port, seconds, headers)
        return rate, (cpu_seconds(process) - before) / (rate * seconds) * 1e6


def compare(contenders, rounds, seconds, lock):
    """Measures all in each round, in alternating order. The first one is the base of the ratios."""
    results = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        with locked(lock):
            for name in names:
                results[name].append(measure(contenders[name][0], seconds, contenders[name][1]))
    base = next(iter(results.values()))
    print("| | requests/s | ratio | CPU us of the proxy |\n|---|---:|---:|---:|")
    for name, measured in results.items():
        rates, times = zip(*measured)
        ratios = [rate / other for rate, (other, _) in zip(rates, base)]
        print(f"| {name} | {span(rates, 0)} | {span(ratios, 2)} | {span(times, 1)} |", flush=True)
    return {name: [rate for rate, _ in measured] for name, measured in results.items()}


def span(values, digits):
    shown = [f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def print_ratio(results, name, other):
    ratios = [left / right for left, right in zip(results[name], results[other])]
    print(f"{name} / {other}: {span(ratios, 2)}")


def plain(builds, workers, rounds, seconds, lock):
    """`builds` are the binaries of the gateway by name."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        others = Proxies(folder, None, workers)
        with others.upstream() as (upstream, _):
            contenders = {
                "nginx": (lambda: others.plain_nginx(upstream), {}),
                "haproxy": (lambda: others.haproxy(upstream), {}),
                "nginx with failover": (lambda: others.failover_nginx(upstream), {}),
            }
            for name, binary in builds.items():
                contenders |= variants(name, Proxies(folder, binary, workers), upstream)
            results = compare(contenders, rounds, seconds, lock)
            print()
            for name in builds:
                print_ratio(results, name, "nginx with failover")
                print_ratio(results, name + NO_SCOPE, name + OWN_KEY)
                print_ratio(results, name, name + OWN_KEY)


def train(builds, workers, seconds):
    """Sends requests of each kind, for a build that counts what it does."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        upstreams = [stack.enter_context(Proxies(folder, None, workers).upstream(it))[0] for it in ("http", "https", "h2")]
        for name, binary in builds.items():
            proxies = Proxies(folder, binary, workers)
            kinds = variants(name, proxies, upstreams[0]) | over_tls(name, proxies, *upstreams[1:])
            for start, headers in kinds.values():
                measure(start, seconds, headers)


NO_SCOPE, OWN_KEY = ", `--scope off`", ", clients with their own key"


def variants(name, proxies, upstream):
    return {
        name: (lambda: proxies.gateway(upstream), {}),
        name + NO_SCOPE: (lambda: proxies.gateway(upstream, ["--scope", "off"]), {}),
        name + OWN_KEY: (lambda: proxies.gateway(upstream), CALLER_KEY),
    }


def tls(builds, workers, rounds, seconds, lock):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        others = Proxies(folder, None, workers)
        https, _ = stack.enter_context(others.upstream("https"))
        http2, _ = stack.enter_context(others.upstream("h2"))
        contenders = {"nginx, HTTP/1.1": (lambda: others.plain_nginx(https, tls=True), {})}
        for name, binary in builds.items():
            proxies = Proxies(folder, binary, workers)
            contenders |= over_tls(name, proxies, https, http2)
        compare(contenders, rounds, seconds, lock)


def over_tls(name, proxies, https, http2):
    return {
        f"{name}, HTTP/1.1": (lambda: proxies.gateway(https, tls=True), {}),
        f"{name}, HTTP/2": (lambda: proxies.gateway(http2, tls=True), {}),
    }
