"""The tracking policy: what is kept of a hit is never more than installation, letter and reader allow."""

import itertools

import pytest

from publishing.domain.tracking import (
    TrackingPolicy,
    asks_for_privacy,
    kept_of,
    policy_named,
    signed_destination,
    stricter,
)
from publishing.domain.verdicts import FLAG_PRIVATE, FLAG_UNLEARNED
from publishing.runtime.settings import Settings

pytestmark = pytest.mark.unit

OFF, ANONYMOUS, PSEUDONYMOUS, IDENTIFIED = TrackingPolicy


@pytest.mark.parametrize(
    ("policy", "signed", "kept"),
    [
        (OFF, 0, (0, 0)),
        (ANONYMOUS, 0, (0, 0)),
        (PSEUDONYMOUS, 41, (41, FLAG_UNLEARNED)),
        (IDENTIFIED, 41, (41, 0)),
    ],
)
def test_policies(policy: TrackingPolicy, signed: int, kept: tuple[int, int]) -> None:
    """Links carry a number, and events keep one, under the policies that know a reader."""
    assert signed_destination(policy, 41) == signed
    assert kept_of(policy, 41, is_private=False) == kept
    assert kept_of(policy, 41, is_private=True) == (0, FLAG_PRIVATE)


def test_the_stricter_policy_holds() -> None:
    """A letter's policy is not loosened by the installation's, nor the other way round."""
    for one, other in itertools.product(TrackingPolicy, repeat=2):
        assert stricter(one, other) is TrackingPolicy(min(one.value, other.value))


@pytest.mark.parametrize(
    ("headers", "asks"),
    [
        ({b"dnt": b"1"}, True),
        ({b"sec-gpc": b"1"}, True),
        ({b"dnt": b" 1 "}, True),
        ({b"dnt": b"0"}, False),
        ({b"dnt": b""}, False),
        ({b"sec-gpc": b"0", b"dnt": b"unset"}, False),
        ({}, False),
    ],
)
def test_readers_object(headers: dict[bytes, bytes], asks: bool) -> None:  # noqa: FBT001  - a row of the table
    """DNT: 1 and Sec-GPC: 1 object, and no other value does."""
    assert asks_for_privacy(headers) is asks


def test_the_setting_names_the_policies() -> None:
    """Every value that the setting allows is a policy, and the other way round."""
    allowed = Settings.model_fields["tracking_policy"].annotation
    names = {policy.name.lower() for policy in TrackingPolicy}
    assert set(getattr(allowed, "__args__", ())) == names
    assert {policy_named(name) for name in names} == set(TrackingPolicy)
