"""What was sealed cannot change unseen, in whatever table, by whoever may do anything."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from ledger.domain.errors import ConflictError
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.dispute import open_dispute
from ledger.flows.billing.dun import run_dunning
from ledger.flows.billing.import_statement import import_statement, read_statement
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.books.close_month import close_month, read_months
from ledger.flows.check_seals import check_seals
from ledger.flows.metering.archive import archive
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.reference.enter import enter_alias, enter_fx_rates
from ledger.flows.reference.enter_budget import enter_budget
from ledger.flows.reference.enter_dunning import enter_dunning_policy
from ledger.flows.reference.enter_grant import enter_top_up_rule
from ledger.flows.reference.enter_logo import enter_logo
from ledger.flows.reference.enter_parent import enter_parent
from ledger.flows.reference.enter_webhook import enter_webhook
from ledger.flows.reference.keys import create_api_key, revoke_api_key
from ledger.flows.reference.parties import change_entity
from ledger.flows.seal import seal, seal_when_due
from ledger.flows.settle import settle
from ledger.store.connect import connect, draw_batch_seq
from ledger.store.metering.archive_files import sha256_of
from ledger.store.metering.event_keys import SLOTS
from ledger.store.metering.retention import list_archived
from ledger.store.queries import Connection
from ledger.store.seal import ARCHIVED, MERGED, TABLES
from ledger.wire.budget_inputs import NewBudget
from ledger.wire.changes import EntityChange
from ledger.wire.credit_inputs import NewTopUpRule
from ledger.wire.dunning_inputs import NewDunningPolicy
from ledger.wire.inputs import NewAlias, NewApiKey, NewFxRates, read_input
from ledger.wire.party_inputs import NewParent
from ledger.wire.webhook_inputs import NewWebhook
from tests.flows.billing import document_of, grant, pay, registered, treated
from tests.flows.test_archive import BEFORE, DAY, LATER, TODAY
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.support.bills import enter_bill
from tests.support.books import Books
from tests.support.database import Database, filled_database
from tests.support.one_gpu import GPU
from tests.support.statements import IBAN, entry, statement
from tests.support.usage import (
    AUTHOR,
    SOURCE,
    Gate,
    add_customer,
    attempt,
    bound_to,
    correction,
    keyed,
    open_books,
    sequenced,
)
from tests.support.weights import add_weight_check, enter_idle, enter_measured
from tests.wire.samples import counters_event, energy_event, gap_event

HOUR = datetime(2026, 8, 6, 11, tzinfo=UTC)
SVG_LOGO = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 4"><rect width="8" height="4"/></svg>'
)
# Tables whose rows no seal vouches for, and why.
FOLDED = "merged again and again: check adds it up from the facts"
MADE_OF_OTHERS = "can be made again of sealed rows, or says only how far work has come"
EXPIRES = "goes after a while"
BY_CONTENT = "its key is a hash of what it says, and check misses it where a sum names it"
NOT_IN_ORDER = "has no place in the stored order: a restore compares its rows with the backup's"
UNSEALED = {
    **dict.fromkeys(("usage_delta", "usage_mark", "activity", "activity_mask"), FOLDED),
    "extra_delta": FOLDED,
    "pending_sum": FOLDED,
    "cost_share": "its digest is sealed with what was allocated, and check holds it against that",
    **dict.fromkeys(("fact_partition", "receipt_total", "arrived_batch"), MADE_OF_OTHERS),
    **dict.fromkeys(("receipt_summed", "stage_run", "parked", "work_state"), MADE_OF_OTHERS),
    **dict.fromkeys(("kafka_position", "invoice_series"), MADE_OF_OTHERS),
    **dict.fromkeys(("budget_balance", "reservation_hold"), MADE_OF_OTHERS),
    **dict.fromkeys(("entered_budget", "counted_meanwhile"), MADE_OF_OTHERS),
    **dict.fromkeys(("journal_stretch", "carried_balance"), MADE_OF_OTHERS),
    **dict.fromkeys(("usage_tally", "key_day"), MADE_OF_OTHERS),
    **dict.fromkeys(("budget_alert", "reservation", "reservation_end"), NOT_IN_ORDER),
    **dict.fromkeys(("quarantine_raw", "conflict_offer", "idempotency_key"), EXPIRES),
    **dict.fromkeys(("usage_key", "engine_key"), BY_CONTENT),
    **dict.fromkeys(("quarantine_dismissal", "suspense_dismissal"), NOT_IN_ORDER),
    **dict.fromkeys(("conflict_resolution", "loaded_file", "kafka_gap"), NOT_IN_ORDER),
    **dict.fromkeys(("ended_session", "archive_move", "webhook_state"), NOT_IN_ORDER),
    **dict.fromkeys(("notice", "notice_delivery"), NOT_IN_ORDER),
    "notice_due": MADE_OF_OTHERS,
    "account": "the chart, which the program has as well",
    "identity_key": "a secret of one database",
    "webhook_secret": "a secret that its holder would miss",
    "seal": "the chain itself",
    "seal_part": "the chain itself",
    "alembic_version": "of the schema",
}


async def test_every_table_is_sealed_or_says_why_not(owner: Connection) -> None:
    found = await owner.fetch(
        """SELECT relname FROM pg_class c
            WHERE relkind IN ('r', 'p') AND NOT relispartition
              AND relnamespace = 'public'::regnamespace"""
    )
    assert {row["relname"] for row in found} == {*TABLES, ARCHIVED, MERGED, *UNSEALED}
    assert not UNSEALED.keys() & {*TABLES, ARCHIVED, MERGED}


async def fill(worker: Connection) -> None:
    """Something in every table that is sealed, in two stretches, and something after them."""
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    await everything_entered(worker)
    cost = {"amount": "1.5", "currency": "EUR"}
    events = [attempt(f"e{n}", minute=n) for n in range(20)]
    events.append(attempt("much", minute=30, tokens=10**6))
    events[0]["data"]["provider_cost"] = cost
    events[1]["data"]["agent"] = {"id": "helper", "run_id": "run-1"}
    events[2]["data"]["usage"]["other"] = {"web_search.requests": 2}
    await gate.send(keyed(*events))
    await gate.send(keyed(attempt("e1", minute=1, tokens=9), attempt("bad") | {"time": None}))
    await worker.execute(
        """INSERT INTO quarantine_replay (quarantine_id, batch_seq, ordinal, fate)
           SELECT quarantine_id, batch_seq, 0, 'quarantined' FROM quarantine"""
    )
    await gate.send(sequenced([attempt(minute=40), attempt(minute=41)]))
    columns = Gate(worker, IngestLimits(chunk_facts=1))
    await columns.send(sequenced([attempt(minute=42), attempt(minute=43)], sequence=2))
    bound = keyed(attempt("bound", minute=42))
    await gate.send(replace(bound, permission=bound_to([SOURCE], "acme")))
    await gate.send(keyed(energy_event(), counters_event(), gap_event()))
    await seal(worker)
    await gate.send(keyed(correction("c9", of="e9", revision=1, tokens=7, minute=9)))
    await settle(worker, now=SEPTEMBER)
    await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    await document_of(worker, await worker.fetchval("SELECT invoice_id FROM invoice"))
    overdue = SEPTEMBER + timedelta(days=60)
    written = await run_dunning(worker, entity_id="factory", now=overdue, author=AUTHOR)
    assert len(written.letters) == 1
    await pay(worker, "bank-1", "0.01", currency="EUR")
    number = await worker.fetchval("SELECT number FROM invoice")
    await open_dispute(worker, named=number, line_no=None, now=SEPTEMBER, author=AUTHOR)
    await credit_invoice(
        worker,
        named=number,
        lines=None,
        now=SEPTEMBER,
        author=AUTHOR,
    )
    await soft_closed(worker)
    await seal(worker)
    await prepare_storage(worker, now=LATER)
    await gate.send(keyed(attempt("after", minute=50)), now=LATER)


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, roomy: str) -> Iterator[str]:
    yield from filled_database(server, roomy, fill)


@pytest.fixture
def begins_with(request: pytest.FixtureRequest, filled: str, roomy: str) -> str:
    return filled if "books" in request.fixturenames else roomy


@pytest.fixture
def books(worker: Connection) -> Gate:
    return Gate(worker)


async def soft_closed(connection: Connection) -> None:
    """The first month that may close."""
    months = await read_months(connection, entity_id="factory", now=SEPTEMBER)
    assert months.next is not None
    await close_month(
        connection,
        entity_id="factory",
        month=months.next,
        soft=True,
        now=SEPTEMBER,
        author=AUTHOR,
    )


async def weighed(books: Books, until: datetime) -> None:
    """A deployment, what its work takes, who pays for its idle, and what the utility asks for."""
    await books.deployment(HOUR, until, gpus=[GPU])
    await enter_measured(books.connection, HOUR, until)
    await add_weight_check(books.connection, HOUR, until, measured_mj=1)
    await enter_idle(books.connection, HOUR, "operator")
    await enter_bill(books.connection, "2026-08-06", "0.10")
    await enter_logo(books.connection, "factory", SVG_LOGO, AUTHOR)


async def everything_entered(connection: Connection) -> None:
    """A row of every kind that people enter, and readings of a GPU that costs something."""
    books, until = Books(connection), HOUR + timedelta(hours=1)
    await books.facility()
    await books.pue(HOUR, until)
    await books.tariff([(HOUR, until, "100")])
    await books.lease(HOUR, until, all_in=False)
    await weighed(books, until)
    await books.site_cost("rent", HOUR, until)
    await books.grid_factor("water", HOUR, until, "1080")
    await books.energy_meter("host-1", HOUR, until, measures="host", gpus=[GPU])
    await books.readings(GPU, [(HOUR + timedelta(minutes=n), 24_000_000 * n) for n in range(61)])
    alias = {"alias": "crm-1", "customer_id": "acme", "valid_from": "2026-01-01T00:00:00Z"}
    await enter_alias(connection, read_input(NewAlias, alias), AUTHOR)
    await add_customer(connection, "lab")
    child = {"customer_id": "lab", "parent_id": "acme", "valid_from": "2026-01-01T00:00:00Z"}
    await enter_parent(connection, read_input(NewParent, child), AUTHOR)
    await registered(connection)
    policy = {"entity_id": "factory", "reminder_days": [1], "valid_from": "2026-01-01T00:00:00Z"}
    await enter_dunning_policy(connection, read_input(NewDunningPolicy, policy), AUTHOR)
    said = {"entity_id": "factory", "valid_from": "2026-01-01", "payment_account": IBAN}
    await change_entity(connection, read_input(EntityChange, said), AUTHOR)
    booked, _ = read_statement(statement(entry("1.00", "of nobody", ref="R1")))
    await import_statement(connection, entity_id="factory", entries=booked, author=AUTHOR)
    await treated(connection, "standard")
    budget = {"budget_id": "tight", "customer_id": "acme", "period": "day", "unit": "tokens"}
    new = read_input(NewBudget, budget | {"amount": "5", "valid_from": "2026-01-01T00:00:00Z"})
    await enter_budget(connection, new, AUTHOR)
    hook = {"webhook_id": "erp", "entity_id": "factory", "events": ["invoice.issued"]}
    hook_new = read_input(NewWebhook, hook | {"url": "https://hooks.example.com/"})
    await enter_webhook(connection, hook_new, AUTHOR)
    low = {"customer_id": "acme", "currency": "EUR", "low_balance": "9"}
    new_rule = read_input(NewTopUpRule, low | {"valid_from": "2026-01-01T00:00:00Z"})
    await enter_top_up_rule(connection, new_rule, AUTHOR)
    held = {"currency": "EUR", "granted_on": "2026-01-01", "expires_on": "2026-08-30"}
    await grant(connection, "credit-1", "0.01", **held)
    await grant(connection, "credit-2", "5", models=["m"], **held)
    rate = {"base": "USD", "quote": "EUR", "day": "2026-08-06", "rate": "0.9", "source": "ECB"}
    await enter_fx_rates(connection, read_input(NewFxRates, {"rates": [rate]}), AUTHOR)
    key = await create_api_key(connection, read_input(NewApiKey, {"role": "admin"}), AUTHOR)
    await revoke_api_key(connection, key.key_id, AUTHOR)


async def named(connection: Connection) -> list[tuple[str, str, str, str]]:
    """(table, name, expected, stored) of each difference."""
    found = await check_seals([connection])
    return [(one.table, one.name, one.expected, one.stored) for one in found.differences]


async def test_what_was_sealed_is_as_it_was(books: Gate) -> None:
    found = await check_seals([books.connection])
    assert (found.seals, found.differences) == (2, [])
    sealed = await books.connection.fetch("SELECT DISTINCT table_name FROM seal_part")
    assert {row[0] for row in sealed} == TABLES.keys()
    assert found.head is not None
    assert found.head.startswith("2:")
    assert (await check_seals([books.connection], slice_rows=1)).differences == []


@asynccontextmanager
async def put_back(superuser: Connection, table: str) -> AsyncIterator[None]:
    """The table's rows again as they were, on leaving."""
    await superuser.execute(f"CREATE TEMPORARY TABLE was AS SELECT * FROM {table}")
    yield
    await superuser.execute(f"DELETE FROM {table}")
    await superuser.execute(
        f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM was; DROP TABLE was"
    )


