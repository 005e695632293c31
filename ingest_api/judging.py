"""Owns what is remembered of hits for a few minutes, so that a machine that opens a whole letter is known by it."""

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from ingest_api.collector import Hit
from publishing.domain.links import HONEYPOT_LINK, ArticleLink, ReaderLink
from publishing.domain.networks import Networks, NetworksError, networks_of
from publishing.domain.tracking import ANONYMOUS_DESTINATION, kept_of, policy_named, stricter
from publishing.domain.verdicts import (
    FLAG_BURST,
    FLAG_HONEYPOT,
    FLAG_SOON,
    Judgement,
    Judgements,
    Visitor,
    judgement_of,
    judgements_on,
    visitor_of,
)
from publishing.runtime.settings import Settings, SettingsError
from schemas.messages import EngagementKind

BURST_LINKS: Final = 4
BURST_MS: Final = 10_000
HONEYPOT_MS: Final = 600_000
SOON_MS: Final = 2_000
# A send that seems to lie this far ahead is no evidence, but a clock that is wrong.
SKEW_MS: Final = 60_000
# 26 MB when one link of each was followed, 72 MB when four were: at 5,000 clicks a second, more than a burst's 10 s.
MAX_DELIVERIES: Final = 65_536

_Link = tuple[int, int]
_LEAVING: Final[_Link] = (0, 0)


class Memory:
    """Which deliveries had many links or the invisible one followed of late; the oldest are forgotten at the bound.

    Times are milliseconds since 1970. It is of one process: what another replica saw is not evidence here.
    """

    def __init__(self, max_deliveries: int = MAX_DELIVERIES) -> None:
        """Start with nothing remembered."""
        self._max_deliveries = max_deliveries
        self._links: OrderedDict[int, list[tuple[_Link, int]]] = OrderedDict()
        self._trapped: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        """Return how many entries are held."""
        return len(self._links) + len(self._trapped)

    def follow(self, delivery: int, link: _Link, now_ms: int) -> int:
        """Remember that a link was followed and return FLAG_BURST if it is the fourth or a later one within 10 s."""
        before = self._links.get(delivery)
        if before is None:
            self._links[delivery] = [(link, now_ms)]
            _forget(self._links, self._max_deliveries)
            while next(iter(self._links.values()))[-1][1] <= now_ms - BURST_MS:
                self._links.popitem(last=False)
            return 0
        recent = [one for one in before if abs(now_ms - one[1]) < BURST_MS and one[0] != link][1 - BURST_LINKS :]
        recent.append((link, now_ms))
        self._links[delivery] = recent
        self._links.move_to_end(delivery)
        return FLAG_BURST if len(recent) >= BURST_LINKS else 0

    def honeypot(self, delivery: int, now_ms: int) -> None:
        """Remember that the invisible link was followed."""
        self._trapped.pop(delivery, None)
        self._trapped[delivery] = now_ms
        _forget(self._trapped, self._max_deliveries)

    def trapped(self, delivery: int, now_ms: int) -> int:
        """Return FLAG_HONEYPOT if the delivery's invisible link was followed in the last 10 minutes."""
        at_ms = self._trapped.get(delivery)
        if at_ms is None:
            return 0
        if now_ms - at_ms >= HONEYPOT_MS:
            del self._trapped[delivery]
            return 0
        return FLAG_HONEYPOT


class Case(NamedTuple):
    """Hits on one link by one visitor: the number that they are recorded with, and the evidence that they share.

    `delivery` is None where the reader is withheld: nothing is remembered of nobody.
    """

    judgements: Judgements
    destination: int
    delivery: int | None
    flags: int
    link: _Link | None
    sent_at_ms: int


