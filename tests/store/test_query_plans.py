"""No hot query reads a partition it need not: what each of them read, of ten stored days."""

from collections.abc import AsyncIterator, Iterator, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import md5
from typing import Any

import pytest

from ledger.embedded.postgres import EmbeddedServer
from ledger.store.array_parameter import array_parameter
from ledger.store.connect import connect
from ledger.store.queries import Connection, Query, load_queries
from tests.support.asking import ask_as
from tests.support.database import Database, fresh_database, run_apart
from tests.support.history import History, make_history
from tests.support.plans import Plan, explain

# One process makes the ten days, and asks everything.
pytestmark = [pytest.mark.xdist_group("plans"), pytest.mark.timeout(180)]

HISTORY = History()
OPEN = HISTORY.days - 1
FINAL = HISTORY.days * HISTORY.batches
# A table of more pages than this is never read from end to end.
LARGE = 100
# What one probe of a BRIN finds where nothing is: its own pages, and the last of the table's, which
# it summarises once they are a whole range.
PROBE = 48


@dataclass(frozen=True, slots=True)
class Asked:
    """A hot query, what it is asked, how many pages it may touch, and the days it may read."""

    room: str
    name: str
    given: dict[str, Any]
    pages: int
    days: Set[int] = frozenset()
    roles: tuple[str, ...] = ("worker",)
    title: str = field(default="", kw_only=True)
    # An open day has no index by key: who asks for all of a key's facts reads it whole.
    whole: Set[str] = field(default=frozenset(), kw_only=True)

    def __str__(self) -> str:
        return f"{self.room}.{self.name}{self.title}"


def of_day(day: int) -> dict[str, Any]:
    return {"since": HISTORY.midnight(day), "until": HISTORY.midnight(day + 1)}


def line_of(day: int) -> dict[str, Any]:
    """An invoice line over one day of what one customer used of m-1."""
    spans = {f"{name}s": [moment] for name, moment in of_day(day).items()}
    runs = {"customer_id": "c-7", "usage_key_ids": [13]} | spans
    page = {"batch_seq": FINAL, "after_seq": 0, "after_ordinal": -1, "limit": 1_000}
    return of_day(day) | runs | page


def runs_of(day: int) -> dict[str, Any]:
    """What leads to the keys of such a line."""
    matched = {"models": ["m-1"], "tiers": ["standard"], "adapters": [""], "regions": [""]}
    matched |= {"projects": [""], "agents": [""]}
    line = {"customer_id": "c-7", "meters": ["input_uncached"], "bands": [0], "outcomes": [0]}
    spans = {f"span_{name}s": [moment] for name, moment in of_day(day).items()}
    return of_day(day) | matched | line | spans | {"batch_seq": FINAL}


def partition(day: int) -> str:
    return f"usage_fact_{HISTORY.midnight(day):%Y%m%d}"


def suspended(after_seq: int) -> dict[str, Any]:
    """A page of what waits for a name, after a batch."""
    keys = [2 * HISTORY.customers + 1]
    return {"usage_key_ids": keys, "most": 50_000, "after_seq": after_seq, "after_ordinal": -1}


CUSTOMERS = [f"c-{n}" for n in range(1, HISTORY.customers + 1)]
WINDOWS = [HISTORY.midnight(OPEN) + timedelta(minutes=15 * n) for n in range(4)]
LATE = [HISTORY.midnight(OPEN) + timedelta(minutes=15 * n) for n in range(-96, 96)]
FACTORY = {"entity_id": "factory"}
ALLOCATED = FACTORY | {"windows": WINDOWS, "scopes": None}
IN_UTC = {"zone": "UTC"}
JUST_STORED = {"since_seq": FINAL - 5, "batch_seq": FINAL}
BY_CUSTOMER = {"by": ["customer", "tier"]}
A_DAY = FACTORY | {"batch_seq": FINAL} | of_day(4)
# A whole day as it is stored, and a part of one priced by its usage.
LISTED = [
    {
        **{"rate_card_id": "list", "model": f"m-{n}", "tier": "standard", "adapter": ""},
        **{"region": "", "context_band": 0, "meter": meter, "since": "2020-01-01T00:00Z"},
        **{"until": "2100-01-01T00:00Z", "price_id": 1, "currency": "EUR", "each_amount": "1"},
    }
    for n in range(2)
    for meter in ("input_uncached", "output_visible")
]


