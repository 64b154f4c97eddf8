"""The broker that tests get is Apache Kafka itself, and can be stopped, killed and started."""

import socket
from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.support.kafka import Broker


def produce(bootstrap: str, topic: str, value: bytes) -> int:
    """Send one record that the broker acknowledges, and return its offset."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        return int(producer.send(topic, value, partition=0).get(timeout=30).offset)
    finally:
        producer.close()


def read_all(bootstrap: str, topic: str) -> list[bytes]:
    """Every value of partition 0, from the beginning to the present end."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    values: list[bytes] = []
    while len(values) < end:
        for records in consumer.poll(timeout_ms=1000).values():
            values.extend(record.value for record in records)
    consumer.close()
    return values


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_acknowledged_record_survives_the_broker(
    kafka_broker: Broker, kafka_bootstrap: str, kafka_topic: Callable[..., str], end: str
) -> None:
    topic = kafka_topic()
    assert produce(kafka_bootstrap, topic, b"before") == 0
    getattr(kafka_broker, end)()
    host, _, port = kafka_bootstrap.partition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    kafka_broker.start()
    assert produce(kafka_bootstrap, topic, b"after") == 1
    assert read_all(kafka_bootstrap, topic) == [b"before", b"after"]


def test_topic_is_fresh_and_has_the_partitions_asked_for(
    kafka_bootstrap: str, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic(partitions=3)
    assert topic != kafka_topic()
    consumer = KafkaConsumer(bootstrap_servers=kafka_bootstrap)
    try:
        assert consumer.partitions_for_topic(topic) == {0, 1, 2}
    finally:
        consumer.close()
