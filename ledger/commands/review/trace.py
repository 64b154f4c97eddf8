"""`tokenledger trace`: from an invoice line to its events, from a cost to what it was made of."""

from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import click

from ledger.api.answer import from_cursor, to_cursor
from ledger.api.shapes import show_trace
from ledger.commands.data.show import json_option, print_json, print_table, say
from ledger.commands.groups import group
from ledger.commands.options import LINE_NO, ROWS
from ledger.commands.run.periods import find_asked_entity, read_start
from ledger.commands.serve.database import Database, database_options
from ledger.domain.apportion import amount_of
from ledger.domain.cost.share import Share
from ledger.domain.cost.weighing import WHOLE
from ledger.domain.energy.gpu_part import share_of_gpu
from ledger.domain.metering.fact import flag_names
from ledger.domain.money import total
from ledger.domain.period import zone
from ledger.exports.filenames import file_name
from ledger.flows.billing.trace import (
    FIRST,
    LineTrace,
    find_invoice,
    find_line,
    trace_invoice_line,
)
from ledger.flows.billing.usage_statement import usage_statement
from ledger.flows.cost import trace_event
from ledger.flows.cost.trace_event import EventCost
from ledger.reports.cost import evidence
from ledger.reports.cost.evidence import LINES, AskedCost, CostEvidence
from ledger.store.billing.invoice import list_lines
from ledger.store.connect import draw_cut_off
from ledger.store.cost.cost import WindowActivity
from ledger.store.cost.evidence import WindowCost
from ledger.store.queries import Connection
from ledger.wire.extras import EXTRAS


@group()
def trace() -> None:
    """Follow a figure to what it came from: an invoice line, or a cost."""


@trace.command()
@click.argument("number")
@click.argument("line_no", metavar="LINE", type=LINE_NO)
@click.option("--rows", type=ROWS, default=100, show_default=True)
@click.option("--after", help="The `next` of the page before.")
@json_option
@database_options
def invoice(
    database: Database, *, number: str, line_no: int, rows: int, after: str | None, as_json: bool
) -> None:
    """Show the events behind LINE of an invoice, named by its number or id."""
    start = from_cursor(after, int, int) or FIRST

    async def read(connection: Connection) -> LineTrace:
        return await trace_invoice_line(
            connection,
            invoice=await find_invoice(connection, number),
            line_no=line_no,
            after=(start[0], start[1]),
            limit=rows,
        )

    traced = database.run(read)
    if as_json:
        print_json(show_trace(traced))
    else:
        _show_events(f"Events of line {line_no} of invoice {number}", traced)


@trace.command()
@click.argument("number")
@click.option("--line", "line_no", type=LINE_NO, help="Only this line.")
@click.option("--customer", help="Only what this customer used, of an invoice of its parent.")
@click.option("--output", type=click.Path(path_type=Path), help="By default NUMBER-usage.csv.")
@database_options
def statement(
    database: Database,
    *,
    number: str,
    line_no: int | None,
    customer: str | None,
    output: Path | None,
) -> None:
    """Write every event behind every line of an invoice, by its number or id, as CSV."""

    async def write(connection: Connection) -> Path:
        named = await find_invoice(connection, number)
        if line_no is None:
            lines = await list_lines(connection, invoice_id=named.invoice_id)
        else:
            lines = [await find_line(connection, named, line_no)]
        line = f"line-{line_no}" if line_no is not None else None
        name = "-".join(filter(None, [named.number, line, customer, "usage"]))
        target = output or Path(file_name(name, ".csv"))
        with target.open("wb") as file:
            async for part in usage_statement(connection, named, lines, customer):
                file.write(part)
        return target

    say(f"Wrote {database.run(write)}.")


@trace.command()
@click.option("--scope", required=True, help="As `report energy --by scope` says it.")
@click.option("--at", required=True, help="A time inside the quarter hour, in the entity's zone.")
@click.option("--line", type=click.Choice(LINES), help="Only lines of this kind.")
@click.option("--key", help="Only usage of this key, as the lines say it.")
@click.option("--entity", help="The entity; may be left out where there is one only.")
@json_option
@database_options
def cost(
    database: Database,
    *,
    scope: str,
    at: str,
    line: str | None,
    key: str | None,
    entity: str | None,
    as_json: bool,
) -> None:
    """Show what a scope's cost in a quarter hour came from."""
    usage_key_id = evidence.asked_usage_key(key)

    async def read(connection: Connection) -> tuple[str, CostEvidence]:
        entity_id, zone_name = await find_asked_entity(connection, entity)
        asked = AskedCost(entity_id, scope, read_start(at, zone_name), line, usage_key_id)
        cut_off = await draw_cut_off(connection, "trace cost")
        return zone_name, await evidence.trace_cost(connection, asked, cut_off=cut_off)

    zone_name, traced = database.run(read)
    if as_json:
        print_json(evidence.to_json(traced))
    else:
        _show_cost(traced, zone_name)


