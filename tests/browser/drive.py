"""Drives the gateway's status page in headless Chromium.

    python3 tests/browser/drive.py target/debug/key-failover-gateway [directory for pictures]

`tests/browser/run` builds the gateway and installs the browser first. A fake provider on loopback
answers by the key. Prints a line for each thing that is to hold, and exits with 1 if one does not.
Takes some 20 seconds.
"""

import contextlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import traceback
import urllib.error
import urllib.request

from webdriver import REBOUND, Browser, until

TOKEN = "the-operators-token"
HTML = "<img src=x onerror=alert(1)><b>bold</b>"

for name in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)


class Server(http.server.ThreadingHTTPServer):
    """On a port of its own of loopback."""

    daemon_threads = True

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                status, headers, body = answer(self)
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = handle_one

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def provider(request):
    """Its keys say what becomes of them: `revoked-...`, `limited-90-...`."""
    key = request.headers["authorization"].removeprefix("Bearer ")
    limited = re.match(r"limited-(\d+)-", key)
    if limited:
        return 429, {"retry-after": limited[1]}, b"{}"
    return (401 if key.startswith("revoked-") else 200), {}, b"{}"


def neighbour(_):
    return 200, {"content-type": "text/html"}, b"<!doctype html><title>another origin</title>"


@contextlib.contextmanager
def gateway(program, upstream, keys):
    """A gateway with the lines `keys` in its key file; where it listens, and its admin."""
    with tempfile.TemporaryDirectory(prefix="gateway-browser-") as directory:
        file = pathlib.Path(directory) / "keys"
        file.write_text("\n".join(keys), encoding="utf-8")
        command = [program, "--provider", "openai", "--upstream", upstream, "--keys-file", str(file),
                   "--listen", "127.0.0.1:0", "--admin", "0", "--byok", "never"]
        environment = {**os.environ, "GATEWAY_ADMIN_TOKEN": TOKEN}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            said = [process.stdout.readline().split() for _ in range(2)]
            yield said[0][-1], said[1][-1], file
        finally:
            process.terminate()
            process.wait(timeout=20)


def post(url):
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(url, b"{}", method="POST"), timeout=20).read()


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


THREE = [f"{HTML} = limited-90-key-000000001", "team-b = revoked-key-0000000002", "good-key-00000000000003"]


class Page:
    """The status page of a gateway with three keys, before anything has happened."""

    def __init__(self, browser, url, admin, file):
        self.browser, self.url, self.admin, self.file = browser, url, admin, file

    def states(self):
        return self.browser.texts("#keys .state")

    def shows(self, *states):
        """Waits until the states begin so."""
        def are_there():
            shown = self.states()
            return len(shown) == len(states) and all(map(str.startswith, shown, states))
        until(are_there, f"{states}, not {self.states()}")

    def press(self, verb, row):
        self.browser.click(f"#keys tbody tr:nth-child({row + 1}) .{verb}")

    def give(self, token):
        until(lambda: self.browser.run("return document.querySelector('#ask').open"), "the question")
        self.browser.type("#token", token)
        self.browser.click("#ask .main")

    def server_states(self):
        return [key["state"] for key in get(self.admin + "/keys")]


def the_keys_are_shown_with_their_states(page):
    page.shows("valid", "valid", "valid")
    assert page.browser.texts("#counts strong") == ["3", "0", "0"]
    post(page.url)
    page.shows("cooling down for 1 min", "permanently marked", "valid")
    assert page.browser.texts("#counts strong") == ["1", "1", "1"]
    assert page.browser.texts("#keys .reason") == ["rate limited", "unauthorized", ""]
    assert page.browser.texts("#keys .served") == ["0", "0", "1"]
    assert page.browser.texts("#keys .refused") == ["1", "1", "0"]
    assert "openai at http://127.0.0.1:" in page.browser.text("#about")
    until(lambda: "team-b is permanently marked" in page.browser.text("#news"), "the news")


def a_cooldown_counts_down(page):
    post(page.url)
    page.shows("cooling down for", "permanently marked", "valid")

    def seconds():
        minutes, rest = re.search(r"(\d+) min (\d+) s|$", page.states()[0]).groups()
        return int(minutes) * 60 + int(rest)

    first = seconds()
    assert 80 <= first <= 90, first
    until(lambda: seconds() == first - 1, "one second less")
    until(lambda: seconds() == first - 2, "two seconds less")


