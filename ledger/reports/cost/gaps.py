"""Finds what an entity's cost lacks, and refuses a margin by naming it."""

from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import datetime
from typing import Unpack

from ledger.domain.cost.deployment import EngineKey
from ledger.domain.cost.factory import Factory
from ledger.domain.cost.gap import Gap, find_gaps, find_site_gaps, find_unserved
from ledger.domain.entity import LegalEntity
from ledger.domain.errors import MissingInputError
from ledger.domain.period import WINDOW
from ledger.reports.findings import with_reasons
from ledger.store import stage_runs, standing
from ledger.store.cost import cost, margin, site_costs
from ledger.store.cost.factory import load_factory
from ledger.store.queries import Connection
from ledger.store.within import Within

NAMED_MAX = 5


async def list_gaps(
    connection: Connection, entity: LegalEntity, **within: Unpack[Within]
) -> list[Gap]:
    """Everything missing in [since, until), as known at a cut-off, in order."""
    since, until = within["since"], within["until"]
    factory = await load_factory(connection, entity, **within)
    mine = {gpu for gpu, home in factory.homes.items() if home.entity_id == entity.entity_id}
    gpus = sorted(mine | {gpu for d in factory.deployments for gpu in d.gpu_uuids})
    metered = await margin.find_metered_spans(connection, gpu_uuids=gpus, **within)
    lacking = find_gaps(factory, metered=metered, since=since, until=until)
    gaps = await with_reasons(connection, lacking, factory, **within)
    whose = {entity.entity_id}
    unserved = await list_unserved(connection, factory, of_entities=whose, **within)
    waiting = await _not_done(connection, entity, "allocate", since, until)
    return gaps + unserved + waiting + await _site_gaps(connection, entity, **within)


async def list_unserved(
    connection: Connection,
    factory: Factory,
    *,
    of_entities: Container[str | None],
    **within: Unpack[Within],
) -> list[Gap]:
    """Usage of customers of the entities named (None: of unknown customers) that nobody served."""
    keys = {key.engine_key_id: key for key in await cost.list_engine_keys(connection)}
    since, until = within["since"], within["until"]
    unserved = find_unserved(factory.deployments, keys.values(), since=since, until=until)
    # Where deployments served every engine all the while, what ran there need not be read.
    worked = await margin.find_work_at(connection, unserved, within["batch_seq"])
    windows: dict[str, list[datetime]] = defaultdict(list)
    for work in worked:
        if work.entity_id in of_entities:
            windows[_served_as(keys[work.engine_key_id])] += [work.first_window, work.last_window]
    remedy = "enter a deployment of this model for that time"
    return [
        Gap("deployment", name, min(seen), max(seen) + WINDOW, remedy)
        for name, seen in sorted(windows.items())
    ]


async def _not_done(
    connection: Connection, entity: LegalEntity, stage: str, since: datetime, until: datetime
) -> list[Gap]:
    name = f"entity {entity.entity_id}"
    what = {"allocate": "allocation", "accrue": "costs of sites"}[stage]
    parked = await standing.list_parked(
        connection, stage=stage, entity_id=entity.entity_id, since=since, until=until
    )
    if parked:
        when = [(part.what.since or since, part.what.until or until) for part in parked]
        first, last = min(start for start, _ in when), max(end for _, end in when)
        remedy = f"mend what keeps it from being done: {parked[0].what.reason}"
        return [Gap(what, name, max(first, since), min(last, until), remedy)]
    run = await stage_runs.find_last_run(connection, stage=stage, entity_id=entity.entity_id)
    if run.batch_seq:
        return []
    return [Gap(what, name, since, until, f"run `{stage}` first")]


async def _site_gaps(
    connection: Connection, entity: LegalEntity, **within: Unpack[Within]
) -> list[Gap]:
    """Costs of sites that were never accrued, or follow from costs that nobody entered."""
    since, until = within["since"], within["until"]
    sites = await site_costs.find_sites(connection, entity_id=entity.entity_id)
    gaps = await _not_done(connection, entity, "accrue", since, until) if sites else []
    for site in sites:
        terms = await site_costs.find_site_terms(
            connection, site.facility_id, batch_seq=within["batch_seq"]
        )
        gaps += find_site_gaps(site.facility_id, terms, since=since, until=until)
    return gaps


def _served_as(key: EngineKey) -> str:
    parts = [f"model {key.model}", f"tier {key.tier}"]
    return ", ".join([*parts, f"engine {key.engine_instance}"] if key.engine_instance else parts)


def refuse(gaps: Iterable[Gap], figure: str) -> None:
    """MissingInputError that names what `figure` lacks; nothing where nothing is missing."""
    named = list(gaps)
    if not named:
        return
    names = [str(gap) for gap in named[:NAMED_MAX]]
    if len(named) > NAMED_MAX:
        names.append(f"and {len(named) - NAMED_MAX} more")
    remedies = list(dict.fromkeys(gap.remedy for gap in named[:NAMED_MAX]))
    raise MissingInputError(
        f"{figure} cannot be said: missing are {'; '.join(names)}.",
        f"To do: {'; '.join(remedies)}.",
        where=named[0].subject,
    )
