"""The script of a simulator: which requests it treats unlike a healthy provider, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perf.providers.exchange import Headers, Request

OK, STATUS, THROTTLE, HANG, RESET, SLOW = "ok", "status", "throttle", "hang", "reset_after_accept", "slow"
FORMS = frozenset({OK, STATUS, THROTTLE, HANG, RESET, SLOW})
REQUEST_FACTS = frozenset({"path", "body", "method"})
_COUNTS = frozenset({"nth", "times"})
_KEYS = frozenset({"match", "do", "status", "body", "headers", "seconds", "entry_status"}) | _COUNTS


class ScriptError(ValueError):
    """The script cannot be used: it names something that this simulator does not know; nothing was changed."""


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """One line of a script, and how often it matched and acted.

    `match` maps a fact to a substring of it. The behaviour acts from its `nth` match on (the first is 1), at most
    `times` times: with `nth` alone once, with neither always. `seconds` is the Retry-After of `throttle`, the delay
    of `slow`, and how long `hang` holds the connection (None: until the client leaves).
    """

    form: str
    match: Mapping[str, str] = field(default_factory=dict)
    nth: int = 1
    times: int | None = None
    status: int = 500
    body: str | None = None
    headers: Headers = ()
    seconds: float | None = None
    entry_status: str | None = None
    matched: int = 0
    acted: int = 0

    def applies(self, request: Request, facts: Mapping[str, str]) -> bool:
        """Tell whether every substring is found; a request is matched as a POST unless `method` says otherwise."""
        if request.method != self.match.get("method", "POST"):
            return False
        return all(wanted in _fact(name, request, facts) for name, wanted in self.match.items() if name != "method")

    def claim(self) -> bool:
        """Count one match and tell whether the behaviour acts on it."""
        self.matched += 1
        if self.matched < self.nth or (self.times is not None and self.acted >= self.times):
            return False
        self.acted += 1
        return True

    def report(self) -> dict[str, Any]:
        """Return what a test reads to see that the fault has hit."""
        return {"do": self.form, "match": dict(self.match), "matched": self.matched, "acted": self.acted}


@dataclass(slots=True)
class Script:
    """The behaviours in force; the first that acts on a request decides."""

    behaviours: Sequence[Behaviour] = ()

    def choose(self, request: Request, facts: Mapping[str, str]) -> Behaviour | None:
        """Return the behaviour for this request, or None for a healthy provider; counts the match."""
        for behaviour in self.behaviours:
            if behaviour.applies(request, facts) and behaviour.claim():
                return behaviour
        return None


def _fact(name: str, request: Request, facts: Mapping[str, str]) -> str:
    if name == "path":
        return request.path
    if name == "body":
        return request.body.decode("utf-8", "replace")
    return facts.get(name, "")


def parse_script(document: Any, fact_names: frozenset[str]) -> tuple[Behaviour, ...]:
    """Return the behaviours of a decoded script; raises ScriptError on a name, type or range it does not know."""
    if not isinstance(document, list):
        raise ScriptError("a script is a list of behaviours")
    return tuple(_parse_behaviour(entry, fact_names | REQUEST_FACTS) for entry in document)


def _parse_behaviour(entry: Any, fact_names: frozenset[str]) -> Behaviour:
    if not isinstance(entry, dict):
        raise ScriptError("a behaviour is an object")
    unknown = set(entry) - _KEYS
    if unknown:
        raise ScriptError(f"unknown keys of a behaviour: {sorted(unknown)}")
    if entry.get("do") not in FORMS:
        raise ScriptError(f"do is one of {sorted(FORMS)}")
    match = entry.get("match", {})
    if not isinstance(match, dict):
        raise ScriptError("match is an object")
    counts = {**{name: entry[name] for name in _COUNTS & set(entry)}, **{n: match[n] for n in _COUNTS & set(match)}}
    facts = {name: wanted for name, wanted in match.items() if name not in _COUNTS}
    unknown = set(facts) - fact_names
    if unknown:
        raise ScriptError(f"unknown facts to match: {sorted(unknown)}; known: {sorted(fact_names)}")
    if not all(isinstance(wanted, str) for wanted in facts.values()):
        raise ScriptError("a fact is matched by a string")
    nth, times = _count(counts.get("nth"), "nth"), _count(counts.get("times"), "times")
    return Behaviour(
        form=entry["do"],
        match=facts,
        nth=nth or 1,
        times=1 if nth is not None and times is None else times,
        status=_status(entry.get("status", 500)),
        body=_body(entry.get("body")),
        headers=_headers(entry.get("headers", {})),
        seconds=_seconds(entry.get("seconds")),
        entry_status=_body(entry.get("entry_status")),
    )


def _count(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ScriptError(f"{name} is a whole number from 1")
    return value


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise ScriptError("status is a number from 200 to 599")
    return value


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ScriptError("seconds is a number from 0")
    return float(value)


def _body(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ScriptError("body and entry_status are strings")


def _headers(value: Any) -> Headers:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ScriptError("headers is an object of strings")
    return tuple(value.items())
