"""What every test may ask for: a migrated database, a broker, the published data."""

import gc
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from ledger.embedded.postgres import EmbeddedServer, embedded_server
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support import kafka, objects
from tests.support.database import (
    FAST,
    Database,
    fresh_database,
    make_template,
    run_apart,
    server_folder,
    shared_data_folder,
)
from tests.support.usage import make_room, open_books

ROOT = Path(__file__).parent.parent
NVML_STUB = ROOT / "tests" / "collectors" / "nvml_stub" / "nvml_stub.c"
SLOW_S = 60
# How long an example takes is the machine's matter; pytest's own limit ends what never ends.
# Examples share what a test is given: each empties it first, or has names of its own.
settings.register_profile(
    "ledger",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("deep", settings.get_profile("ledger"), max_examples=500)
settings.load_profile("ledger")


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """An embedded PostgreSQL for the session: fast, not durable."""
    with server_folder() as folder, embedded_server(folder, FAST) as running:
        yield running


@pytest.fixture(scope="session")
def durable_server() -> Iterator[EmbeddedServer]:
    """An embedded PostgreSQL that waits for the disk, for tests that stop, kill and restart it."""
    with server_folder() as folder, embedded_server(folder) as running:
        yield running


@pytest.fixture
def server_dir() -> Iterator[Path]:
    """An empty data directory for a server of the test's own."""
    with server_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    return make_template(server)


@pytest.fixture(scope="session")
def roomy(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The template with the days of `NOW`: made anew for each test they took more than all else."""
    with fresh_database(server, template) as database:
        run_apart(make_room(database.worker_url))
        yield database.name


@pytest.fixture
def begins_with(roomy: str) -> str:
    """What a test copies: a database as the migrations leave it, with room for facts of `NOW`.

    Where many tests begin with more, their module fills a database once and names that.
    """
    return roomy


@pytest.fixture
def database(server: EmbeddedServer, begins_with: str) -> Iterator[Database]:
    """A database of this test's own."""
    with fresh_database(server, begins_with) as fresh:
        yield fresh


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.worker_url)
    yield connection
    await connection.close()


@pytest.fixture
async def superuser(database: Database) -> AsyncIterator[Connection]:
    """Someone whom no trigger holds back."""
    connection = await connect(database.superuser_url)
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


@pytest.fixture
def elsewhere(server: EmbeddedServer, template: str) -> Iterator[Database]:
    """An empty database of the owner's, as docs/backup.md has it made."""
    del template  # which made the roles
    with fresh_database(server, "template0") as empty:
        yield empty


@pytest.fixture
async def opened(worker: Connection) -> Connection:
    """Books of one entity without events."""
    await open_books(worker)
    return worker


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.api_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Broker]:
    """A real broker for the session; a test that stops it starts it again before it ends."""
    try:
        broker = kafka.make_broker(tmp_path_factory.mktemp("kafka"), options=kafka.OFTEN)
    except kafka.BrokerUnavailableError as error:
        lacking(f"SKIPPED FOR WANT OF A KAFKA BROKER: {error}")
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def kafka_bootstrap(kafka_broker: kafka.Broker) -> str:
    """host:port of the running broker, started again if an earlier test left it stopped."""
    kafka_broker.start()
    return kafka_broker.bootstrap


@pytest.fixture
def kafka_topic(kafka_bootstrap: str) -> Callable[..., str]:
    """Makes a fresh topic of `partitions` partitions and returns its name."""

    def make(partitions: int = 1) -> str:
        name = f"test-{uuid.uuid4().hex}"
        kafka.create_topic(kafka_bootstrap, name, partitions)
        return name

    return make


@pytest.fixture(scope="session")
def object_address() -> Iterator[str]:
    """A server of buckets for the session."""
    with objects.object_server() as address:
        yield address


@pytest.fixture
def bucket(object_address: str, monkeypatch: pytest.MonkeyPatch) -> objects.Bucket:
    """A new bucket, which the environment leads to."""
    made = objects.make_bucket(object_address, f"test-{uuid.uuid4().hex}")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


def lacking(reason: str) -> NoReturn:
    """Skip loudly; under CI a check that did not run is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests stay until the end: who looks for garbage need not look through them.

    It took a third of collecting, and after that a fifth of what tests take in Python.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Tests that need the broker run in one worker and may wait for it to start; data is marked.

    Whatever order others bring them into, those that may take longest come first: with a long one
    at the end every worker but one has nothing to do.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "kafka_broker" in fixtures:
            item.add_marker("kafka")
            item.add_marker(pytest.mark.xdist_group("kafka"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))
        if "shared_data" in fixtures:
            item.add_marker("shared_data")
    yield
    items.sort(key=_may_take, reverse=True)


def _may_take(item: pytest.Item) -> int:
    """Seconds that a slow test may take, 0 for all others."""
    given = item.get_closest_marker("timeout")
    slow = item.get_closest_marker("slow") is not None
    return int(given.args[0]) if given is not None else SLOW_S if slow else 0


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data sets; without it the test is skipped, loudly."""
    folder = shared_data_folder(os.environ.get("TOKENLEDGER_TEST_DATA"), ROOT)
    if folder is None:
        pytest.skip(
            "SKIPPED FOR WANT OF DATA: set TOKENLEDGER_TEST_DATA to the published data sets"
        )
    return folder


@pytest.fixture(scope="session")
def stub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripted libnvidia-ml.so.1."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        lacking("NO C COMPILER: the NVML source is not tested on this machine")
    folder = tmp_path_factory.mktemp("nvml")
    library = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", str(library)]
    subprocess.run([*command, str(NVML_STUB)], check=True)
    return folder
