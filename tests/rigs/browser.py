"""A real browser for tests: headless Chromium over its pipe (Chrome DevTools Protocol), one page at a time."""

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", "--hide-scrollbars"),
)

PATIENCE = 60
"""Seconds without a word of the browser's after which a test gives up."""


class Browser:
    """Says one thing at a time to a page, and keeps what the page complained about."""

    def __init__(self, reading: int, writing: int) -> None:
        self._in = os.fdopen(reading, "rb", buffering=0)
        self._out = os.fdopen(writing, "wb", buffering=0)
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def ask_to_end(self) -> None:
        """Tell the browser to end, which it does with or without an answer."""
        with suppress(BrokenPipeError):
            self._session = None
            self._send("Browser.close")

    def close(self) -> None:
        self._in.close()
        self._out.close()

    def open_tab(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        answer = self._answer_to(self._send(method, **parameters))
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _send(self, method: str, **parameters: Any) -> int:
        """Send a command; return the number that its answer will have."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        return self._number

    def _answer_to(self, number: int) -> dict[str, Any]:
        while (answer := self._read()).get("id") != number:
            self.events.append(answer)
        return answer

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            assert not self._is_quiet(PATIENCE), f"the browser has said nothing for {PATIENCE} s"
            data = self._in.read(1 << 16)
            assert data, "the browser ended"
            self._left += data
        line, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _is_quiet(self, seconds: float) -> bool:
        """Return whether nothing is there to read, nor comes within so many seconds."""
        return b"\0" not in self._left and not select.select([self._in], [], [], seconds)[0]

    def show(self, page: Path, width: int, scripts: bool = True) -> None:
        """Load a page into a window so many pixels wide, and wait until all of it is there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.call("Page.navigate", url=page.absolute().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def begin(self, url: str) -> None:
        """Go to a page of which the end need never come, without waiting until any of it has."""
        self.events.clear()
        self._send("Page.navigate", url=url)

    def text(self) -> str:
        """Return what the page shows; nothing while the browser is between two pages, when it does not answer."""
        asked = self._send("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
        while not self._is_quiet(1):
            answer = self._read()
            if answer.get("id") == asked:
                return str(answer.get("result", {}).get("result", {}).get("value", ""))
            self.events.append(answer)
        return ""

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, and await what it promises."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Return errors and warnings of the console, exceptions, and whatever was fetched that is not in the page."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        found = [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]
        asked = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return found + [url for url in asked[1:] if not url.startswith("data:")]

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png", clip=self._whole())["data"]
        path.write_bytes(base64.b64decode(data))

    def _whole(self) -> dict[str, float]:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def pdf(self, path: Path) -> None:
        data = self.call("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Browser]:
    """Chromium with an empty profile, and perhaps further flags, as long as the block lasts."""
    assert CHROMIUM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def hand_over() -> None:
        first, second = os.dup(theirs_in), os.dup(theirs_out)  # clear of 3 and 4, which the protocol wants
        os.dup2(os.dup(first), 3)
        os.dup2(os.dup(second), 4)

    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}"],
        preexec_fn=hand_over,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    page = Browser(ours_in, ours_out)
    try:
        page.open_tab()
        yield page
        page.ask_to_end()
        with suppress(subprocess.TimeoutExpired):  # a slow machine is no fault of what was tested
            process.wait(60)
    finally:
        page.close()
        if process.poll() is None:
            process.kill()
        process.wait(60)
