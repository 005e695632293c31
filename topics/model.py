"""What a topic is: its name, what it carries, and how it is kept."""

from __future__ import annotations

from dataclasses import dataclass

from topics.errors import TopicsError

DLQ_RETENTION_MS = 30 * 24 * 3600 * 1000
"""A buried record is looked at within 30 days."""

_MIN_INSYNC = 2  # with three replicas one broker may be away (Kafka, min.insync.replicas)


class NoDlqError(TopicsError):
    """The topic has no DLQ; set `dlq: true` in its file if records of it may be buried."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic; `partitions` None means one for each shard, `retention_ms` -1 means for ever."""

    name: str
    message: str | None
    partitions: int | None
    key: str
    retention_ms: int
    cleanup: str
    has_dlq: bool
    description: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    @property
    def dlq(self) -> Topic:
        """The topic of its buried records, with one partition; raises NoDlqError where it has none."""
        if not self.has_dlq:
            raise NoDlqError(self.name)
        return Topic(
            name=f"{self.name}.dlq",
            message=None,
            partitions=1,
            key="topic/partition/offset",
            retention_ms=DLQ_RETENTION_MS,
            cleanup="delete",
            has_dlq=False,
            description=f"Buried records of {self.name}: the raw bytes, with the reason in the headers.",
            producers=self.consumers,
            consumers=("tidewire dlq",),
        )

    def named(self, prefix: str) -> str:
        """The name on the broker; `prefix` keeps tenants and test sessions of one broker apart."""
        return prefix + self.name

    def partition_count(self, shards: int) -> int:
        """Number of partitions where the audience has `shards` shards."""
        return shards if self.partitions is None else self.partitions

    def configs(self, replication: int) -> dict[str, str]:
        """The topic's settings on a broker, for `replication` copies of each partition."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "min.insync.replicas": str(_MIN_INSYNC if replication > _MIN_INSYNC else 1),
        }
