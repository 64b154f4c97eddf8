"""A ledger that shows who it is and asks who is there: its own CA, and certificates of clients."""

from contextlib import closing
from pathlib import Path

import pytest

from collectors.errors import CollectSettingsError, PublishError
from collectors.settings import HttpSettings
from collectors.to_http import HttpPublisher
from ledger.wire.batch import Batch, BatchHeader
from tests.collectors.servers import Receiver, serving
from tests.support.certificates import Certificates, make_certificates

BATCH = Batch(BatchHeader("/s", "p", 1, 1, 1), b'{"a":1}\n')


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def send(url: str, **files: Path) -> None:
    with closing(HttpPublisher(HttpSettings(url=url, api_key="k", **files))) as publisher:
        publisher.publish([BATCH], lambda refusal: pytest.fail(str(refusal)))


def test_a_batch_goes_to_a_ledger_of_ones_own_authority(certificates: Certificates) -> None:
    ledger = Receiver()
    with serving(ledger.answer, certificates.server_context()) as url:
        send(url, ssl_cafile=certificates.cafile)
    assert ledger.batches == [BATCH]


def test_a_batch_goes_to_a_ledger_that_asks_for_a_certificate(certificates: Certificates) -> None:
    ledger = Receiver()
    certfile, keyfile = certificates.client
    with serving(ledger.answer, certificates.server_context(asks_clients=True)) as url:
        with pytest.raises(PublishError):
            send(url, ssl_cafile=certificates.cafile)
        assert ledger.batches == []
        send(url, ssl_cafile=certificates.cafile, ssl_certfile=certfile, ssl_keyfile=keyfile)
    assert ledger.batches == [BATCH]


def test_a_ledger_that_nobody_vouches_for_gets_no_key(certificates: Certificates) -> None:
    ledger = Receiver()
    context = certificates.server_context()
    with serving(ledger.answer, context) as url, pytest.raises(PublishError, match="certificate"):
        send(url)
    assert ledger.keys == []


def test_files_that_are_no_certificates_are_named(certificates: Certificates) -> None:
    with pytest.raises(CollectSettingsError, match=r"absent\.pem"):
        send("https://127.0.0.1:9", ssl_cafile=Path("/absent.pem"))
    with pytest.raises(CollectSettingsError, match="check the files"):
        send("https://127.0.0.1:9", ssl_certfile=certificates.client[1])
