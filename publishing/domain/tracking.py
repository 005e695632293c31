"""Owns the tracking policy: what a hit may say about its reader, as the installation and the reader decided."""

import enum
from collections.abc import Mapping
from typing import Final

from publishing.domain.verdict_rules import FLAG_PRIVATE, FLAG_UNLEARNED

ANONYMOUS_DESTINATION: Final = 0


class TrackingPolicy(enum.IntEnum):
    """How much is kept of a hit, from nothing to the reader's number; a smaller value keeps less."""

    OFF = 0
    ANONYMOUS = 1
    PSEUDONYMOUS = 2
    IDENTIFIED = 3


def policy_named(name: str) -> TrackingPolicy:
    """Return the policy of a setting's value; raises KeyError for another word."""
    return TrackingPolicy[name.upper()]


def stricter(one: TrackingPolicy, other: TrackingPolicy) -> TrackingPolicy:
    """Return the policy that keeps less: a letter's own, or the one that came into force after it was sent."""
    return min(one, other)


def asks_for_privacy(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the reader's browser objects to tracking (lower-case header names).

    Sources: https://www.w3.org/TR/tracking-dnt/#dnt-header-field and https://www.w3.org/TR/gpc/#the-sec-gpc-header-field.
    """
    return headers.get(b"dnt", b"").strip() == b"1" or headers.get(b"sec-gpc", b"").strip() == b"1"


def signed_destination(policy: TrackingPolicy, destination: int) -> int:
    """Return the number that links to count by may carry: none under the policies that know no reader."""
    return destination if policy >= TrackingPolicy.PSEUDONYMOUS else ANONYMOUS_DESTINATION


def kept_of(policy: TrackingPolicy, destination: int, *, is_private: bool) -> tuple[int, int]:
    """Return the destination that an open or click is recorded with, and the flags that say why it is so."""
    if is_private:
        return ANONYMOUS_DESTINATION, FLAG_PRIVATE
    if policy is TrackingPolicy.PSEUDONYMOUS:
        return destination, FLAG_UNLEARNED
    return signed_destination(policy, destination), 0
