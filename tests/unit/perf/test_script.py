"""The script of a simulator: what it takes, which behaviour acts, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from perf.providers.exchange import Request
from perf.providers.script import Script, ScriptError, parse_script

pytestmark = pytest.mark.unit

FACTS = frozenset({"to"})
POST = Request(method="POST", path="/services/T1/B1/x", body="café".encode())


def choose(script: Script, request: Request = POST, **facts: str) -> str | None:
    """The form of the behaviour that acts on the request."""
    behaviour = script.choose(request, facts)
    return behaviour.form if behaviour else None


def script_of(*behaviours: dict[str, Any]) -> Script:
    """A script of these behaviours."""
    return Script(parse_script(list(behaviours), FACTS))


@pytest.mark.parametrize(
    ("match", "acts"),
    [
        ({}, True),
        ({"path": "B1"}, True),
        ({"path": "B2"}, False),
        ({"to": "ann@"}, True),
        ({"to": "bob@"}, False),
        ({"path": "B1", "to": "bob@"}, False),
        ({"body": "café"}, True),
        ({"body": "tea"}, False),
        ({"method": "GET"}, False),
        ({"method": "POST"}, True),
    ],
)
def test_every_fact_must_contain_its_substring(match: dict[str, str], *, acts: bool) -> None:
    """A behaviour acts when all of its substrings are found."""
    assert choose(script_of({"match": match, "do": "hang"}), to="ann@example.org") == ("hang" if acts else None)


@pytest.mark.parametrize(
    ("counts", "acts"),
    [
        ({}, [1, 2, 3, 4]),
        ({"nth": 2}, [2]),
        ({"times": 2}, [1, 2]),
        ({"nth": 2, "times": 2}, [2, 3]),
    ],
)
@pytest.mark.parametrize("place", ["match", "beside"])
def test_counts_say_when_and_how_often(counts: dict[str, int], acts: list[int], place: str) -> None:
    """`nth` is the first match that counts, `times` how many act; both stand in the match or beside it."""
    entry = {"do": "slow", "match": counts} if place == "match" else {"do": "slow", **counts}
    script = script_of(entry)
    assert [number for number in (1, 2, 3, 4) if choose(script)] == acts
    assert script.behaviours[0].report() == {"do": "slow", "match": {}, "matched": 4, "acted": len(acts)}


def test_the_first_behaviour_that_acts_decides() -> None:
    """A spent behaviour leaves the request to the next one, and a question is not matched unasked."""
    script = script_of({"do": "hang", "times": 1}, {"do": "throttle"})
    assert [choose(script), choose(script)] == ["hang", "throttle"]
    assert choose(script, Request(method="GET", path="/v2/email/account")) is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        ["hang"],
        [{}],
        [{"do": "explode"}],
        [{"do": "ok", "mach": {}}],
        [{"do": "ok", "match": []}],
        [{"do": "ok", "match": {"too": "x"}}],
        [{"do": "ok", "match": {"to": 5}}],
        [{"do": "ok", "match": {"nth": 0}}],
        [{"do": "ok", "times": True}],
        [{"do": "status", "status": 99}],
        [{"do": "status", "body": {}}],
        [{"do": "status", "headers": {"a": 1}}],
        [{"do": "slow", "seconds": -1}],
    ],
)
def test_an_unknown_name_is_an_error(document: Any) -> None:
    """A misspelt script changes nothing silently."""
    with pytest.raises(ScriptError):
        parse_script(document, FACTS)
