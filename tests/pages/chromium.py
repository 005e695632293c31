"""A headless Chromium driven over its DevTools protocol, with what it complains about."""

import asyncio
import base64
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_WITHIN_S = 30.0
ANSWER_WITHIN_S = 20.0
POLL_S = 0.05
FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
)
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39}
# Asks the page itself about what its policy has blocked.
WATCH = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) => window.blocked.push(event.violatedDirective));
"""


class BrowserError(Exception):
    """The browser refused a command, or a script of the page failed: the text says which."""


def executable() -> str | None:
    """The Chromium of this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextlib.contextmanager
def running(binary: str, folder: Path) -> Iterator[str]:
    """Run a browser with a profile of its own, and give the address of its DevTools."""
    flags = [*FLAGS, f"--user-data-dir={folder}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([binary, *flags, "about:blank"], stdout=log, stderr=log)
        try:
            yield _address(child, folder)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _address(child: subprocess.Popen[bytes], folder: Path) -> str:
    deadline_s = time.monotonic() + START_WITHIN_S
    port = folder / "DevToolsActivePort"
    while time.monotonic() < deadline_s:
        lines = port.read_text(encoding="utf-8").splitlines() if port.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        if child.poll() is not None:
            break
        time.sleep(POLL_S)
    raise BrowserError((folder / "log").read_text(encoding="utf-8", errors="replace")[-500:])


@dataclasses.dataclass(slots=True)
class Page:
    """One page in a context of its own, so that cookies of tests never meet."""

    socket: aiohttp.ClientWebSocketResponse
    session_id: str = ""
    complaints: list[str] = dataclasses.field(default_factory=list)
    _numbers: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))
    _answers: dict[int, "asyncio.Future[Any]"] = dataclasses.field(default_factory=dict)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, address: str) -> AsyncIterator[Self]:
        """Open a page of the browser at this address, and close it with its context."""
        async with aiohttp.ClientSession() as client, client.ws_connect(address, max_msg_size=0) as socket:
            page = cls(socket)
            reading = asyncio.create_task(page._read())
            context = (await page.send("Target.createBrowserContext"))["browserContextId"]
            target = await page.send("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await page.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session_id = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.send(f"{domain}.enable")
            await page.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
            try:
                yield page
            finally:
                page.session_id = ""
                await page.send("Target.disposeBrowserContext", browserContextId=context)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def send(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result; raises BrowserError when it is refused."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        if self.session_id:
            message["sessionId"] = self.session_id
        await self.socket.send_str(json.dumps(message))
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await answer

    async def _read(self) -> None:
        async for message in self.socket:
            found = json.loads(message.data)
            waiting = self._answers.pop(found.get("id", 0), None)
            if waiting is not None and not waiting.done():
                if "error" in found:
                    waiting.set_exception(BrowserError(found["error"]["message"]))
                else:
                    waiting.set_result(found["result"])
            self._note(found.get("method"), found.get("params", {}))

    def _note(self, method: str | None, event: dict[str, Any]) -> None:
        if method == "Log.entryAdded" and event["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(event["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and event["type"] in {"error", "warning", "assert"}:
            self.complaints.append(json.dumps(event["args"])[:500])

    async def look(self, *, width: int, height: int = 1000, scheme: str = "light") -> None:
        """Set the size of the window and the colour scheme that the reader prefers."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def go(self, url: str) -> None:
        """Open an address, and return once the page is complete."""
        await self.send("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url[:20])})")

    async def evaluate(self, script: str) -> Any:
        """Evaluate an expression in the page and return its value; raises BrowserError when it throws."""
        found = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise BrowserError(found["exceptionDetails"].get("exception", {}).get("description", script))
        return found["result"].get("value")

    async def until(self, script: str, within_s: float = 15.0) -> None:
        """Wait until an expression is true; raises TimeoutError that names it."""
        deadline_s = time.monotonic() + within_s
        while True:
            with contextlib.suppress(BrowserError):
                if await self.evaluate(f"Boolean({script})"):
                    return
            if time.monotonic() > deadline_s:
                raise TimeoutError(script)
            await asyncio.sleep(POLL_S)

    async def text(self, selector: str) -> str:
        """The visible text of the first element that a selector finds."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def press(self, key: str) -> None:
        """Press a key, as a person at the keyboard does."""
        texts = {"Enter": "\r", " ": " "}
        named = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": texts[key]} if key in texts else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **named)

    async def screenshot(self, path: Path) -> bytes:
        """Save the whole page as PNG, and return its bytes."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        picture = base64.b64decode(shot["data"])
        _keep(path, picture)
        return picture


def _keep(path: Path, picture: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
