"""Which part of the audience a destination belongs to."""


def shard_of(destination: int, shards: int) -> int:
    """The shard (0 .. shards - 1) that owns a destination number."""
    return destination % shards
