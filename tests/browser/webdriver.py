"""As much of WebDriver as `drive.py` needs, by the standard library alone."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

# A name that leads to loopback in this browser.
REBOUND = "rebound.test"

# So that the browser asks nobody of its own accord.
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en",
             f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]


class Failed(Exception):
    """What the browser could not do."""


class Browser:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="gateway-browser-")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "started successfully on port " in line:
                port = line.split("started successfully on port ")[1].strip().rstrip(".")
                break
        self.base = f"http://127.0.0.1:{port}/session"
        options = {"args": [*ARGUMENTS, f"--user-data-dir={self.profile}"]}
        always = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = self.call("", {"capabilities": {"alwaysMatch": always}})
        self.base += "/" + session["sessionId"]
        # Its own first page.
        self.open("about:blank")
        self.requested()

    def close(self):
        try:
            self.call("", method="DELETE")
        finally:
            self.driver.terminate()
            self.driver.wait(timeout=20)
            shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failed(json.load(error)["value"]["message"]) from None

    def open(self, url):
        self.call("/url", {"url": url})

    def run(self, script, *arguments):
        """Runs the body of a function, and waits for the promise that it may return."""
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def texts(self, selector):
        """What a person sees of each."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        return self.run(script, selector)

    def text(self, selector):
        return self.texts(selector)[0]

    def click(self, selector, at=0):
        found = self.call("/elements", {"using": "css selector", "value": selector})
        self.call(f"/element/{found[at][ELEMENT]}/click", {})

    def type(self, selector, text):
        found = self.call("/element", {"using": "css selector", "value": selector})
        self.call(f"/element/{found[ELEMENT]}/value", {"text": text})

    def chrome(self, command, **parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, scheme, width=1280):
        """Chooses a color scheme and a window's width."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.chrome("Emulation.setEmulatedMedia", features=[feature])
        self.chrome("Emulation.setDeviceMetricsOverride", width=width, height=900,
                    deviceScaleFactor=1, mobile=False)

    def picture(self, path):
        """The whole page, as far as it goes."""
        data = self.chrome("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def console(self):
        """What the console said since it was last asked."""
        return [entry["message"] for entry in self.call("/se/log", {"type": "browser"})]

    def requested(self):
        """The addresses that were asked for since this was last asked."""
        messages = [json.loads(entry["message"])["message"]
                    for entry in self.call("/se/log", {"type": "performance"})]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]


def until(is_so, what, seconds=20):
    """Asks again and again, and returns the first answer that is true."""
    end = time.monotonic() + seconds
    while True:
        answer = is_so()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
