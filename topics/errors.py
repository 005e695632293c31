"""The errors of topic files and of topics on a broker."""

from __future__ import annotations

from collections.abc import Iterable


class TopicsError(Exception):
    """A topic file or a topic on the broker is not as it must be."""

    def __str__(self) -> str:
        """The docstring with the attributes."""
        known = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        sentence = (type(self).__doc__ or "").partition("\n")[0]
        return f"{sentence} ({known})" if known else sentence


class TopicError(TopicsError):
    """A topic file breaks the rules; mend the field as the remedy says and run `make generate`."""

    def __init__(self, file: str, field: str, remedy: str) -> None:
        super().__init__(file, field, remedy)
        self.file = file
        self.field = field
        self.remedy = remedy


class MissingTopicError(TopicsError):
    """Topics are missing on the broker; run `tidewire topics apply`."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(self.names)


class PartitionCountError(TopicsError):
    """A topic has another number of partitions than its file says; partitions are fixed at creation.

    Set TIDEWIRE_AUDIENCE_SHARDS to the number that the topics were made with, or choose another
    TIDEWIRE_TOPIC_PREFIX and apply again.
    """

    def __init__(self, name: str, expected: int, found: int) -> None:
        super().__init__(name, expected, found)
        self.name = name
        self.expected = expected
        self.found = found
        self.remedy = (
            "set TIDEWIRE_AUDIENCE_SHARDS as it was when the topics were made, or another TIDEWIRE_TOPIC_PREFIX"
        )


class BrokerRefusalError(TopicsError):
    """The broker did not make the topics; read its words and apply again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
