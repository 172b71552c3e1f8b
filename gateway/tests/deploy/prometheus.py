"""Lets a real Prometheus scrape a real gateway to which everything has happened that is counted.

    python3 gateway/tests/deploy/prometheus.py target/debug/key-failover-gateway

Each alert must have a condition that becomes true, and each query of the dashboard must find data.
"""

import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
# The upstream refuses keys by their names.
STATUSES = {"revoked": 401, "odd": 403, "limited": 429}
POOLS = {
    "dead": ["revoked-1", "revoked-2"],
    "single": ["revoked-3", "good"],
    "suspected": ["odd-1", "odd-2"],
    "exhausted": ["limited"],
}
SECONDS = 30
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Upstream(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        key = self.headers["authorization"].removeprefix("Bearer ")
        self.send_response(STATUSES.get(key.split("-")[0], 200))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def settings(upstream):
    # No server listens at this port.
    yield 'listen = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nopen = true\nlog = "off"\nredis = "redis://127.0.0.1:9"'
    for pool, keys in POOLS.items():
        keys = [f"key-{number} = {key}" for number, key in enumerate(keys)]
        yield f'[routes.{pool}]\nprefix = "/{pool}"\nprovider = "openai"\nupstream = "{upstream}"'
        yield f"keys = {json.dumps(keys)}\nmax_replay_bytes = 10"


def send(url, body, headers):
    try:
        direct.open(urllib.request.Request(url, body, headers), timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()


def keep_sending(gateway, stop):
    while not stop.is_set():
        for pool in POOLS:
            for body in (b"short", b"longer than max_replay_bytes"):
                send(f"{gateway}/{pool}/", body, {})
        send(f"{gateway}/dead/", b"", {"authorization": "Bearer own-key"})


def result(prometheus, query):
    query = urllib.parse.urlencode({"query": query})
    with direct.open(f"{prometheus}/api/v1/query?{query}", timeout=10) as response:
        found = json.load(response)["data"]["result"]
    return [series for series in found if series["value"][1] != "NaN"]


def queries():
    """The conditions of the alerts, and the queries of the dashboard."""
    rules = (DEPLOY / "prometheus-alerts.yaml").read_text()
    names, conditions = (re.findall(rf"(?m)^ +(?:- )?{it}: (.*)", rules) for it in ("alert", "expr"))
    yield from zip(names, conditions, strict=True)
    for panel in json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$pool", ".*")
            yield panel["title"], query


def started(log, *command, **options):
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
    processes.append(process)
    return process


def addresses(process, log, pattern, count):
    """The addresses that a process says it listens on."""
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        found = re.findall(pattern, pathlib.Path(log.name).read_text())
        if len(found) == count:
            return found
        time.sleep(0.1)
    sys.exit(f"It does not listen: {pathlib.Path(log.name).read_text()}")


def run(gateway, folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = folder / "gateway.toml"
    config.write_text("\n".join(settings(f"http://127.0.0.1:{server.server_port}")))
    with open(folder / "gateway.log", "w") as log:
        secret = {"GATEWAY_REDIS_SECRET": "at-least-sixteen-bytes"}
        process = started(log, gateway, "--config", config, env={**os.environ, **secret})
        clients, admin = addresses(process, log, r"listening on (http://\S+)", 2)
    stop = threading.Event()
    sending = threading.Thread(target=keep_sending, args=(clients, stop), daemon=True)
    sending.start()

    config = folder / "prometheus.json"
    target = {"targets": [admin.removeprefix("http://")]}
    scrape = {"job_name": "gateway", "scrape_interval": "1s", "static_configs": [target]}
    config.write_text(json.dumps({"scrape_configs": [scrape]}))
    with open(folder / "prometheus.log", "w") as log:
        flags = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        process = started(log, "prometheus", *flags, "--web.listen-address=127.0.0.1:0")
        (port,) = addresses(process, log, r'msg="Listening on" address=127\.0\.0\.1:(\d+)', 1)

    waiting = list(queries())
    count, end = len(waiting), time.monotonic() + SECONDS
    while waiting and time.monotonic() < end:
        time.sleep(1)
        waiting = [it for it in waiting if not result(f"http://127.0.0.1:{port}", it[1])]
    stop.set()
    sending.join()
    for name, query in waiting:
        print(f"No data after {SECONDS} s: {name}: {query}")
    print(f"{count - len(waiting)} of {count} conditions of alerts and queries of the dashboard find data.")
    return bool(waiting)


processes = []
with tempfile.TemporaryDirectory() as folder:
    try:
        failed = run(sys.argv[1], pathlib.Path(folder))
    finally:
        for process in processes:
            process.kill()
            process.wait()
sys.exit(failed)
