"""S17: what is sent costs time in proportion to its length: nested JSON, and texts made for an expression.

Fault: JSON of a million levels, brackets without end, and for every regular expression of the API's process the texts
that make a backtracking one slow. Proof of the hit: the deep document is refused by the guard itself, and the mutant
expression is caught by the same measurement. Mutants: a decoder without the guard, and `(a+)+$`.
"""

import functools
import importlib
import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ingest_api
import publishing.domain
import publishing.runtime
from ingest_api.limits import MAX_JSON_BYTES, MAX_LINES_BYTES, TooDeepError, check_depth
from tests.fakes.api_process import ApiProcess, bearer, head

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("edge")]

# The longest text that an expression meets: a head, or a form of one field.
TEXT_LENGTH = 16_384
SLOWEST_S = 0.25
# Linear is 2, quadratic 4; what is over at once has no ratio.
HIGHEST_RATIO = 3.2
LEAST_S = 0.02
SEEDS = (
    *'a.@-=& \t\n;,"/0$`\\_<',
    *("a.", "a@", "a@a.", "a-", "a\n", "for=", "/o/a", "0:", "x\r\n", "%41"),
    *("name=List-Unsubscribe\n", "&List-Unsubscribe="),
)


def seconds(work: Callable[[], object]) -> float:
    """The processor time of the quickest of three runs."""
    taken = []
    for _ in range(3):
        started_s = time.process_time()
        work()
        taken.append(time.process_time() - started_s)
    return min(taken)


def expressions() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Every compiled expression of the API's process that a request's text may meet, by its place."""
    for package in (ingest_api, publishing.domain, publishing.runtime):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    yield f"{found.name}.{name}", value


def _search(expression: re.Pattern[Any], given: str | bytes) -> None:
    expression.search(given)
    expression.fullmatch(given)


def check_expression(expression: re.Pattern[Any]) -> None:
    """Searching and matching take a bounded time, and twice the text no more than about twice that."""
    for seed in SEEDS:
        for ending in ("", "!", "\0"):
            times = []
            for length in (TEXT_LENGTH // 2, TEXT_LENGTH):
                text = (seed * length)[:length] + ending
                given = text if isinstance(expression.pattern, str) else text.encode()
                times.append(seconds(functools.partial(_search, expression, given)))
                assert times[-1] <= SLOWEST_S, (seed, times)
            assert times[1] <= LEAST_S or times[1] / times[0] <= HIGHEST_RATIO, (seed, times)


def test_expressions_take_linear_time() -> None:
    """No expression of the process backtracks on any of the texts made for that."""
    found = dict(expressions())
    assert len(found) >= 10
    slow = {}
    for place, expression in found.items():
        try:
            check_expression(expression)
        except AssertionError as error:
            slow[place] = str(error)[:200]
    assert slow == {}


def test_the_mutant_expression_is_caught() -> None:
    """An expression that doubles its work with each letter, and one that squares it, do not pass the same check."""
    for mutant in (r"(a|aa)+\Z", r"a*a*a*a*!\Z"):
        started_s = time.perf_counter()
        expression = re.compile(mutant)
        times = [seconds(functools.partial(expression.search, "a" * length + "?")) for length in (12, 24)]
        assert times[1] / times[0] > HIGHEST_RATIO
        assert time.perf_counter() - started_s < 10


@pytest.mark.parametrize(
    "make",
    [
        lambda size: b"[]" * (size // 2),
        lambda size: b"[" * 60 + b"[]" * (size // 2) + b"]" * 60,
        lambda size: b'"' * size + b"[" * 65,
        lambda size: b"\\" * size + b"[" * 65,
        lambda size: b'["' + b'\\"' * (size // 2) + b'"' + b"[]" * 65,
        lambda size: b'{"a":[' * 20 + b"1," * (size // 2),
        lambda size: b"]" * (size // 2) + b"[" * (size // 2),
    ],
)
def test_depth_is_judged_in_linear_time(make: Callable[[int], bytes]) -> None:
    """Twice the JSON takes about twice the time, and the largest body of all less than a second."""

    def judge(raw: bytes) -> None:
        try:
            check_depth(raw)
        except TooDeepError:
            return

    half, whole = make(MAX_LINES_BYTES // 2), make(MAX_LINES_BYTES)
    times = [seconds(functools.partial(judge, raw)) for raw in (half, whole)]
    assert times[1] < 1
    assert times[1] <= LEAST_S or times[1] / times[0] <= HIGHEST_RATIO, times


@pytest.mark.asyncio(loop_scope="session")
async def test_deep_json_is_refused_by_the_edge(api: ApiProcess) -> None:
    """A body of a million levels is a problem of 400 that names the limit, and costs hardly any time."""
    body = b"[" * (MAX_JSON_BYTES // 2)
    before_s = api.cpu_s()
    request = head(
        "POST", "/api/v1/publishing/publications", bearer(), "Connection: close", f"Content-Length: {len(body)}"
    )
    answer = await api.ask(request + body)
    assert answer.statuses == [400]
    assert b"64 levels" in answer.received
    assert api.cpu_s() - before_s < 0.5


@pytest.mark.asyncio(loop_scope="session")
async def test_one_deep_line_spoils_no_other(api: ApiProcess) -> None:
    """Of many lines each has a depth of its own: brackets that a faulty line leaves open do not add up."""
    body = b'{"a": [\n' * 200
    path = "/api/v1/publishing/subscribers/bulk"
    answer = await api.ask(head("POST", path, bearer(), "Connection: close", f"Content-Length: {len(body)}") + body)
    assert answer.statuses == [200]


def test_the_mutant_decoder_goes_deep() -> None:
    """Without the guard a decoder follows the brackets to the end of the interpreter's stack."""
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)
