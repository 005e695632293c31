"""Owns what is recommended to an operator: rules over aggregated evidence, silent where there is too little of it."""

import dataclasses
import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from publishing.domain.rates import CONFIDENCE, Rate, is_above, rate

# What the rules look at, whatever period was asked for; a weekly newsletter then has 12 runs.
LOOKBACK = dt.timedelta(days=90)
# The later half of the comparison of messages per reader.
RECENT = dt.timedelta(days=28)
# A run younger than this is still being opened, and would look worse than it is.
SETTLED_AFTER = dt.timedelta(hours=48)
# At 1,000 the interval of a rate of 0.2 is 0.05 wide; below that nothing is compared.
MIN_SENT = 1_000
# One run is one subject line: what three runs have in common may be their hour.
MIN_RUNS = 3
MIN_COMPARED = 2
# W. G. Cochran, Biometrics 10 (1954): a count below 5 is no ground for a comparison.
MIN_EVENTS = 5
# Falling in each of so many successive weeks, from the first to the last beyond chance.
FALLING_WEEKS = 4
PRESSURE_RATIO = 1.5
# Messages to a reader before silence says anything.
MIN_MESSAGES = 5
MIN_READERS = 200
SILENT_RATIO = 0.2
# How much worse a channel must be, beside beyond chance, to be worth an operator's time.
MIN_SUCCESS_GAP = 0.01
# Amazon SES puts an account under review at these rates, and may pause it at 0.10 and 0.005.
# Source: https://docs.aws.amazon.com/ses/latest/dg/reputationdashboard-messages.html
SES_REVIEW_BOUNCE, SES_REVIEW_COMPLAINT = 0.05, 0.001


@dataclasses.dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do, of which kind, and every number that it rests on."""

    kind: str
    evidence: dict[str, Any]
    action: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What came of one run on one channel; opened is human first touches."""

    publication_id: int
    run_id: int
    channel_id: int
    channel_kind: str
    sent_at: dt.datetime
    accepted: int
    delivered: int
    opened: int
    bounced: int
    complained: int

    @property
    def reached(self) -> int:
        """What was delivered where the provider says so, else what was accepted."""
        return self.delivered or self.accepted


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the deliveries of a channel ended: taken by the provider for good, or not."""

    channel_id: int
    succeeded: int
    settled: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The readers of an e-mail channel, of one in `sample_of` of them.

    Messages before and in the last 28 days with the readers who got them; regular got five or more in all, and of them
    never_engaged and lapsed opened and clicked nothing: the former never did, the latter had before. bounced_active is
    of all readers.
    """

    channel_id: int
    sample_of: int
    messages_before: int
    readers_before: int
    messages: int
    readers: int
    engaged: int
    regular: int
    never_engaged: int
    lapsed: int
    bounced_active: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the rules may look at: outcomes from starts_at on, sendings and readers of the 90 days before ends_at."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    sendings: Sequence[Sending]
    outcomes: Sequence[Outcome]
    readers: Sequence[Readers]

    @property
    def period(self) -> dict[str, str]:
        """The period of sendings and readers, as it is shown."""
        return {"starts_at": (self.ends_at - LOOKBACK).isoformat(), "ends_at": self.ends_at.isoformat()}


def recommend(evidence: Evidence) -> list[Recommendation]:
    """Everything that the evidence supports, in the order of the rules."""
    return [found for rule in RULES for found in rule(evidence)]


def best_hour(evidence: Evidence) -> Iterable[Recommendation]:
    """The hour (UTC) and the weekday (0 is Monday) at which a channel's runs are opened beyond what it is used to.

    The interval of the best must lie above that of all its runs, both widened for the number of times compared
    (O. J. Dunn, JASA 56 (1961)): 24 hours compared at 95 % ask for 99.8 % each.
    """
    settled = _settled(evidence)
    for channel_id, sendings in _grouped(settled, lambda one: one.channel_id).items():
        overall = _opens(sendings)
        for dimension, moment in (("hour", _hour_of), ("weekday", _weekday_of)):
            groups = _grouped(sendings, moment)
            enough = {at: some for at, some in groups.items() if len(some) >= MIN_RUNS and _opens(some).of >= MIN_SENT}
            if len(enough) < MIN_COMPARED:
                continue
            z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / len(enough))
            at = max(enough, key=lambda one: (_opens(enough[one]).ratio or 0, -one))
            best, usual = _opens(enough[at], z), _opens(sendings, z)
            if not is_above(best, usual):
                continue
            yield Recommendation(
                "best_hour",
                {
                    **evidence.period,
                    "channel_id": channel_id,
                    dimension: at,
                    "runs": len(enough[at]),
                    "open": _shown(best),
                    "overall_runs": len(sendings),
                    "overall": _shown(usual),
                    "compared": len(enough),
                    "z": z,
                },
                f"Let more runs of channel {channel_id} be due {_spoken(dimension, at)}: "
                f"{best.ratio or 0:.1%} of readers open them, {overall.ratio or 0:.1%} of all.",
            )