@trace.command()
@click.argument("event_id", metavar="EVENT")
@click.option("--source", help="Its source; may be left out where one alone has this id.")
@json_option
@database_options
def event(database: Database, *, event_id: str, source: str | None, as_json: bool) -> None:
    """Show what EVENT cost: its part of each slot in which it ran."""

    async def read(connection: Connection) -> EventCost:
        cut_off = await draw_cut_off(connection, "trace event")
        return await trace_event.trace_event(connection, event_id, source=source, cut_off=cut_off)

    traced = database.run(read)
    if as_json:
        print_json(trace_event.to_json(traced))
    else:
        _show_event(traced)


def _show_event(traced: EventCost) -> None:
    currency = traced.parts[0].line.currency
    slots = [
        (each.line.scope, at.isoformat(" ", "seconds"), f"{part * 10**5 // WHOLE / 1_000:.3f}")
        for each in traced.parts
        for at, part in each.slots
    ]
    ran = f"Slots in which event {traced.event_id} ran"
    print_table(ran, ("scope", "slot", "% of its work"), slots, numbers=1)
    rows = [
        (each.line.scope, each.line.window_start.isoformat(" ", "minutes"), *_cells(share))
        for each in traced.parts
        for share in (trace_event.share_of(each.line), each.part.one())
    ]
    rows.append(("", "all of it", *_cells(traced.taken)))
    columns = ("scope", "window", "J", "electricity", "GPU", "cost")
    title = f"The lines of its key, and its part of each, amounts in {currency}"
    print_table(title, columns, rows, numbers=4)


def _cells(share: Share) -> tuple[object, ...]:
    electricity, gpu = amount_of(share.device_cost + share.overhead_cost), amount_of(share.gpu_cost)
    energy_mj = share.metered_mj + share.estimated_mj + share.host_mj + share.overhead_mj
    return energy_mj // 1_000, electricity, gpu, total([electricity, gpu])


def _show_events(title: str, traced: LineTrace) -> None:
    names: tuple[str, ...] = (
        *("time", "event_id", "source", "kind", "flags", "status", "requests"),
        *("uncached", "cache_read", "cache_write", "visible", "reasoning"),
    )
    line, currency = traced.line, traced.invoice.terms.priced_in
    extra = line.key.meter if line.key.meter in EXTRAS else None
    names += (extra,) if extra else ()
    events = [
        said
        | {"flags": ", ".join(flag_names(event.flags)) or None}
        | ({extra: traced.extras.get(event.stored_at, {}).get(extra, 0)} if extra else {})
        for event, said in zip(traced.events, traced.events_json(), strict=True)
    ]
    columns = ("time", "event", "source", "kind", "marked", "status", *names[6:])
    first = ("event", "time", extra or line.key.meter.partition("_")[2], "kind", "source")
    rows = [tuple(event[name] for name in names) for event in events]
    print_table(title, columns, rows, numbers=6, first=first)
    say(
        f"{line.key.meter}: {line.quantity:,} for {line.charged:f} {currency},"
        f" price {line.key.price_id}: {line.unit_amount:f} for {line.per:,}"
    )
    if traced.after is not None:
        say(f"There are more: --after {to_cursor(*traced.after)}, or --rows.", err=True)


def _show_cost(traced: CostEvidence, zone_name: str) -> None:
    start = traced.asked.window_start.astimezone(zone(zone_name))
    title = f"Cost of {traced.asked.scope}, 15 minutes from {start.isoformat(' ', 'minutes')}"
    currency = traced.lines[0].currency
    columns = ("line", "of", "model", "tier", "key", "busy s", "device J", "electricity", "GPU")
    first = ("line", "cost", "electricity", "GPU", "of", "key")
    rows = map(_line_cells, traced.lines)
    print_table(f"{title}, amounts in {currency}", (*columns, "cost"), rows, numbers=5, first=first)
    pools = [(pool.kind, pool.amount) for pool in traced.pools]
    print_table(f"Cut from, amounts in {currency}", ("pool", "amount"), pools, numbers=1)
    _show_energy(traced)
    used = [
        (str(work.activity.usage_key_id), work.engine_instance, *work.activity[-4:])
        for work in traced.activity
    ]
    headers = ("key", "engine", *WindowActivity._fields[-4:])
    print_table("Tokens on its engines", headers, used, numbers=4, first=("key", "output"))
    for told in _terms(traced):
        say(told)


