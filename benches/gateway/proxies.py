"""The proxies that are compared, and the upstream behind them.

Each is a process that listens on a port of loopback. nginx and haproxy are configured as for a gateway: they keep
connections to the upstream open, add the key, and log no requests.
"""

import os
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from traffic import KEYS, REPLY, REPLY_HEADERS, free_port, wait_until_open

NGINX = """
daemon off; worker_processes {workers}; {more}
pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type application/json;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    {http}
}}
"""

HAPROXY = """
global
    nbthread {workers}
    maxconn 4096
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 600s
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    http-request set-header x-api-key {key}
    default_backend provider
backend provider
    server provider 127.0.0.1:{upstream}
"""


class Proxies:
    def __init__(self, folder, gateway, workers):
        self.folder = Path(folder)
        self.gateway_binary = gateway
        self.workers = workers
        self.certificate = self.folder / "certificate"
        self.private_key = self.folder / "key"

    @contextmanager
    def started(self, command, port, env=None):
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_open(port)
            yield port, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()

    def nginx(self, port, http, under=(), more=""):
        # A port can be used again after its proxy has ended.
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        # Workers of root run as another user.
        folder.chmod(0o777)
        text = NGINX.format(folder=folder, workers=self.workers, http=http, more=more)
        config = folder / "nginx.conf"
        config.write_text(text)
        return self.started([*under, "nginx", "-c", str(config)], port)

    def upstream(self, protocol="http"):
        """Responds at once. The protocol is `http`, `https`, or `h2`, which is HTTP/2 if the client offers it."""
        port = free_port()
        options = {"http": "", "https": "ssl", "h2": "ssl http2"}[protocol]
        headers = "".join(f"add_header {name} {value};" for name, value in REPLY_HEADERS.items())
        tls = ""
        if options:
            self.make_certificate()
            tls = f"ssl_certificate {self.certificate}; ssl_certificate_key {self.private_key};"
        server = f"listen 127.0.0.1:{port} {options}; {tls} {headers}"
        return self.nginx(port, f"server {{ {server} location / {{ return 200 '{REPLY}'; }} }}")

    def make_certificate(self):
        if not self.certificate.exists():
            command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
            command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
            command += " -addext basicConstraints=critical,CA:FALSE"
            out = ["-keyout", str(self.private_key), "-out", str(self.certificate)]
            subprocess.run([*command.split(), *out], check=True, stderr=subprocess.DEVNULL)

    def plain_nginx(self, upstream, under=(), more="", tls=False):
        """Adds the key. Without failover."""
        port = free_port()
        servers = pool("provider", [upstream]) + self.adds_key(port, KEYS[0], tls)
        return self.nginx(port, servers, under, more)

    def failover_nginx(self, upstream, under=(), more=""):
        """The usual failover: one hop for each key, and the next hop after a 429."""
        port, hops = free_port(), [free_port() for _ in KEYS]
        servers = pool("provider", [upstream]) + pool("keys", hops)
        retry = "proxy_next_upstream error timeout http_429 non_idempotent;"
        servers += proxy(port, "http://keys", retry)
        servers += "".join(self.adds_key(hop, key) for hop, key in zip(hops, KEYS))
        return self.nginx(port, servers, under, more)

    def adds_key(self, port, key, tls=False):
        settings = f"proxy_set_header x-api-key {key};"
        if tls:
            settings += f"proxy_ssl_trusted_certificate {self.certificate}; proxy_ssl_verify on;"
            settings += "proxy_ssl_name localhost; proxy_ssl_server_name on;"
        return proxy(port, "https://provider" if tls else "http://provider", settings)

    def haproxy(self, upstream, under=()):
        port = free_port()
        config = self.folder / f"{port}.cfg"
        values = {"workers": self.workers, "port": port, "upstream": upstream, "key": KEYS[0]}
        config.write_text(HAPROXY.format(**values))
        return self.started([*under, "haproxy", "-db", "-f", str(config)], port)

    def gateway(self, upstream, flags=(), under=(), tls=False):
        """Three keys and the Anthropic policy."""
        port = free_port()
        address = f"https://localhost:{upstream}" if tls else f"http://127.0.0.1:{upstream}"
        command = [*under, self.gateway_binary, "--provider", "anthropic", "--upstream", address]
        command += ["--listen", f"127.0.0.1:{port}", *flags]
        env = dict(os.environ, GATEWAY_KEYS=",".join(KEYS))
        if tls:
            env["SSL_CERT_FILE"] = str(self.certificate)
        return self.started(command, port, env)


def pool(name, ports):
    servers = "".join(f"server 127.0.0.1:{port};" for port in ports)
    return f"upstream {name} {{ {servers} keepalive 64; keepalive_requests 1000000000; }}\n"


def proxy(port, to, settings):
    keeps_open = 'proxy_http_version 1.1; proxy_set_header connection "";'
    location = f"location / {{ proxy_pass {to}; {keeps_open} {settings} }}"
    return f"server {{ listen 127.0.0.1:{port}; {location} }}\n"
