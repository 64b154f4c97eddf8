"""Plain days on their way through columns: what was used comes out, and charges go in, as COPY."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.entity import LegalEntity
from ledger.domain.pricing.plain_days import COUNTED, PlainCharges, PlainWindows
from ledger.domain.pricing.rate_card import UsageKey
from ledger.store.array_parameter import array_parameter
from ledger.store.array_texts import decimal_texts, name_texts, whole_texts
from ledger.store.binary_read import INT4, INT8, TIME, read_columns
from ledger.store.connect import CutOff
from ledger.store.copying import copy_lines, copy_out, fields_of
from ledger.store.pricing.rating import CustomerPeriod
from ledger.store.queries import Connection, load_queries

PLAIN = load_queries("pricing/plain_days")
_WINDOWS = {"day": INT4, "usage_key_id": INT8, "window_start": TIME} | dict.fromkeys(COUNTED, INT8)
_DAY = ("customer_id", "day_start", "subscription_id", "entity_id", "cut_off_id", "batch_seq")
_LISTS = ("currency", "usage_key_id", "meter", "price_id", "quantity", "amount")
_NOTHING = "{}"
_UNKNOWN = ("input", "output", "cached", "written", "reasoning")
_NO_MARKS = dict.fromkeys(("estimated", "incomplete", *(f"{name}_unknown" for name in _UNKNOWN)), 0)


@dataclass(frozen=True, slots=True)
class PlainDay:
    """A day by its place among others, and what prices all of it."""

    index: int
    subscription_id: str
    rate_card_id: str


async def find_plain_days(
    connection: Connection,
    *,
    entity: LegalEntity,
    periods: Sequence[CustomerPeriod],
    batch_seq: int,
) -> list[PlainDay]:
    """Which of some days nothing is stored of, hold nothing but tokens and requests of which all is
    known, and are under one card, as known at a cut-off."""
    row = await PLAIN["find_plain_days"].row(
        connection, **_spans(periods), zone=entity.zone, batch_seq=batch_seq
    )
    if not row or not row["places"]:
        return []
    columns = row["places"], row["subscriptions"], row["rate_cards"]
    return [PlainDay(*each) for each in zip(*columns, strict=True)]


async def read_windows(
    connection: Connection, *, periods: Sequence[CustomerPeriod], batch_seq: int
) -> PlainWindows:
    """What was used on some days as known at a cut-off."""
    query = PLAIN["read_windows"]
    stream = await copy_out(connection, query, **_spans(periods), batch_seq=batch_seq)
    columns = read_columns(stream, _WINDOWS)
    usage_key_ids, keys = np.unique(columns["usage_key_id"], return_inverse=True)
    counts = np.stack([columns[name] for name in COUNTED])
    return PlainWindows(columns["day"], keys, columns["window_start"], counts, usage_key_ids)


async def find_key_kinds(
    connection: Connection,
    *,
    usage_key_ids: Ints,
    kinds: Mapping[UsageKey, int],
    batch_seq: int,
) -> Ints:
    """The number of each usage key's kind, -1 for another."""
    row = await PLAIN["find_key_kinds"].row(
        connection,
        usage_key_ids=array_parameter([*map(str, usage_key_ids.tolist())]),
        kinds=[{**asdict(key), "kind": number} for key, number in kinds.items()],
        batch_seq=batch_seq,
    )
    numbers = np.full(usage_key_ids.size, -1, np.int64)
    if row and row["kinds"]:
        numbers[np.searchsorted(usage_key_ids, row["usage_key_ids"])] = row["kinds"]
    return numbers


async def append_plain_charges(
    connection: Connection,
    *,
    entity: LegalEntity,
    days: Sequence[tuple[str, datetime, str]],
    charges: PlainCharges,
    cut_off: CutOff,
    stored_seq: int,
) -> int:
    """Append what days, by customer, start and subscription, come to and count; returns how many
    charges."""
    begins = {start: start.isoformat() for start in {start for _, start, _ in days}}
    stored = fields_of((entity.entity_id, cut_off.cut_off_id, stored_seq))
    named = [
        f"{fields_of((name, begins[start], subscription))}\t{stored}"
        for name, start, subscription in days
    ]
    charged = zip(named, *_lists(charges), strict=True)
    lines = ["\t".join(fields) for fields in charged if fields[-1] != _NOTHING]
    await copy_lines(connection, "charge_day", (*_DAY, *_LISTS), lines)
    counted = zip(named, charges.requests.tolist(), strict=True)
    marks = fields_of([*_NO_MARKS.values()])
    used = [f"{day}\t{requests}\t{marks}" for day, requests in counted if requests]
    await copy_lines(connection, "usage_day", (*_DAY, "requests", *_NO_MARKS), used)
    return charges.days.size


def _lists(charges: PlainCharges) -> list[list[str]]:
    """The columns of _LISTS, a text a day."""
    prices = charges.prices.prices
    ids = np.array([each.price.price_id for each in prices if each.price], np.int64)
    currencies = [each.card.currency for each in prices]
    ends = np.searchsorted(charges.days, np.arange(charges.requests.size + 1))
    return [
        [currencies[index] if prices else "" for index in np.append(charges.indexes, 0)[ends[:-1]]],
        whole_texts(charges.usage_key_ids, ends),
        name_texts(COUNTED, charges.meters, ends),
        whole_texts(ids[charges.indexes], ends),
        whole_texts(charges.quantities, ends),
        decimal_texts(*charges.amounts, ends),
    ]


def _spans(periods: Sequence[CustomerPeriod]) -> dict[str, object]:
    """Periods of customers as the columns that queries take, each span of time once."""
    spans: dict[tuple[datetime, datetime], int] = {}
    numbers = [spans.setdefault((since, until), len(spans) + 1) for _, since, until in periods]
    return {
        "customers": array_parameter([customer_id for customer_id, _, _ in periods]),
        "spans": array_parameter([*map(str, numbers)]),
        "sinces": [since for since, _ in spans],
        "untils": [until for _, until in spans],
    }