async def test_a_row_that_was_taken_away_is_named_in_every_table(
    books: Gate, superuser: Connection
) -> None:
    for table in TABLES:
        async with put_back(superuser, table):
            one = f"(SELECT tableoid, ctid FROM {table} ORDER BY ctid LIMIT 1)"
            gone = await superuser.execute(f"DELETE FROM {table} WHERE (tableoid, ctid) = {one}")
            assert gone == "DELETE 1"
            found = await named(books.connection)
            # With a parent go its children, which stand in the stored order by it.
            assert table in {row[0] for row in found}
            assert {row[1] for row in found} == {"rows"}
            assert all(int(expected) > int(stored) for *_, expected, stored in found)
    assert await named(books.connection) == []


MOVED = ", ".join(f"ordinal_{slot} = ordinal_{slot} + 1" for slot in range(SLOTS))
CHANGES = {
    "a token more": (
        "usage_fact",
        "UPDATE usage_fact SET visible = visible + 1 WHERE event_id = 'e3'",
    ),
    "an unknown time": (
        "usage_fact",
        "UPDATE usage_fact SET ended_at = time WHERE event_id = 'e3'",
    ),
    "another customer's key": (
        "usage_fact",
        "UPDATE usage_fact SET usage_key_id = usage_key_id + 1 WHERE event_id = 'e3'",
    ),
    "two that changed places": (
        "usage_fact",
        """UPDATE usage_fact SET ordinal = CASE ordinal WHEN 3 THEN 4 ELSE 3 END
            WHERE event_id IN ('e3', 'e4')""",
    ),
    "what a chunk must hold": ("usage_chunk", "UPDATE usage_chunk SET sha256 = sha256(sha256)"),
    "when a chunk's facts ended": (
        "usage_chunk",
        "UPDATE usage_chunk SET last_times = ARRAY[first_time]",
    ),
    "a reading": ("gpu_reading", "UPDATE gpu_reading SET energy_mj = energy_mj + 1"),
    "a counter": ("counter_reading", "UPDATE counter_reading SET value = value + 1"),
    "a gap of a meter": ("meter_gap", "UPDATE meter_gap SET reason = 'x'"),
    "who sent": ("receipt", "UPDATE receipt SET actor = 'somebody'"),
    "a claim": ("event_key", f"UPDATE event_key SET {MOVED}"),
    "an amount": ("charge_day", "UPDATE charge_day SET amount[1] = amount[1] + 0.000000000001"),
    "trailing zeros of an amount": (
        "charge_day",
        "UPDATE charge_day SET amount[1] = amount[1] + 0.000000000000",
    ),
    "a posting's account": (
        "posting",
        "UPDATE posting SET account = '6100' WHERE account = '4000'",
    ),
    "a day later": (
        "journal_entry",
        "UPDATE journal_entry SET booked_for = booked_for + interval '1 d'",
    ),
    "an address on an invoice": (
        "invoice",
        "UPDATE invoice SET snapshot = jsonb_set(snapshot, '{buyer,name}', '\"Other\"')",
    ),
    "a document": ("invoice_document", "UPDATE invoice_document SET content = content || '\\x00'"),
    "a reason": ("manual_write", "UPDATE manual_write SET reason = 'none'"),
    "a price": (
        "rate_card_price",
        'UPDATE rate_card_price SET params = params || \'{"amount": "1"}\'',
    ),
    "a cut-off": ("cut_off", "UPDATE cut_off SET batch_seq = batch_seq + 1 WHERE cut_off_id = 1"),
}


