"""Drive Chromium through its WebDriver, with nothing but the standard library."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
AXE = tuple(f"{place}node_modules/axe-core/axe.min.js" for place in (".venv/axe/", ""))
HINT = "apt-get install chromium chromium-driver"


def missing() -> str:
    """Why no browser can be driven; empty if one can."""
    if not any(map(shutil.which, CHROMIUM)) or not shutil.which("chromedriver"):
        return f"no Chromium with its driver here: {HINT}"
    return ""


def axe_source() -> str | None:
    """The text of axe-core: of ``ABTEST_AXE``, or as npm installed it for ``make test`` or here."""
    root = Path(__file__).parents[3]
    places = [os.environ.get("ABTEST_AXE", ""), *(str(root / place) for place in AXE)]
    for place in places:
        if place and Path(place).is_file():
            return Path(place).read_text(encoding="utf-8")
    return None


class Browser:
    """One headless Chromium with an empty profile; network addresses resolve to nothing."""

    def __init__(self, profile: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}"
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}", "--allowed-origins=*"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._session = ""
        try:
            self._session = self._start(profile)
        except BaseException:
            self._driver.kill()
            raise

    def _start(self, profile: Path) -> str:
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
        ]
        binary = next(filter(None, map(shutil.which, CHROMIUM)))
        wanted = {
            "goog:chromeOptions": {"args": arguments, "binary": binary},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        for _ in range(100):
            try:
                self._send("GET", "/status")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        found = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        return f"/session/{found['sessionId']}"

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            if self._session:
                self._send("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(timeout=20)

    def open(self, page: Path, *, width: int, dark: bool = False) -> None:
        """Show a file in a window of this width."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=800,
                     deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media="", features=features)
        self._send("POST", f"{self._session}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """The value that a script returns."""
        body = {"script": script, "args": list(arguments)}
        return self._send("POST", f"{self._session}/execute/sync", body)

    def run_async(self, script: str) -> Any:
        """The value that a script hands to its last argument."""
        return self._send("POST", f"{self._session}/execute/async", {"script": script, "args": []})

    def command(self, name: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": name, "params": parameters}
        return self._send("POST", f"{self._session}/goog/cdp/execute", body)

    def log(self) -> list[dict[str, Any]]:
        """What the page wrote to the console since the last call."""
        found: list[dict[str, Any]] = self._send("POST", f"{self._session}/se/log",
                                                 {"type": "browser"})  # fmt: skip
        return found
