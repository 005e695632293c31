"""/health, /livez, /readyz and /metrics of a stream or sink process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from publishing.runtime.logs import get_logger
from publishing.runtime.settings import Settings

CHECK_TIMEOUT_S = 2.0
Check = Callable[[], Awaitable[object]]

log = get_logger(__name__)


class HealthPortError(Exception):
    """TIDEWIRE_HEALTH_PORT is taken by another process: choose another, or 0 for any free one."""


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """Run every check at once, each for at most 2 s; a name maps to `ok` or to the error's class name."""

    async def outcome(check: Check) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await check()
        except Exception as error:  # noqa: BLE001 - the answer names whatever went wrong
            return type(error).__name__
        return "ok"

    found = await asyncio.gather(*(outcome(check) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


class HealthServer:
    """A small HTTP server; `port` is the port that it listens on once started."""

    def __init__(self, settings: Settings, checks: Mapping[str, Check], registry: CollectorRegistry) -> None:
        self._host = settings.health_host
        self._checks = checks
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self.port = settings.health_port

    async def start(self) -> None:
        """Listen; raises HealthPortError when the port is taken."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise HealthPortError from error
        self.port = self._runner.addresses[0][1]
        log.info("health.listening", port=self.port)

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        found = await run_checks(self._checks)
        healthy = all(state == "ok" for state in found.values())
        return web.json_response({"status": "ok" if healthy else "degraded", "services": found})

    async def _livez(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        found = await run_checks(self._checks)
        ready = all(state == "ok" for state in found.values())
        return web.json_response(
            {"status": "ok" if ready else "unready", "services": found}, status=200 if ready else 503
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
