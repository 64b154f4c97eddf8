"""A new program on an old database, and the reverse, end in one clear line."""

import asyncio
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from ledger.flows.metering.check import check_windows
from ledger.store.connect import connect
from ledger.store.metering.event_keys import SLOTS
from ledger.store.queries import Connection
from ledger.store.schema import known_revisions
from tests.cli.command_line import CommandLine
from tests.support.database import Database, execute
from tests.support.usage import Gate, attempt, correction, fates, keyed, open_books, sequenced

ROOT = Path(__file__).parents[2]
NEWER = "20991231_0001"


@pytest.fixture(autouse=True)
def kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that nobody comes to ask."""
    monkeypatch.setenv("TOKENLEDGER_KAFKA_BOOTSTRAP", "127.0.0.1:1")


def stand_at(database: Database, revision: str) -> None:
    """Another version's migrations ran."""
    asyncio.run(
        execute(database.superuser_url, f"UPDATE alembic_version SET version_num = '{revision}'")
    )


def test_known_revisions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    listed = [one.revision for one in scripts.walk_revisions()]
    assert tuple(reversed(listed)) == known_revisions()


# Of each table where its digests are told, and its columns of them.
DIGESTS = {
    "event_key": ("taken_event", [f"digest_{slot}" for slot in range(SLOTS)]),
    "ingest_batch": ("ingest_batch", ["digest"]),
    "correction": ("correction", ["digest"]),
}
STARTS = (["status"], ["check"], ["api"], ["worker"], ["backup", "--to", "nowhere"])


@pytest.mark.parametrize("arguments", STARTS, ids=lambda one: str(one[0]))
def test_an_old_database_is_to_be_migrated(command: CommandLine, arguments: list[str]) -> None:
    old = known_revisions()[-2]
    stand_at(command.database, old)
    said = command.refusal(*arguments)
    assert said == (
        f"The database has the schema {old}, and this version needs {known_revisions()[-1]}."
        " Stop other processes and run `tokenledger migrate`."
    )


@pytest.mark.parametrize("arguments", [*STARTS, ["migrate"]], ids=lambda one: str(one[0]))
def test_an_old_program_is_to_be_upgraded(command: CommandLine, arguments: list[str]) -> None:
    stand_at(command.database, NEWER)
    said = command.refusal(*arguments)
    assert said == (
        f"The database has the schema {NEWER}, which is newer than this version"
        f" ({known_revisions()[-1]}). Upgrade tokenledger on this host."
    )


async def test_what_an_earlier_version_counted_is_a_duplicate_when_it_comes_again(
    worker: Connection, database: Database
) -> None:
    """Digests of another version: what was counted is counted, whatever they are of."""
    await open_books(worker)
    gate = Gate(worker)
    calls = [
        keyed(attempt("a"), attempt("b", minute=1)),
        keyed(correction("c", of="a", revision=1, tokens=7)),
        sequenced([attempt(minute=2), attempt(minute=3)]),
    ]
    for call in calls:
        await gate.send(call)
    before = await fates(worker)
    superuser = await connect(database.superuser_url)
    await superuser.execute("SET session_replication_role = replica")
    for table, (told, columns) in DIGESTS.items():
        marks = await superuser.fetch(f"SELECT DISTINCT substr(digest::text, 1, 2) FROM {told}")
        assert [row[0] for row in marks] == ["01"]
        for digest in columns:
            await superuser.execute(
                f"UPDATE {table} SET {digest} = ('f0' || substr(md5({digest}::text), 3))::uuid"
            )
    await superuser.close()
    for call in calls:
        outcomes = {item.outcome for found in await gate.send(call) for item in found.items()}
        assert outcomes == {"duplicate"}
    after = await fates(worker)
    assert after == before | {"received": 10, "duplicate": 5}
    assert (await check_windows([worker])).differing == 0


async def test_of_one_version_other_content_is_a_conflict(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await gate.send(keyed(attempt("a")))
    assert await gate.outcomes(keyed(attempt("a", tokens=11))) == ["conflict"]
