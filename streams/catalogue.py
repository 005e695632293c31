"""Owns what all shards of a process plan by: publications, channels and templates, read again when they changed."""

import asyncio
from collections.abc import Callable, Hashable

from publishing.domain.publications import Publication, Status, TriggerKind
from publishing.stores import audience as store
from publishing.stores.offsets import Pool

MAX_REMEMBERED = 4_096


class Catalogue:
    """One copy for the process; `fresh_for` is what makes it new enough for an input."""

    def __init__(self, pool: Callable[[], Pool]) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._fresh: dict[Hashable, None] = {}
        self._fingerprint = ""
        self._rows = store.CatalogueRows(publications={}, channels={}, template_versions={})

    async def fresh_for(self, cause: Hashable) -> store.CatalogueRows:
        """The rows as read after the first call for this cause: one cheap question a cause and process."""
        async with self._lock:
            if cause not in self._fresh:
                # Asked before reading: what changes in between is found by the next question.
                fingerprint = await store.fingerprint(self._pool())
                if fingerprint != self._fingerprint:
                    self._rows = await store.load_catalogue(self._pool())
                    self._fingerprint = fingerprint
                self._fresh[cause] = None
                if len(self._fresh) > MAX_REMEMBERED:
                    self._fresh.pop(next(iter(self._fresh)))
        return self._rows


def made_by_content(rows: store.CatalogueRows, batch_id: int) -> list[Publication]:
    """The running publications that a content batch makes runs of: those created before it, by number."""
    return [
        publication
        for _, publication in sorted(rows.publications.items())
        if publication.trigger.kind is TriggerKind.ON_CONTENT
        and publication.status is Status.RUNNING
        and publication.after_content < batch_id
    ]