class Judge:
    """Judges hits and withholds what the policy and the reader do not want kept; nothing of it needs a service."""

    def __init__(self, settings: Settings) -> None:
        """Read the installation's networks; raises SettingsError for a file that cannot be read."""
        self._networks = open_networks(settings)
        self._policy = policy_named(settings.tracking_policy)
        self._memory = Memory()

    def visitor(self, headers: dict[bytes, bytes], address: str) -> Visitor:
        """Return who asks; the headers and the address are not needed any more."""
        return visitor_of(headers, self._networks.class_of(address))

    def is_counted(self, reader: ReaderLink) -> bool:
        """Whether opens and clicks of this letter are recorded: under the policy `off` none is."""
        return bool(stricter(reader.policy, self._policy))

    def case(self, visitor: Visitor, reader: ReaderLink, article: ArticleLink | None = None) -> Case:
        """Return what is known of hits on a link before their time is."""
        policy = stricter(reader.policy, self._policy)
        destination, flags = kept_of(policy, reader.destination, is_private=visitor.is_private)
        if article is not None and article.link == HONEYPOT_LINK:
            flags |= FLAG_HONEYPOT
        return Case(
            judgements_on(visitor.agent, visitor.network),
            destination,
            _number(reader) if destination != ANONYMOUS_DESTINATION else None,
            flags | visitor.flags,
            (article.content_id, article.link) if article is not None else None,
            reader.sent_at_s * 1_000,
        )

    def judgement(self, case: Case, now_ms: int) -> Judgement:
        """Judge a hit, by what was remembered of its letter too; the same object for the same evidence."""
        judgements, _, delivery, flags, link, sent_at_ms = case
        if now_ms - sent_at_ms < SOON_MS:
            flags |= _soon(sent_at_ms, now_ms)
        if delivery is not None:
            if link is not None:
                if flags & FLAG_HONEYPOT:
                    self._memory.honeypot(delivery, now_ms)
                flags |= self._memory.follow(delivery, link, now_ms)
            flags |= self._memory.trapped(delivery, now_ms)
        return judgements[flags]

    def hit(
        self, visitor: Visitor, reader: ReaderLink, article: ArticleLink | None, now_ms: int
    ) -> tuple[int, Judgement]:
        """Return the destination that an open or a click is recorded with, and the judgement on it."""
        case = self.case(visitor, reader, article)
        return case.destination, self.judgement(case, now_ms)

    def leaving(self, visitor: Visitor, reader: ReaderLink, now_ms: int) -> Judgement:
        """Return the judgement on an unsubscription, which is done for whoever asks."""
        delivery = _number(reader)
        flags = visitor.flags | _soon(reader.sent_at_s * 1_000, now_ms) | self._memory.trapped(delivery, now_ms)
        flags |= self._memory.follow(delivery, _LEAVING, now_ms)
        return judgement_of(visitor.agent, visitor.network, flags)

    def look(self, reader: ReaderLink, now_ms: int) -> None:
        """Remember that the page to unsubscribe was opened: it is one more link of the letter."""
        self._memory.follow(_number(reader), _LEAVING, now_ms)


def hit_of(
    kind: EngagementKind,
    occurred_at_ms: int,
    reader: ReaderLink,
    judged: tuple[int, Judgement],
    article: ArticleLink | None = None,
    *,
    event_id: bytes | None = None,
) -> Hit:
    """Return the hit that is recorded of a link, with the destination and judgement that the judge gave."""
    destination, judgement = judged
    return Hit(
        occurred_at_ms=occurred_at_ms,
        kind=kind,
        judgement=judgement,
        run_id=reader.run_id,
        publication_id=reader.publication_id,
        channel_id=reader.channel_id,
        destination=destination,
        arm=reader.arm,
        content_id=article.content_id if article else 0,
        link=article.link if article else 0,
        event_id=event_id,
    )


def open_networks(settings: Settings) -> Networks:
    """Return the known networks and the installation's own; raises SettingsError, which says what is wrong."""
    if settings.networks_file is None:
        return networks_of()
    try:
        return networks_of(settings.networks_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError({"TIDEWIRE_NETWORKS_FILE": "cannot be read"}) from error
    except NetworksError as error:
        raise SettingsError({"TIDEWIRE_NETWORKS_FILE": str(error)}) from error


def _number(reader: ReaderLink) -> int:
    """Return one number for the delivery's key."""
    return (reader.run_id << 94) | (reader.channel_id << 64) | reader.destination


def _soon(sent_at_ms: int, now_ms: int) -> int:
    """Return FLAG_SOON within 2 s of the send, whose second the link says; 0: it says none."""
    return FLAG_SOON if sent_at_ms and -SKEW_MS <= now_ms - sent_at_ms < SOON_MS else 0


def _forget(remembered: OrderedDict[int, Any], limit: int) -> None:
    while len(remembered) > limit:
        remembered.popitem(last=False)