def asked(*, whole: bool) -> dict[str, Any]:
    span = {name: moment.isoformat() for name, moment in of_day(4).items()} | FACTORY
    said = {"whole": [span] if whole else [], "parts": [] if whole else [span], "listed": LISTED}
    return A_DAY | {"asked": said}


GROUPED = {"before": ["customer"], "step": "hour", "behind": ["model"], "zone": "UTC"}
GROUPS = A_DAY | GROUPED | {"after": None, "most": 100}
USED_BY_ALL = {"customer_id": None, "known": True}
USED_BY_ONE = {"customer_id": "c-7", "known": True}
DUE = {
    "customers": CUSTOMERS,
    "sinces": [HISTORY.midnight(OPEN)] * len(CUSTOMERS),
    "untils": [HISTORY.midnight(OPEN + 1)] * len(CUSTOMERS),
}
PLAIN = {
    "customers": array_parameter(CUSTOMERS),
    "spans": array_parameter(["1"] * len(CUSTOMERS)),
    "sinces": [HISTORY.midnight(OPEN)],
    "untils": [HISTORY.midnight(OPEN + 1)],
    "batch_seq": FINAL,
}
# Of the day after, of which nothing is charged yet.
UNCHARGED = PLAIN | {
    "sinces": [HISTORY.midnight(OPEN + 1)],
    "untils": [HISTORY.midnight(OPEN + 2)],
    "zone": "UTC",
}
# Of everybody under prices that look at a period as a whole: each window is read once.
POOLED = DUE | {
    "subscriptions": [f"s-{n}" for n in range(1, HISTORY.customers + 1)],
    "zones": ["UTC"],
    "midnights": ["{" + HISTORY.midnight(OPEN).isoformat() + "}"],
    "listed": [
        each | {"project_id": "", "agent_id": "", "outcomes": 0, "is_pooled": True}
        for each in LISTED
    ],
    "batch_seq": FINAL,
}
PERIOD = {
    **{"subscriptions": ["s-7"], "customers": ["c-7"], "batch_seq": FINAL},
    **{"sinces": [HISTORY.midnight(4)], "untils": [HISTORY.midnight(5)]},
}
BOOKED = {
    **{"natural_keys": ["revenue"], "batch_seq": FINAL},
    **{"sinces": [HISTORY.midnight(OPEN)], "untils": [HISTORY.midnight(OPEN + 1)]},
}
DUE_WINDOWS = {"windows": WINDOWS, "batch_seq": FINAL}
A_SCOPE = FACTORY | {"scope": "deployment:d", "window_start": WINDOWS[0], "batch_seq": FINAL}
AN_OVERVIEW = (
    FACTORY | of_day(4) | {"step": "hour", "zone": "UTC"} | {"asked": asked(whole=True)["asked"]}
)
CHARGES = asked(whole=True) | GROUPED | {"step": "day", "after": None, "most": 100}
AN_HOUR = {"since": WINDOWS[0], "until": WINDOWS[-1], "batch_seq": FINAL}
PLACES = {"batch_seqs": [HISTORY.batch_seqs(day)[3] for day in (2, 6)], "ordinals": [0, 7]}
SENT = [1, 250, 499]
BATCHES = {"source_ids": [1] * 3, "producers": ["p"] * 3, "epochs": [1] * 3, "sequences": SENT}
IDS = [f"{seq:09}-{n}" for seq in (1, 501) for n in range(100)]
HOUSE = ("worker", "finance")
EVERYONE = ("worker", "finance", "customer")
ALL_DAYS = set(range(HISTORY.days))

