"""The simulated outside world, as child processes: providers with an accept log, and readers who open and click."""

import asyncio
import contextlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from publishing.cli.failures import NotInstalledError

START_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 5.0


class Simulators:
    """The providers' process; `urls` maps ses, slack, discord and webhook to their addresses."""

    def __init__(self, process: asyncio.subprocess.Process, urls: Mapping[str, str]) -> None:
        self._process = process
        self.urls = dict(urls)
        self._http = httpx.AsyncClient(trust_env=False, timeout=30.0)

    @classmethod
    async def start(cls, log_dir: Path) -> "Simulators":
        """Start the providers, which log to the folder; raises NotInstalledError where perf is missing."""
        if importlib.util.find_spec("perf.providers") is None:
            what = "The demo's provider simulators (perf/providers)"
            reason = "they are not in the wheel: run the demo from a checkout"
            raise NotInstalledError(what, reason)
        with (log_dir / "providers.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "perf.providers", stdout=asyncio.subprocess.PIPE, stderr=output
            )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_WITHIN_S)
        return cls(process, json.loads(line)["urls"])

    async def accepted(self, name: str) -> list[dict[str, Any]]:
        """The accept log of a provider, oldest first."""
        answer = await self._http.get(f"{self.urls[name]}/_log")
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    async def mail(self, message_id: str) -> bytes:
        """The raw MIME of one accepted mail."""
        answer = await self._http.get(f"{self.urls['ses']}/_message/{message_id}")
        answer.raise_for_status()
        return answer.content

    async def put(self, name: str, path: str, body: object) -> None:
        """Tell a simulator its secrets or its script."""
        (await self._http.put(self.urls[name] + path, json=body)).raise_for_status()

    async def stop(self) -> None:
        """End the providers."""
        await self._http.aclose()
        await end(self._process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask a child to end and kill it after 5 s."""
    if process.returncode is not None:
        return
    process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
    if process.returncode is None:
        process.kill()
        await process.wait()


# A hit within 2 s of the send is a machine's (rule 13).
READING_AFTER_S = 2.2
GATEWAY_RATIO = 0.05


async def start_readers(ses_url: str, log: Path, *, seed: int) -> asyncio.subprocess.Process:
    """Readers who open and click by a seed until they are ended; each hit is a line of the log.

    They wait until a hit is not too soon after its send, and some of the mails pass a gateway that does not.
    """
    arguments = ["--ses-url", ses_url, "--log", str(log), "--seed", str(seed)]
    arguments += ["--min-delay", str(READING_AFTER_S), "--gateway-ratio", str(GATEWAY_RATIO)]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "perf.readers", *arguments, stdout=asyncio.subprocess.DEVNULL
    )