def a_failover_is_shown(page):
    assert page.browser.text("#no-failovers") == "None yet."
    post(page.url + "/v1/responses?secret=1")
    row = until(lambda: page.browser.texts("#failovers tbody tr"), "the failover")[0]
    for part in ["POST /v1/responses", "429", "rate limited: cooling down", "team-b", "401", "200"]:
        assert part in row, (part, row)
    assert "secret" not in row


def a_label_is_text(page):
    page.shows("valid", "valid", "valid")
    assert HTML in page.browser.text("#keys tbody th")
    post(page.url)
    until(lambda: HTML in page.browser.text("#failovers tbody"), "the label in the failovers")
    until(lambda: HTML in page.browser.text("#news"), "the label in the news")
    assert page.browser.run("return document.querySelectorAll('img, tbody b').length") == 0


def a_key_is_disabled_and_reinstated_with_the_token(page):
    page.shows("valid", "valid", "valid")
    assert page.browser.texts("#keys td.action") == ["Disable"] * 3
    page.press("disable", 2)
    page.give(TOKEN)
    page.shows("valid", "valid", "permanently marked")
    assert page.browser.texts("#keys td.action") == ["Disable", "Disable", "Reinstate"]
    assert page.server_states() == ["valid", "valid", "permanent"]
    # The token is not asked for again.
    page.press("reinstate", 2)
    page.shows("valid", "valid", "valid")
    page.press("disable", 0)
    page.shows("permanently marked", "valid", "valid")
    kept = page.browser.run("return [localStorage.length, sessionStorage.length, document.cookie]")
    assert kept == [0, 0, ""], kept


def a_wrong_token_changes_nothing_and_says_so(page):
    page.shows("valid", "valid", "valid")
    page.press("disable", 1)
    page.give("wrong")
    until(lambda: "team-b is unchanged: this is not the admin token" in page.browser.text("#news"), "the news")
    assert page.server_states() == ["valid", "valid", "valid"]
    # The refusal itself stands in the console.
    assert all("401" in message for message in page.browser.console())
    page.press("disable", 1)
    page.give(TOKEN)
    page.shows("valid", "permanently marked", "valid")


def asking_for_the_token_can_be_cancelled(page):
    page.shows("valid", "valid", "valid")
    page.press("disable", 1)
    until(lambda: page.browser.run("return document.querySelector('#ask').open"), "the question")
    page.browser.click("#cancel")
    until(lambda: not page.browser.run("return document.querySelector('#ask').open"), "no question")
    assert page.server_states() == ["valid", "valid", "valid"]


def a_list_that_changes_is_shown(page):
    page.shows("valid", "valid", "valid")
    page.file.write_text("[org]\nteam-b = revoked-key-0000000002\ngood-key-00000000000003\n", encoding="utf-8")
    page.shows("valid", "valid")
    assert page.browser.texts("#groups li") == ["org 2 of 2 valid"]
    assert page.browser.texts("#keys td.group") == ["org", "org"]


def another_origin_neither_reads_nor_changes(page):
    other = Server(neighbour)
    attack = """
        const [url, init] = arguments;
        return fetch(url, init).then((answer) => `${answer.type} ${answer.status}`, () => "failed");
    """
    with_token = {"authorization": f"Bearer {TOKEN}"}
    names = [page.admin, page.admin.replace("127.0.0.1", "localhost")]
    for origin in [other.url, other.url.replace("127.0.0.1", "localhost")]:
        page.browser.open(origin)
        for admin in names:
            for init in [{}, {"headers": with_token}]:
                assert page.browser.run(attack, admin + "/keys", init) == "failed"
            opaque = page.browser.run(attack, admin + "/keys", {"mode": "no-cors"})
            assert opaque in ("failed", "opaque 0"), opaque
            change = admin + "/keys/2/disable"
            for init in [{}, {"mode": "no-cors"}, {"headers": with_token},
                         {"mode": "no-cors", "headers": with_token}, {"credentials": "include"}]:
                answer = page.browser.run(attack, change, {"method": "POST", **init})
                assert answer in ("failed", "opaque 0"), answer
            # Nor is it to be had in a frame, or as a script.
            script = """
                const [name, url] = arguments;
                return new Promise((resolve) => {
                    const made = document.createElement(name);
                    made.onload = () => {
                        try { resolve(made.contentDocument ? "read" : "loaded"); } catch { resolve("closed"); }
                    };
                    made.onerror = () => resolve("failed");
                    made.src = url;
                    document.body.append(made);
                });
            """
            assert page.browser.run(script, "script", admin + "/script.js") == "failed"
            assert page.browser.run(script, "iframe", admin + "/") != "read"
    assert page.server_states() == ["valid", "valid", "valid"]
    page.browser.console()  # full of refusals, as it should be
    page.browser.requested()