def tired_audience(evidence: Evidence) -> Iterable[Recommendation]:
    """Publications whose open rate fell week by week, and channels that send each reader much more than before."""
    by_publication = _grouped(_settled(evidence), lambda one: (one.publication_id, one.channel_id))
    for (publication_id, channel_id), sendings in by_publication.items():
        weeks = _grouped(sendings, _week_of)
        last = [(week, _opens(weeks[week])) for week in sorted(weeks)][-FALLING_WEEKS:]
        rates = [found for _, found in last]
        if len(last) < FALLING_WEEKS or any(found.of < MIN_SENT for found in rates):
            continue
        falls = all((two.ratio or 0) < (one.ratio or 0) for one, two in itertools.pairwise(rates))
        if falls and is_above(rates[0], rates[-1]):
            weekly = [{"week": week.isoformat(), "open": _shown(found)} for week, found in last]
            yield Recommendation(
                "tired_audience",
                {
                    **evidence.period,
                    "sign": "open_rate_falls",
                    "publication_id": publication_id,
                    "channel_id": channel_id,
                    "weeks": weekly,
                },
                f"Send publication {publication_id} less often or choose fewer items: its open rate fell "
                f"{FALLING_WEEKS} weeks in a row, from {rates[0].ratio or 0:.1%} to {rates[-1].ratio or 0:.1%}.",
            )
    yield from _pressure(evidence)


def _pressure(evidence: Evidence) -> Iterable[Recommendation]:
    recent_days, before_days = RECENT.days, (LOOKBACK - RECENT).days
    for one in evidence.readers:
        if min(one.readers, one.readers_before) < MIN_READERS:
            continue
        now = one.messages / one.readers / recent_days * 7
        before = one.messages_before / one.readers_before / before_days * 7
        if now >= before * PRESSURE_RATIO:
            yield Recommendation(
                "tired_audience",
                {
                    **evidence.period,
                    "sign": "messages_rise",
                    "channel_id": one.channel_id,
                    "sample_of": one.sample_of,
                    "recent_since": (evidence.ends_at - RECENT).isoformat(),
                    "messages": one.messages,
                    "readers": one.readers,
                    "messages_before": one.messages_before,
                    "readers_before": one.readers_before,
                    "per_reader_and_week": now,
                    "per_reader_and_week_before": before,
                },
                f"Set caps for channel {one.channel_id}: a reader gets {now:.1f} messages a week, {before:.1f} before.",
            )


def channel_underdelivers(evidence: Evidence) -> Iterable[Recommendation]:
    """Channels that fail more than all others together, and e-mail channels near a review by Amazon SES."""
    for one in evidence.outcomes:
        others = [other for other in evidence.outcomes if other.channel_id != one.channel_id]
        mine = rate(one.succeeded, one.settled)
        theirs = rate(sum(other.succeeded for other in others), sum(other.settled for other in others))
        is_enough = min(mine.of, theirs.of) >= MIN_SENT and mine.of - mine.count >= MIN_EVENTS
        if is_enough and is_above(theirs, mine) and (theirs.ratio or 0) - (mine.ratio or 0) >= MIN_SUCCESS_GAP:
            yield Recommendation(
                "channel_underdelivers",
                {
                    **evidence.period,
                    "starts_at": evidence.starts_at.isoformat(),
                    "sign": "success",
                    "channel_id": one.channel_id,
                    "success": _shown(mine),
                    "others": _shown(theirs),
                },
                f"Look at the failures of channel {one.channel_id}: {mine.ratio or 0:.1%} of its deliveries succeed, "
                f"{theirs.ratio or 0:.1%} on the others.",
            )
    yield from _reputation(evidence)