async def test_a_change_is_named_by_table_and_stretch(books: Gate, superuser: Connection) -> None:
    for change, (table, sql) in CHANGES.items():
        async with put_back(superuser, table):
            assert not (await superuser.execute(sql)).endswith(" 0")
            found = (await check_seals([books.connection])).differences
            assert {(one.table, one.name) for one in found} == {(table, "digest")}, change
            assert all(one.where.startswith(("seal 1, ", "seal 2, ")) for one in found)
    assert await named(books.connection) == []


async def test_what_is_put_in_behind_a_seal_is_named(books: Gate, superuser: Connection) -> None:
    await superuser.execute(
        """INSERT INTO usage_fact
           SELECT '2026-08-07', lane, 1, 0, kind, flags, source_id, usage_key_id, engine_key_id,
                  time, started_at, first_token_at, ended_at, queue_ms, requests, uncached,
                  cache_read, cache_write, visible, reasoning, 'ghost', agent_run_id, end_user
             FROM usage_fact WHERE event_id = 'e1'"""
    )
    (one,) = (await check_seals([books.connection])).differences
    assert (one.table, one.name, one.expected, one.stored) == ("usage_fact", "rows", "0", "1")
    assert one.where.endswith(" of 2026-08-07")


async def test_a_chain_made_anew_does_not_have_the_head_that_was_kept(
    books: Gate, superuser: Connection
) -> None:
    head = (await check_seals([books.connection])).head
    assert head is not None
    await superuser.execute("UPDATE charge_day SET amount[1] = 0")
    await superuser.execute("DELETE FROM seal_part; DELETE FROM seal")
    await seal(books.connection)
    await seal(books.connection)
    assert await named(books.connection) == []
    found = await check_seals([books.connection], head=head)
    assert [(one.table, one.name) for one in found.differences] == [("seal", "head")]


