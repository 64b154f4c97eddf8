"""Lists what is to be done before a month of an entity closes: how much of it, and what to do."""

from dataclasses import dataclass
from datetime import date

from ledger.domain.books.close import Matter, month_after
from ledger.domain.cost.gap import find_gaps
from ledger.domain.entity import LegalEntity
from ledger.domain.money import plain
from ledger.domain.period import Period, whole_billing_period
from ledger.store import operations, stage_runs, standing
from ledger.store.books import months as store
from ledger.store.connect import CutOff
from ledger.store.cost import margin
from ledger.store.cost.factory import load_factory
from ledger.store.metering.conflicts import count_conflicts
from ledger.store.queries import Connection
from ledger.store.within import Within

# What a month's books follow from; those that time moves must have come past its end.
FOLLOWED = ("allocate", "rate", "draw", "book_cost", "book_revenue", "accrue")
ASKED = ("allocate", "rate", "book_cost", "book_revenue")


@dataclass(frozen=True, slots=True)
class _Closing:
    connection: Connection
    entity: LegalEntity
    month: date
    period: Period
    cut_off: CutOff


async def list_matters(
    connection: Connection, entity: LegalEntity, month: date, period: Period, cut_off: CutOff
) -> list[Matter]:
    """Everything that is looked at, those with nothing left as well, in the order of the work."""
    closing = _Closing(connection, entity, month, period, cut_off)
    return [
        await _stages(closing),
        await _parked(closing),
        *await _waiting(closing),
        await _unpriced(closing),
        await _unbilled(closing),
        await _bank_entries(closing),
        await _gaps(closing),
        await _unallocated(closing),
    ]


async def _stages(closing: _Closing) -> Matter:
    entity_id, end = closing.entity.entity_id, closing.period.end
    runs = {
        name: await stage_runs.find_last_run(closing.connection, stage=name, entity_id=entity_id)
        for name in FOLLOWED
    }
    behind = {name for name, run in runs.items() if run.followed_to and run.followed_to < end}
    ran_to = {name: runs[name].batch_seq for name in ASKED}
    behind |= {
        *await store.find_stages_behind(closing.connection, entity_id, closing.period, ran_to)
    }
    names = ", ".join(name for name in FOLLOWED if name in behind)
    about = f"not past its end: {names}" if names else "not past its end"
    return Matter("stages", len(behind), about, "Run `tokenledger settle`.", must=True)


async def _parked(closing: _Closing) -> Matter:
    parked = await standing.list_parked(
        closing.connection,
        entity_id=closing.entity.entity_id,
        since=closing.period.start,
        until=closing.period.end,
    )
    about = "parked, which could not be done"
    return Matter("parked", len(parked), about, "See `tokenledger status` for why.")


async def _waiting(closing: _Closing) -> list[Matter]:
    """What waits for a person, of whichever entity: nobody knows whose it is."""
    connection, period = closing.connection, closing.period
    unknown = [
        each
        for each in await operations.list_suspense(connection)
        if each.first_window < period.end and each.last_window >= period.start
    ]
    return [
        Matter(
            *("suspense", len(unknown), "names that are no customer's"),
            "Release or dismiss them: `tokenledger suspense`.",
        ),
        Matter(
            *("quarantine", await operations.count_quarantined(connection)),
            *("events that could not be read", "Replay or dismiss them: `tokenledger quarantine`."),
        ),
        Matter(
            *("conflicts", await count_conflicts(connection), "ids with two contents"),
            "Decide them: `tokenledger conflicts`.",
        ),
    ]


async def _unpriced(closing: _Closing) -> Matter:
    count = await store.count_unpriced(closing.connection, closing.entity.entity_id, closing.period)
    about = "kinds of usage without a price"
    return Matter("unpriced", count, about, "See `tokenledger unpriced`, and enter prices.")


async def _unbilled(closing: _Closing) -> Matter:
    end = closing.period.end
    rows = await store.list_unbilled(closing.connection, closing.entity.entity_id, closing.period)
    over = [
        each
        for each in rows
        if each.first_day
        < whole_billing_period(end, anchor_day=each.anchor_day, zone_name=each.zone).start
    ]
    about = "with a period that is over and not invoiced"
    return Matter("uninvoiced", len(over), about, "Run `tokenledger invoice run`.")


async def _bank_entries(closing: _Closing) -> Matter:
    count = await store.count_bank_entries(
        closing.connection, closing.entity.entity_id, month_after(closing.month)
    )
    about = "entries of banks without a payment"
    return Matter("bank-entries", count, about, "Match or dismiss them: `tokenledger payment`.")


async def _gaps(closing: _Closing) -> Matter:
    """Hardware that ran without readings, terms, tariff or PUE."""
    period, entity = closing.period, closing.entity
    within = Within(since=period.start, until=period.end, batch_seq=closing.cut_off.batch_seq)
    factory = await load_factory(closing.connection, entity, **within)
    mine = {gpu for gpu, home in factory.homes.items() if home.entity_id == entity.entity_id}
    gpus = sorted(mine | {gpu for each in factory.deployments for gpu in each.gpu_uuids})
    metered = await margin.find_metered_spans(closing.connection, gpu_uuids=gpus, **within)
    gaps = find_gaps(factory, metered=metered, since=period.start, until=period.end)
    to_do = "Enter what is missing: `tokenledger report margin` names it."
    return Matter("cost-gaps", len(gaps), "inputs of cost that are missing", to_do)


async def _unallocated(closing: _Closing) -> Matter:
    left = await store.list_unallocated(
        closing.connection, closing.entity.entity_id, closing.period.end
    )
    said = ", ".join(f"{plain(each.amount)} {each.currency}" for each in left)
    about = f"on account 5900: {said}" if said else "on account 5900"
    to_do = "See which lines are unattributed: `tokenledger report margin`."
    return Matter("unallocated", len(left), about, to_do)