def _line_cells(line: WindowCost) -> tuple[Any, ...]:
    electricity = total([line.device_cost, line.overhead_cost])
    return (
        *(line.line, line.customer_id or line.customer_ref, line.model, line.tier),
        *(str(line.usage_key_id) if line.usage_key_id else None, line.busy_s),
        (line.device_metered_mj + line.device_estimated_mj) // 1_000,
        *(electricity, line.gpu_cost, total([electricity, line.gpu_cost])),
    )


def _show_energy(traced: CostEvidence) -> None:
    meters = [
        (
            *(meter.gpu_uuid, ", ".join(meter.findings) or None, meter.covered_s),
            *(meter.metered_mj, meter.estimated_mj),
        )
        for meter in traced.meters
    ]
    columns = ("GPU", "noticed", "seconds known", "metered mJ", "estimated mJ")
    print_table("Energy of its meters", columns, meters, numbers=3)
    if traced.estimates:
        ends = ("GPU", "weight set", "version", "slots", "mJ", "least mJ", "most mJ")
        print_table("Estimated where no meter says it", ends, traced.estimates, numbers=5)
    shown = attrgetter(
        *("gpu_uuid", "sampled_at", "source", "method", "quality", "power_mw", "energy_mj")
    )
    read = [shown(reading) for reading in traced.readings]
    headers = ("GPU", "read at", "source", "method", "quality", "mW", "counter mJ")
    print_table("Readings", headers, read, numbers=2, first=("read at", "counter mJ", "GPU"))


def _terms(traced: CostEvidence) -> Iterable[str]:
    """The slow facts, one a line."""
    for price in traced.prices:
        rate = f"{price.price_per_mwh:f} {price.currency}/MWh"
        yield f"Tariff {price.tariff_id}: {rate} from {price.valid_from:%Y-%m-%d %H:%MZ}"
    if traced.uplift is not None:
        host = f"host {traced.uplift.host_mw_per_gpu:,} mW a GPU"
        yield f"Site {traced.uplift.facility_id}: PUE {traced.uplift.pue:f}, {host}"
    if traced.asset is not None:
        yield f"Asset {traced.asset.asset_id}: {_paid(traced)}"
    if traced.deployment is not None:
        d = traced.deployment
        weights = f"{d.weight_uncached} uncached, {d.weight_cache_read} cached, "
        weights += f"{d.weight_cache_write} written, {d.weight_output} output"
        if d.weight_context or d.weight_step:
            weights += f", {d.weight_context} context, {d.weight_step} step"
        named = f" of set {d.weight_set_id}" if d.weight_set_id else ""
        weights += f" ({d.weight_source}, version {d.weight_version}{named}); slots of {d.slot_s} s"
        if d.idle_mw_per_gpu is not None:
            weights += f"; {d.idle_mw_per_gpu:,} mW a GPU at rest"
        of_each = f"{share_of_gpu(d.gpu_parts):f} of each of " if d.shares_gpus else ""
        of_each = f"{' and '.join(d.mig_slices)}, {of_each}" if d.mig_slices else of_each
        by_use = f" by {d.gpu_split.replace('_', ' ')}" if d.splits_by_use else ""
        gpus = f"{of_each}{d.gpu_count} GPUs{by_use}"
        yield f"Deployment {d.deployment_id}: {gpus} for {d.model}; weights {weights}"


def _paid(traced: CostEvidence) -> str:
    asset = traced.asset
    assert asset is not None
    if asset.gpu_hour_rate is not None:
        return f"leased at {asset.gpu_hour_rate:f} {asset.currency} a GPU hour"
    method = asset.method.replace("_", " ")
    rate = f" at {asset.rate_percent:f} %" if asset.rate_percent is not None else ""
    bought = f"bought for {asset.purchase_price:f} {asset.currency}"
    return f"{bought}, {asset.life_months} months, {method}{rate}"