HOT = [
    Asked("pricing/rating", "find_touched_days", FACTORY | JUST_STORED | IN_UTC, 100),
    Asked("pricing/rating", "find_kinds", DUE | {"batch_seq": FINAL}, 6_000),
    Asked("pricing/rating", "find_pooled_use", POOLED, 30_000),
    Asked("pricing/plain_days", "find_plain_days", UNCHARGED, 6_000),
    Asked("pricing/plain_days", "read_windows", PLAIN, 6_000),
    Asked("pricing/rating", "count_changed_charges", FACTORY | JUST_STORED | IN_UTC, 100),
    Asked("pricing/rating", "has_changed_charges", FACTORY | {"batch_seq": FINAL}, 100),
    Asked("pricing/rating", "sum_charges_to_book", FACTORY | BOOKED, 6_000),
    Asked("cost/cost", "find_touched_activity", JUST_STORED, 100),
    Asked("cost/cost", "find_touched_engines", JUST_STORED | {"windows": LATE}, 100),
    Asked("cost/cost", "find_activity", DUE_WINDOWS, 400),
    Asked("cost/cost", "sum_activity", DUE_WINDOWS | {"engine_key_ids": None}, 400),
    Asked("cost/cost", "find_masks", DUE_WINDOWS, 50),
    Asked("cost/allocations", "find_allocations", ALLOCATED, 800),
    Asked("cost/cost", "find_changed_costs", FACTORY | JUST_STORED, 100),
    Asked("cost/cost", "find_eventful_windows", FACTORY | AN_HOUR, 800),
    Asked("cost/cost", "sum_costs_to_book", FACTORY | BOOKED, 6_000),
    Asked("metering/retention", "find_windows_to_fold", JUST_STORED, 100),
    Asked("billing/invoice", "trace_runs", runs_of(4), 400, roles=EVERYONE),
    # A customer's day reaches into the next one by what its first batch brought late.
    Asked("billing/invoice", "trace_events", line_of(4), 1_600, {4, 5}, EVERYONE),
    Asked("billing/invoice", "trace_events", line_of(OPEN), 1_900, {OPEN}, EVERYONE, title=" open"),
    Asked("billing/invoice", "sum_period_charges", PERIOD, 200),
    Asked("metering/correction", "find_standing", PLACES, 500, {2, 6}),
    Asked("metering/correction", "find_row_event_ids", PLACES, 500, {2, 6}),
    Asked("metering/retention", "find_standing_ids", PLACES, 50),
    Asked("metering/ingest", "find_batches", BATCHES, 50),
    Asked(
        "metering/event_keys",
        "find_event_keys",
        {"keys": [md5(event_id.encode()).digest() for event_id in IDS]},
        1_000,
    ),
    Asked(
        "metering/suspense",
        "find_suspended_facts",
        suspended(0),
        15_000,
        ALL_DAYS,
        whole={partition(OPEN)},
    ),
    Asked(
        "metering/suspense",
        "find_suspended_facts",
        suspended(950),
        1_000,
        {OPEN},
        title=" next page",
    ),
    Asked("cost/margin", "sum_usage", BY_CUSTOMER | A_DAY, 1_500),
    Asked("cost/margin", "sum_charges", BY_CUSTOMER | asked(whole=True), 800),
    Asked("cost/margin", "sum_charges", BY_CUSTOMER | asked(whole=False), 6_500, title=" of hours"),
    Asked("cost/margin", "sum_cost_lines", BY_CUSTOMER | A_DAY, 500),
    Asked("cost/grid", "sum_efficiency", BY_CUSTOMER | IN_UTC | A_DAY | {"by_day": True}, 1_000),
    Asked("cost/producers", "sum_producers", A_DAY, 200),
    Asked("cost/margin", "find_engine_activity", of_day(4) | {"batch_seq": FINAL}, 400),
    Asked("books/export", "find_usage", A_DAY, 1_500),
    Asked("grouped", "sum_usage", GROUPS | USED_BY_ALL, 1_500, roles=HOUSE),
    Asked("grouped", "sum_usage", GROUPS | USED_BY_ONE, 1_100, roles=EVERYONE, title=" of one"),
    Asked("grouped", "sum_extras", GROUPS | USED_BY_ALL, 700, roles=HOUSE),
    Asked("grouped", "sum_extras", GROUPS | USED_BY_ONE, 700, roles=EVERYONE, title=" of one"),
    Asked("grouped", "sum_charges", CHARGES | {"customer_id": None}, 1_500, roles=HOUSE),
    Asked(
        "grouped",
        "sum_charges",
        CHARGES | {"customer_id": "c-7"},
        1_000,
        roles=EVERYONE,
        title=" of one",
    ),
    Asked("cost/evidence", "find_window_costs", A_SCOPE, 400),
    Asked("api_reads", "sum_hourly", AN_OVERVIEW, 1_000, roles=HOUSE),
]


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, template: str) -> Iterator[Database]:
    with fresh_database(server, template) as database:
        run_apart(make_history(database, HISTORY))
        yield database


