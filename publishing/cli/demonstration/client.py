"""The management API as the demo's producer and operator use it."""

import json
from collections.abc import Sequence
from typing import Any, Final, Self

import httpx

from publishing.cli.demonstration.installation import Installation
from publishing.cli.failures import CommandError

PREFIX: Final = "/api/v1/publishing"
BULK_LINES: Final = 10_000
TIMEOUT_S: Final = 60.0


class ApiError(CommandError):
    """The API refused a request of the demo: {request}: {status} {answer}"""

    def __init__(self, request: str, status: int, answer: str) -> None:
        super().__init__(request, status, answer)
        self.request = request
        self.status = status
        self.answer = answer[:500]


class ApiClient:
    """Requests with an admin's token; raises ApiError on any answer but 2xx."""

    def __init__(self, installation: Installation) -> None:
        self._http = httpx.AsyncClient(
            base_url=installation.api_url,
            headers={"Authorization": f"Bearer {installation.token('admin')}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: object) -> Any:
        """POST a JSON body to a route below the prefix."""
        return await self._answer("POST", path, content=json.dumps(body), headers={"content-type": "application/json"})

    async def get(self, path: str) -> Any:
        """GET a route below the prefix."""
        return await self._answer("GET", path)

    async def load_subscribers(self, bodies: Sequence[object]) -> list[dict[str, Any]]:
        """POST subscribers in bulk, 10,000 lines a call; returns the lines that were refused."""
        refused: list[dict[str, Any]] = []
        for start in range(0, len(bodies), BULK_LINES):
            lines = "\n".join(json.dumps(body) for body in bodies[start : start + BULK_LINES])
            answer = await self._answer(
                "POST", "/subscribers/bulk", content=lines, headers={"content-type": "application/x-ndjson"}
            )
            refused.extend(answer.get("errors", []))
        return refused

    async def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._http.request(method, PREFIX + path, **arguments)
        if not answer.is_success:
            raise ApiError(f"{method} {path}", answer.status_code, answer.text)
        return answer.json()
