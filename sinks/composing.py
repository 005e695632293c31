"""What letters are made from: channel configurations by version, articles by version, and links."""

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from publishing.domain.truncation import one_line
from publishing.runtime.sealing import Sealer, SealError
from publishing.stores import reading
from publishing.stores.channels import READERS_KIND, config_label
from publishing.stores.deliveries import Claim, Slot
from publishing.stores.reading import ContentTexts
from sinks.contract import Article, Channel, ConfigError, Item, Letter, RenderError
from sinks.linking import Linking, RunLinks
from sinks.pacing import Pacer

MAX_CACHED_ARTICLES = 4_096


@dataclass(slots=True, kw_only=True)
class OpenChannel:
    """A channel whose configuration is open; its pacer outlives changes of the configuration."""

    version: int
    config: Any
    pacer: Pacer


class UnusableChannelError(Exception):
    """The channel's configuration does not open or parse: its deliveries fail with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Composer:
    """Makes letters for one kind of channel; its caches hold only what a version names."""

    def __init__(self, pool: reading.Pool, channel: Channel, *, sealer: Sealer, linking: Linking) -> None:
        self._pool = pool
        self._channel = channel
        self._sealer = sealer
        self._linking = linking
        self._channels: dict[int, OpenChannel] = {}
        self._articles: OrderedDict[int, Article] = OrderedDict()
        self._portion = 1.0

    def take_portion(self, portion: float) -> None:
        """Pace by this part of each rate: that of the partitions which are ours. A room is on one partition alone."""
        self._portion = portion if self._channel.name == READERS_KIND else 1.0
        for known in self._channels.values():
            known.pacer.portion = self._portion

    async def channel(self, channel_id: int, version: int) -> OpenChannel:
        """The channel at this version; raises UnusableChannelError."""
        known = self._channels.get(channel_id)
        if known is not None and known.version == version:
            return known
        row = await reading.read_channel(self._pool, channel_id)
        if row is None:
            raise UnusableChannelError("channel_unknown")
        try:
            plain = json.loads(self._sealer.open_config(config_label(channel_id), row.config_sealed))
            config = self._channel.parse_config(plain)
        except SealError as error:
            raise UnusableChannelError("channel_sealed") from error
        except (ConfigError, ValueError) as error:
            raise UnusableChannelError("channel_config") from error
        pacer = self._pacer(row.limits)
        if known is not None:
            pacer.share, pacer.due_s, pacer.blocked_until_s = known.pacer.share, 0.0, known.pacer.blocked_until_s
        self._channels[channel_id] = OpenChannel(version=row.version, config=config, pacer=pacer)
        return self._channels[channel_id]

    def _pacer(self, limits: Mapping[str, Any]) -> Pacer:
        asked = limits.get("per_second")
        of_kind = self._channel.limits
        if isinstance(asked, int | float) and not isinstance(asked, bool) and asked > 0:
            burst = max(1, min(of_kind.burst, int(asked)))
            return Pacer(per_second=float(asked), burst=burst, portion=self._portion)
        return Pacer(per_second=of_kind.per_second, burst=of_kind.burst, portion=self._portion)

    async def articles(self, content_ids: Iterable[int]) -> dict[int, Article]:
        """The articles that may still be sent, at their present versions; retracted ones are absent."""
        known = {number: self._articles[number].version if number in self._articles else 0 for number in content_ids}
        read = await reading.read_content(self._pool, known)
        for number, texts in read.texts.items():
            self._articles[number] = _article(texts)
        found = {number: self._articles[number] for number in read.versions}
        for number in found:
            self._articles.move_to_end(number)
        while len(self._articles) > MAX_CACHED_ARTICLES:
            self._articles.popitem(last=False)
        return found

    def signed(self, run_id: int, articles: Mapping[int, Article]) -> RunLinks:
        """What the letters of a run have in common of their links; an address that may not be linked to has none."""
        return self._linking.of_run(run_id, articles)

    def letter(
        self, claim: Claim, slot: Slot, *, articles: Mapping[int, Article], parts: RunLinks, now: datetime
    ) -> Letter:
        """One delivery's letter; raises RenderError when its address does not open."""
        links = self._linking.of_letter(parts, claim, slot, now)
        return Letter(
            run_id=claim.run_id,
            publication_id=claim.publication_id,
            channel_id=claim.channel_id,
            destination=slot.destination,
            publication=one_line(claim.publication),
            items=tuple(
                Item(article=articles[number], link=links.articles.get(number), score=score)
                for number, score in zip(slot.content_ids, slot.scores, strict=True)
                if number in articles
            ),
            sent_at=now,
            locale=slot.locale,
            address=self._address(slot) if slot.sealed_address is not None else None,
            open_url=links.open_url,
            unsubscribe_url=links.unsubscribe_url,
            honeypot_url=links.honeypot_url,
        )

    def _address(self, slot: Slot) -> str:
        assert slot.data_key is not None
        assert slot.sealed_address is not None
        try:
            return self._sealer.open(slot.data_key, slot.destination, slot.sealed_address).decode()
        except (SealError, UnicodeDecodeError) as error:
            raise RenderError("address_sealed") from error


def _article(texts: ContentTexts) -> Article:
    return Article(
        content_id=texts.id,
        version=texts.version,
        title=one_line(texts.title),
        summary=one_line(texts.summary),
        url=texts.url,
        author=one_line(texts.author) if texts.author else None,
        language=texts.language,
        topics=texts.topics,
        published_at=texts.published_at,
    )