@asynccontextmanager
async def asking(database: Database, role: str) -> AsyncIterator[Connection]:
    """A connection that sees what this role sees: the worker all, others by row-level security."""
    worker = role == "worker"
    connection = await connect(database.worker_url if worker else database.api_url)
    try:
        async with connection.transaction():
            if not worker:
                await ask_as(connection, database, role, "c-7")
            yield connection
    finally:
        await connection.close()


async def large_tables(database: Database) -> dict[str, int]:
    """Pages of every table and partition that is large."""
    async with asking(database, "worker") as connection:
        rows = await connection.fetch(
            """SELECT relname, relpages FROM pg_class
                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relpages > $1""",
            LARGE,
        )
    return {row["relname"]: row["relpages"] for row in rows}


def read_in_vain(plan: Plan, days: Set[int]) -> dict[str, float]:
    """Partitions of other days of which more was read than a probe finds where nothing is."""
    expected = {partition(day) for day in days}
    scans = {node["Relation Name"]: node for node in plan.scans("usage_fact_")}
    pages = {name: plan.heap_pages(name) / node["Actual Loops"] for name, node in scans.items()}
    return {name: n for name, n in pages.items() if name not in expected and n > PROBE}


CASES = [
    pytest.param(asked, role, generic, id=f"{asked}-{role}-{'any' if generic else 'these'}")
    for asked in HOT
    for role in asked.roles
    for generic in (False, True)
]


@pytest.mark.parametrize(("asked", "role", "generic"), CASES)
async def test_a_hot_query_reads_what_it_needs_and_no_more(
    filled: Database, asked: Asked, role: str, generic: bool
) -> None:
    large = await large_tables(filled)
    query = load_queries(asked.room)[asked.name]
    async with asking(filled, role) as connection:
        plan = await explain(connection, query, generic=generic, **asked.given)
    assert plan.rows > 0, "an empty answer proves nothing"
    assert plan.sequential("") & large.keys() <= asked.whole
    assert read_in_vain(plan, asked.days) == {}
    assert plan.pages <= asked.pages


async def test_the_guard_sees_a_table_that_is_read_whole(filled: Database) -> None:
    whole = Query("whole", "SELECT sum(visible) FROM usage_fact WHERE visible > $1", ("least",))
    async with asking(filled, "worker") as connection:
        await connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        plan = await explain(connection, whole, least=0)
    every = {partition(day) for day in ALL_DAYS}
    assert plan.sequential("usage_fact_") >= every
    assert read_in_vain(plan, {4}).keys() == every - {partition(4)}
    assert plan.pages > 5_000


@pytest.mark.parametrize("day", [4, OPEN])
async def test_what_a_line_leads_to_is_what_reading_every_fact_finds(
    filled: Database, day: int
) -> None:
    trace = load_queries("billing/invoice")["trace_events"]
    found: list[tuple[int, int]] = []
    async with asking(filled, "worker") as connection:
        while True:
            seq, ordinal = found[-1] if found else (0, -1)
            page = {"after_seq": seq, "after_ordinal": ordinal, "limit": 70}
            rows = await trace.rows(connection, **line_of(day) | page)
            if not rows:
                break
            found += [(row["batch_seq"], row["ordinal"]) for row in rows]
        every = await connection.fetch(
            """SELECT f.batch_seq, f.ordinal FROM usage_fact f JOIN usage_key k USING (usage_key_id)
                WHERE k.customer_id = 'c-7' AND k.model = 'm-1' AND f.time >= $1 AND f.time < $2
                ORDER BY 1, 2""",
            HISTORY.midnight(day),
            HISTORY.midnight(day + 1),
        )
    assert len(every) > 200
    assert found == [tuple(row) for row in every]
