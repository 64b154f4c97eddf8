"""A worker joins its group again however short a poll is beside what the broker takes to answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from kafka import KafkaAdminClient

from ledger.settings import Settings
from ledger.stream.topic import KafkaTopic


@asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[KafkaTopic]:
    """A reader whose polls end while the broker still thinks about the join."""
    settings = Settings(kafka_bootstrap=bootstrap, kafka_topic=topic, kafka_group=f"group-{topic}")
    with ThreadPoolExecutor(1) as thread:
        reader = KafkaTopic(settings, thread, poll_ms=1)
        await reader.open()
        try:
            yield reader
        finally:
            await reader.close()


async def until_ours(reader: KafkaTopic, partitions: int) -> None:
    async with asyncio.timeout(20):
        while len(await reader.log_starts()) < partitions:
            await reader.poll({})


async def test_a_start_ends_with_every_partition(
    kafka_bootstrap: str, kafka_topic: Callable[..., str]
) -> None:
    for _ in range(4):
        async with reading(kafka_bootstrap, kafka_topic(4)) as reader:
            await until_ours(reader, 4)


async def test_new_partitions_are_read_as_well(
    kafka_bootstrap: str, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic(1)
    async with reading(kafka_bootstrap, topic) as reader:
        await until_ours(reader, 1)
        admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
        try:
            admin.create_partitions({topic: 4})
            admin.wait_for_topics([topic])
        finally:
            admin.close()
        # What the consumer asks by itself every five minutes.
        await reader._call(reader._consumer.topics)
        await until_ours(reader, 4)
