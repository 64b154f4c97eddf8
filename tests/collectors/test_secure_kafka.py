"""A real broker that asks who is there and shows who it is: TLS, SASL PLAIN and SCRAM."""

import gc
import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer

from collectors.errors import PublishError
from collectors.settings import KafkaSettings
from collectors.to_kafka import KafkaPublisher
from ledger.wire.batch import Batch, BatchHeader
from tests.conftest import lacking
from tests.support import kafka
from tests.support.certificates import Certificates, make_certificates

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka"), pytest.mark.timeout(180)]

TOPIC, USER, PASSWORD = "secured", "host", "open-sesame"
LISTENERS = {
    "SASL_SSL": "SASL_SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SSL": "SSL",
}
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MODULE = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Secured:
    """A broker with a listener for each protocol, and the certificates that it goes by."""

    broker: kafka.JavaBroker
    certificates: Certificates

    def settings(self, protocol: str, **more: Any) -> KafkaSettings:
        """What a collector is told to reach it."""
        plain: dict[str, Any] = {
            "bootstrap": [self.broker.listening[protocol]],
            "topic": TOPIC,
            "security_protocol": protocol,
            "ssl_cafile": self.certificates.cafile if "SSL" in protocol else None,
        }
        if protocol.startswith("SASL"):
            plain |= {"sasl_username": USER, "sasl_password": PASSWORD}
        return KafkaSettings(**(plain | more))

    def kept(self) -> list[tuple[bytes, BatchHeader | None]]:
        """All records of the topic, read over the listener that asks nothing."""
        consumer = KafkaConsumer(
            TOPIC,
            bootstrap_servers=self.broker.bootstrap,
            auto_offset_reset="earliest",
            consumer_timeout_ms=2_000,
            group_id=None,
        )
        with closing(consumer):
            return [(one.value, BatchHeader.from_headers(one.headers)) for one in consumer]


def properties(folder: Path, certificates: Certificates) -> dict[str, str]:
    store = folder / "server-store.pem"
    own, key = certificates.server
    store.write_text(key.read_text() + own.read_text())
    asked = f'required username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
    jaas = {"PLAIN": f"{MODULE}.plain.PlainLoginModule {asked}"}
    jaas |= dict.fromkeys(MECHANISMS[1:], f"{MODULE}.scram.ScramLoginModule required;")
    return {
        **kafka.SINGLE_NODE,
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.cafile),
        "listener.name.ssl.ssl.client.auth": "required",
        **{
            f"listener.name.{name.lower()}.{mechanism.lower()}.sasl.jaas.config": module
            for name in LISTENERS
            if name.startswith("SASL")
            for mechanism, module in jaas.items()
        },
    }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    certificates = make_certificates(folder)
    try:
        jars = kafka.resolve_jars()
    except kafka.BrokerUnavailableError as error:
        lacking(f"NO KAFKA THAT ASKS WHO IS THERE: {error}")
    broker = kafka.JavaBroker(
        jars,
        folder,
        options=kafka.OFTEN,
        settings=properties(folder, certificates),
        listeners=LISTENERS,
        scram=[f"{name}=[name={USER},password={PASSWORD}]" for name in MECHANISMS[1:]],
    )
    broker.start()
    try:
        kafka.create_topic(broker.bootstrap, TOPIC, 1)
        yield Secured(broker, certificates)
    finally:
        broker.close()


@pytest.fixture(autouse=True)
def _no_log(caplog: pytest.LogCaptureFixture) -> None:
    # Captured log records would keep the client's connections alive.
    caplog.set_level(logging.CRITICAL, logger="kafka")


def batch(sequence: int) -> Batch:
    return Batch(BatchHeader("/s", "p", 1, sequence, 1), b'{"a":%d}\n' % sequence)


def send(settings: KafkaSettings, sent: Batch) -> None:
    with closing(KafkaPublisher(settings)) as publisher:
        publisher.publish([sent], lambda refusal: pytest.fail(str(refusal)))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_a_batch_goes_to_a_broker_that_asks_for_a_password(
    secured: Secured, protocol: str, mechanism: str
) -> None:
    sent = batch(100 + 10 * MECHANISMS.index(mechanism) + len(protocol) % 10)
    send(secured.settings(protocol, sasl_mechanism=mechanism), sent)
    assert (sent.body, sent.header) in secured.kept()


def test_a_batch_goes_to_a_broker_that_asks_for_a_certificate(secured: Secured) -> None:
    certfile, keyfile = secured.certificates.client
    send(secured.settings("SSL", ssl_certfile=certfile, ssl_keyfile=keyfile), batch(1))
    assert (batch(1).body, batch(1).header) in secured.kept()


def error_of(settings: KafkaSettings) -> str:
    with pytest.raises(PublishError) as caught:
        send(settings, batch(999))
    return str(caught.value)


def refused(secured: Secured, several: Sequence[KafkaSettings]) -> list[str]:
    """The error of each, all tried at once: the client tries for ten seconds."""
    before = len(secured.kept())
    with ThreadPoolExecutor(len(several)) as pool:
        said = list(pool.map(error_of, several))
    with warnings.catch_warnings():
        # The client leaves the sockets of connections that were refused to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    assert len(secured.kept()) == before
    return said


def test_a_wrong_password_is_an_error_that_does_not_say_it_and_no_other_authority_is_believed(
    secured: Secured, tmp_path: Path
) -> None:
    wrong = {"sasl_password": "let-me-in"}
    passwords = [secured.settings("SASL_SSL", sasl_mechanism=name, **wrong) for name in MECHANISMS]
    other = make_certificates(tmp_path).cafile
    authority = secured.settings("SASL_SSL", sasl_mechanism="PLAIN", ssl_cafile=other)
    said = refused(secured, [*passwords, authority])
    assert len(said) == len(MECHANISMS) + 1
    assert "let-me-in" not in "".join(said)