def a_name_that_was_made_to_point_here_is_not_answered_to(page):
    port = page.admin.rsplit(":")[-1]
    page.browser.open(f"http://{REBOUND}:{port}/keys")
    assert "the host must be localhost" in page.browser.text("body")
    # Its pages are of one origin with the admin, as far as the browser knows.
    script = "return fetch('/keys/2/disable', arguments[0]).then((answer) => answer.status)"
    for headers in [{}, {"authorization": f"Bearer {TOKEN}"}]:
        assert page.browser.run(script, {"method": "POST", "headers": headers}) == 421
    assert page.server_states() == ["valid", "valid", "valid"]
    page.browser.console()  # full of refusals, as it should be
    page.browser.requested()


def a_gateway_that_is_gone_is_said_to_be(page):
    page.shows("valid", "valid", "valid")
    page.browser.chrome("Network.enable")
    page.browser.chrome("Network.emulateNetworkConditions", offline=True, latency=0,
                        downloadThroughput=-1, uploadThroughput=-1)
    until(lambda: "does not respond" in page.browser.text("#updated"), "the notice")
    page.browser.chrome("Network.emulateNetworkConditions", offline=False, latency=0,
                        downloadThroughput=-1, uploadThroughput=-1)
    until(lambda: page.browser.text("#updated").startswith("as of"), "the notice's end")
    page.browser.console()  # requests that failed


TESTS = [the_keys_are_shown_with_their_states, a_cooldown_counts_down, a_failover_is_shown, a_label_is_text,
         a_key_is_disabled_and_reinstated_with_the_token, a_wrong_token_changes_nothing_and_says_so,
         asking_for_the_token_can_be_cancelled, a_list_that_changes_is_shown,
         another_origin_neither_reads_nor_changes, a_name_that_was_made_to_point_here_is_not_answered_to,
         a_gateway_that_is_gone_is_said_to_be]


def check(test, browser, program, upstream):
    with gateway(program, upstream, THREE) as (url, admin, file):
        browser.console(), browser.requested()  # what an earlier test left
        browser.open(admin + "/")
        test(Page(browser, url, admin, file))
        assert browser.console() == [], "an error in the console"
        strays = [at for at in browser.requested() if not at.startswith((admin + "/", "data:"))]
        assert strays == [], strays
        browser.open("about:blank")


def forty():
    lines = []
    for number in range(40):
        if number % 10 == 0:
            lines.append(f"[org-{number // 10 + 1}]" if number < 30 else "[]")
        kind = {1: "revoked", 3: "limited-45", 14: "limited-5000", 25: "limited-100000"}.get(number, "good")
        label = "" if number % 4 == 3 else f"team-{number} = "
        lines.append(f"{label}{kind}-key-{number:016}")
    return lines


def pictures(directory, browser, program, upstream):
    three = ["primary = limited-90-key-000000001", "team-b = revoked-key-0000000002", "good-key-00000000000003"]
    for name, keys in [("three", three), ("forty", forty())]:
        with gateway(program, upstream, keys) as (url, admin, _):
            for at in range(3):
                post(f"{url}/v1/chat/completions/{at}")
            if name == "forty":
                for label in ["team-0", "team-2"]:
                    request = urllib.request.Request(f"{admin}/keys/{label}/disable", b"",
                                                     {"authorization": f"Bearer {TOKEN}"})
                    urllib.request.urlopen(request, timeout=20).read()
                    post(f"{url}/v1/models")
            for scheme in ["light", "dark"]:
                for width in [1280, 390]:
                    browser.look(scheme, width)
                    browser.open(admin + "/")
                    until(lambda: browser.texts("#keys tbody tr"), "the keys")
                    browser.picture(f"{directory}/{name}-{scheme}-{width}.png")
            browser.look("light")
            browser.click("#keys .action button")
            browser.picture(f"{directory}/{name}-ask.png")


def main():
    program, *rest = sys.argv[1:]
    upstream = Server(provider).url
    failed = 0
    browser = Browser()
    try:
        for test in TESTS:
            try:
                check(test, browser, program, upstream)
                print(f"ok      {test.__name__.replace('_', ' ')}", flush=True)
            except Exception:
                failed += 1
                print(f"FAILED  {test.__name__.replace('_', ' ')}", flush=True)
                traceback.print_exc()
        for directory in rest:
            pictures(directory, browser, program, upstream)
    finally:
        browser.close()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
