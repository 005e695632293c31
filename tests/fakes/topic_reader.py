"""Reads what was produced to a topic."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from publishing.runtime.settings import Settings
from topics.model import Topic


async def drained(settings: Settings, topic: Topic) -> list[Any]:
    """All records of a topic, from its beginning to its present end."""
    name = topic.named(settings.topic_prefix)
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, enable_auto_commit=False) as consumer:
        places = [TopicPartition(name, number) for number in range(topic.partition_count(settings.audience_shards))]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        records: list[Any] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for found in (await consumer.getmany(timeout_ms=500)).values():
                records += found
    return records
