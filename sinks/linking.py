"""The tracked links of letters: what each leads to, signed as far as the tracking policy allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from publishing.domain import links
from publishing.domain.keys import KeyRing
from publishing.domain.links import HONEYPOT_LINK, LinkError, Purpose
from publishing.domain.tracking import TrackingPolicy, signed_destination
from publishing.stores.deliveries import Claim, Slot
from sinks.contract import Article

# The number of an article's own link; 0 means none.
ARTICLE_LINK = 1


@dataclass(frozen=True, slots=True)
class RunLinks:
    """The parts of a run's click links by article (whole addresses where nothing is tracked), and the honeypot's."""

    parts: Mapping[int, str]
    honeypot: str | None


@dataclass(frozen=True, slots=True)
class LetterLinks:
    """The addresses of one letter; an article whose own address may not be linked to is absent."""

    articles: Mapping[int, str]
    open_url: str | None
    unsubscribe_url: str | None
    honeypot_url: str | None


@dataclass(frozen=True, slots=True)
class Linking:
    """Signs links with the current key for the address that readers reach us by."""

    ring: KeyRing
    public_url: str
    policy: TrackingPolicy = TrackingPolicy.IDENTIFIED

    def of_run(self, run_id: int, articles: Mapping[int, Article]) -> RunLinks:
        """Sign what is the same in all letters of a run: each article's link, and the one that no reader sees."""
        parts = {}
        for number, article in articles.items():
            try:
                parts[number] = self._article(run_id, number, ARTICLE_LINK, article.url)
            except LinkError:
                continue
        try:
            honeypot = self._article(run_id, 0, HONEYPOT_LINK, f"{self._base}/") if self._is_tracked else None
        except LinkError:  # an installation whose own address is no plain one
            honeypot = None
        return RunLinks(parts, honeypot)

    def of_letter(self, run: RunLinks, claim: Claim, slot: Slot, now: datetime) -> LetterLinks:
        """Sign what is of one letter; a room has nothing to open or to leave, and no honeypot."""
        is_reader = slot.sealed_address is not None
        leave = f"{self._base}/u/{self._reader(Purpose.UNSUBSCRIBE, claim, slot, now)}" if is_reader else None
        if not self._is_tracked:
            return LetterLinks(run.parts, None, leave, None)
        click = self._reader(Purpose.CLICK, claim, slot, now)
        linked = [number for number in slot.content_ids if number in run.parts]
        return LetterLinks(
            {number: f"{self._base}/c/{run.parts[number]}/{click}" for number in linked},
            f"{self._base}/o/{self._reader(Purpose.OPEN, claim, slot, now)}.gif" if is_reader else None,
            leave,
            f"{self._base}/c/{run.honeypot}/{click}" if is_reader and run.honeypot is not None else None,
        )

    @property
    def _base(self) -> str:
        return self.public_url.rstrip("/")

    @property
    def _is_tracked(self) -> bool:
        return self.policy is not TrackingPolicy.OFF

    def _article(self, run_id: int, content_id: int, link: int, url: str) -> str:
        if not self._is_tracked:
            return links.check_target(url)
        return links.sign_article(self.ring, run_id=run_id, content_id=content_id, link=link, url=url)

    def _reader(self, purpose: Purpose, claim: Claim, slot: Slot, now: datetime) -> str:
        is_leaving = purpose is Purpose.UNSUBSCRIBE
        return links.sign_reader(
            self.ring,
            purpose=purpose,
            run_id=claim.run_id,
            publication_id=claim.publication_id,
            channel_id=claim.channel_id,
            destination=slot.destination if is_leaving else signed_destination(self.policy, slot.destination),
            arm=slot.arm,
            policy=self.policy,
            sent_at_s=int(now.timestamp()),
        )