def _reputation(evidence: Evidence) -> Iterable[Recommendation]:
    mails = [one for one in evidence.sendings if one.channel_kind == "email"]
    for channel_id, sendings in _grouped(mails, lambda one: one.channel_id).items():
        accepted = sum(one.accepted for one in sendings)
        found = {
            "bounce": (rate(sum(one.bounced for one in sendings), accepted), SES_REVIEW_BOUNCE),
            "complaint": (rate(sum(one.complained for one in sendings), accepted), SES_REVIEW_COMPLAINT),
        }
        for sign, (share, limit) in found.items():
            if share.of >= MIN_SENT and share.count >= MIN_EVENTS and (share.ratio or 0) >= limit:
                yield Recommendation(
                    "channel_underdelivers",
                    {**evidence.period, "sign": sign, "channel_id": channel_id, sign: _shown(share), "limit": limit},
                    f"Pause bulk sending on channel {channel_id} and clean its list: the {sign} rate is "
                    f"{share.ratio or 0:.2%}, and Amazon SES reviews accounts at {limit:.1%}.",
                )


def list_hygiene(evidence: Evidence) -> Iterable[Recommendation]:
    """Readers who never engage or do no longer, where anybody is seen to engage at all, and bounced ones still sent to.

    Where tracking is off or anonymous nobody is seen, and silence says nothing.
    """
    for one in evidence.readers:
        period = {**evidence.period, "channel_id": one.channel_id, "sample_of": one.sample_of}
        if one.regular >= MIN_READERS and one.engaged >= MIN_EVENTS:
            for sign, silent, action in (
                ("never_engaged", one.never_engaged, "Ask them once whether they want it, then stop sending"),
                ("lapsed", one.lapsed, "Send a re-engagement message, then lower their cadence"),
            ):
                share = rate(silent, one.regular)
                if (share.low or 0) >= SILENT_RATIO:
                    yield Recommendation(
                        "list_hygiene",
                        {
                            **period,
                            "sign": sign,
                            "at_least_messages": MIN_MESSAGES,
                            "engaged": one.engaged,
                            "silent": _shown(share),
                        },
                        f"{action}: {share.ratio or 0:.0%} of the regular readers of channel {one.channel_id}.",
                    )
        if one.bounced_active:
            yield Recommendation(
                "list_hygiene",
                {**period, "sign": "bounced_active", "sample_of": 1, "readers": one.bounced_active},
                f"Suppress {one.bounced_active} readers of channel {one.channel_id}: their mail bounced for good.",
            )


RULES = (best_hour, tired_audience, channel_underdelivers, list_hygiene)


def _settled(evidence: Evidence) -> list[Sending]:
    return [one for one in evidence.sendings if one.sent_at <= evidence.ends_at - SETTLED_AFTER]


def _opens(sendings: Iterable[Sending], z: float | None = None) -> Rate:
    some = list(sendings)
    opened, reached = sum(one.opened for one in some), sum(one.reached for one in some)
    return rate(opened, reached) if z is None else rate(opened, reached, z)


def _shown(found: Rate) -> dict[str, Any]:
    return dataclasses.asdict(found)


def _hour_of(one: Sending) -> int:
    return one.sent_at.hour


def _weekday_of(one: Sending) -> int:
    return one.sent_at.weekday()


def _week_of(one: Sending) -> dt.date:
    return one.sent_at.date() - dt.timedelta(days=one.sent_at.weekday())


def _spoken(dimension: str, at: int) -> str:
    if dimension == "hour":
        return f"at {at:02d}:00 UTC"
    return f"on {('Mondays', 'Tuesdays', 'Wednesdays', 'Thursdays', 'Fridays', 'Saturdays', 'Sundays')[at]}"


def _grouped(sendings: Iterable[Sending], key: Callable[[Sending], Any]) -> Mapping[Any, list[Sending]]:
    found: dict[Any, list[Sending]] = {}
    for one in sendings:
        found.setdefault(key(one), []).append(one)
    return found