async def test_a_seal_is_never_edited(books: Gate) -> None:
    for table in ("seal", "seal_part"):
        with pytest.raises(Exception, match=r"permission denied|append-only"):
            await books.connection.execute(f"DELETE FROM {table}")


async def test_a_batch_in_flight_is_not_sealed_and_ingest_does_not_wait(
    books: Gate, database: Database
) -> None:
    slow = await connect(database.worker_url)
    try:
        async with slow.transaction():
            drawn = await draw_batch_seq(slow)
            await books.send(keyed(attempt("later", minute=51)), now=LATER)
            last = await seal(books.connection)
            assert last is not None
            assert last.until_seq < drawn
        again = await seal(books.connection)
        assert again is not None
        assert again.until_seq > drawn
    finally:
        await slow.close()
    assert await named(books.connection) == []


async def test_nothing_new_is_not_sealed_again(books: Gate) -> None:
    last = await seal(books.connection)
    assert await seal_when_due(books.connection) is None
    assert await seal(books.connection) == last


async def test_two_that_seal_at_once_make_one_chain(books: Gate, database: Database) -> None:
    other = await connect(database.worker_url)
    try:
        await asyncio.gather(seal(books.connection), seal(other))
    finally:
        await other.close()
    assert await named(books.connection) == []


async def test_an_archived_day_is_vouched_for_by_its_file(
    books: Gate, superuser: Connection, tmp_path: Path
) -> None:
    done = await archive(books.connection, before=BEFORE, today=TODAY, folder=tmp_path)
    assert {(one.table, one.day.stored_day) for one in done.archived} == {
        ("usage_fact", DAY),
        ("usage_extra", DAY),
        ("gpu_reading", DAY),
        ("counter_reading", DAY),
    }
    assert await named(books.connection) == []
    await books.send(keyed(attempt("more", minute=52)), now=LATER)
    await seal(books.connection)
    assert await named(books.connection) == []
    sealed = await books.connection.fetchval(
        "SELECT count(*) FROM seal_part WHERE table_name = $1", ARCHIVED
    )
    assert sealed == 1
    # The file and the row that says what it is, both changed.
    (day,) = await list_archived(books.connection)
    path = Path(str(day.path))
    pl.read_parquet(path).with_columns(visible=pl.col("visible") + 1).write_parquet(path)
    with pytest.raises(ConflictError, match="SHA-256 differs"):
        await check_windows([books.connection])
    await superuser.execute(
        "UPDATE archived_partition SET sha256 = $1 WHERE table_name = 'usage_fact'",
        sha256_of(day.path),
    )
    assert [row[:2] for row in await named(books.connection)] == [(ARCHIVED, "digest")]
    await superuser.execute(
        "UPDATE archived_partition SET rows = rows - 1 WHERE table_name = 'usage_fact'"
    )
    assert ("usage_fact", "rows", "28", "27") in await named(books.connection)


async def test_a_day_that_is_not_what_was_sealed_stays_in_the_database(
    books: Gate, superuser: Connection, tmp_path: Path
) -> None:
    await superuser.execute("UPDATE usage_fact SET visible = visible + 1 WHERE event_id = 'e3'")
    done = await archive(books.connection, before=BEFORE, today=TODAY, folder=tmp_path)
    assert [(one.stored_day, one.reason) for one in done.kept] == [
        (DAY, "its facts are not those that were sealed: see `check`")
    ]


async def test_digests_are_the_same_in_any_session(books: Gate) -> None:
    """A restored server, or another host's, formats times and sorts texts in its own way."""
    await books.connection.execute("SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'")
    assert await named(books.connection) == []
