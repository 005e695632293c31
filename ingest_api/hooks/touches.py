"""Owns an open or a click that a room's provider tells of: judged, and kept as the tracking policy says."""

from ingest_api.collector import Hit
from ingest_api.judging import Judge, hit_of
from ingest_api.resources import Resources
from publishing.domain.links import ArticleLink, ReaderLink
from publishing.domain.tracking import kept_of, policy_named, stricter
from publishing.domain.verdicts import Visitor, judgement_of
from schemas.messages import EngagementKind


class Touches:
    """Makes hits of what people in a room did; a room is many people, so that many links at a time are no burst."""

    def __init__(self, resources: Resources, judge: Judge) -> None:
        """Follow the policy of the settings."""
        self._judge = judge
        self._policy = policy_named(resources.settings.tracking_policy)

    def visitor(self, user_agent: str, address: str) -> Visitor:
        """Return who it was; the agent and the address are not needed any more."""
        return self._judge.visitor({b"user-agent": user_agent.encode("latin-1", "replace")}, address)

    def hit(
        self,
        kind: EngagementKind,
        occurred_at_ms: int,
        *,
        visitor: Visitor,
        reader: ReaderLink,
        event_id: bytes,
        article: ArticleLink | None = None,
    ) -> Hit | None:
        """Return the hit, or None when the policy keeps none."""
        policy = stricter(reader.policy, self._policy)
        if not policy:
            return None
        destination, flags = kept_of(policy, reader.destination, is_private=visitor.is_private)
        judgement = judgement_of(visitor.agent, visitor.network, flags | visitor.flags)
        return hit_of(kind, occurred_at_ms, reader, (destination, judgement), article, event_id=event_id)
