"""`tokenledger status`: what arrived and when last, what waits, what is covered."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json, print_table
from ledger.commands.serve.database import Database, database_options
from ledger.domain.metering.usage_mark import describe_marks
from ledger.flows.stages import STAGES
from ledger.reports.metering.status import Status, read_status
from ledger.store.connect import draw_cut_off
from ledger.store.operations import EndedSession, OpenBatch
from ledger.store.queries import Connection

# A batch takes moments; one that is open this long is worth a line.
OPEN_LONG_S = 10


@click.command()
@json_option
@database_options
def status(database: Database, as_json: bool) -> None:
    """Last event per source, lag, suspense, unpriced, quarantined, gaps, coverage."""
    found = database.run(_read)
    if as_json:
        print_json(found)
        return
    _show_sources(found)
    _show_stages(found)
    _show_work(found)
    _show_waiting(found)
    _show_gaps(found)
    _show_sessions(found)
    _show_coverage(found)


async def _read(connection: Connection) -> Status:
    cut_off = await draw_cut_off(connection, "status")
    return await read_status(connection, stages=STAGES, cut_off=cut_off, now=clock.now())


def _show_sources(found: Status) -> None:
    rows = [
        (
            *(row.source or "(names none)", row.form or "refused"),
            *(row.last_event_at, _ago(row.silent_s)),
            *(row.counted, row.duplicate, row.conflict, row.quarantined),
            row.suspense,
        )
        for row in found.sources
    ]
    columns = (
        *("source", "form", "last event", "last heard of"),
        *("counted", "duplicate", "conflict", "quarantined", "suspense"),
    )
    print_table("Sources", columns, rows, numbers=5)
    if not rows:
        click.echo("No source has ever sent anything: nothing here says that usage is zero.")


def _ago(silent_s: int | None) -> str:
    if silent_s is None:
        return "never"
    minutes, seconds = divmod(silent_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return f"{' '.join(shown) or '0 s'} ago"


def _show_stages(found: Status) -> None:
    rows = [(row.stage, row.ran_at or "nothing to do yet", row.behind) for row in found.stages]
    print_table("Stages", ("stage", "last run", "batches drawn since"), rows, numbers=1)


def _show_work(found: Status) -> None:
    rows = [
        (row.work, row.entity_id, row.succeeded_at, row.failures, row.failure) for row in found.work
    ]
    columns = ("work", "entity", "last success", "failures since", "why")
    print_table("Background", columns, rows)
    for row in found.parked:
        place = f"{row.entity_id} {row.customer_id or ''}".strip()
        when = f" {row.since:%FT%RZ} to {row.until:%FT%RZ}" if row.since else ""
        click.echo(
            f"Parked: {row.stage} of {place}{when}, failed {counted(row.failures, 'time')}"
            f" since {row.first_failed_at:%FT%RZ}: {row.reason}"
        )


def _show_waiting(found: Status) -> None:
    suspense = sum(row.requests for row in found.suspense)
    names = ", ".join(row.customer_ref or "(no name)" for row in found.suspense)
    click.echo(f"Suspense: {counted(suspense, 'request')} of unknown customers{_of(names)}")
    click.echo(f"Unpriced: {counted(len(found.unpriced), 'kind')} of usage without a price")
    click.echo(f"Quarantined: {counted(found.quarantined, 'event')} could not be read")
    if found.dead_letters:
        click.echo(
            f"Dead letters: {counted(found.dead_letters, 'record')} could not be stored, set aside;"
            " see `quarantine list --reason unstorable`"
        )
    marked = describe_marks(found.usage)
    if marked:
        click.echo(f"Not final: in the last 24 hours {marked}")
    click.echo(
        f"Conflicts: {counted(found.conflicts, 'event')} to resolve;"
        f" {counted(found.fates.conflict, 'event')} contradicted what is recorded"
    )


def _of(names: str) -> str:
    return f": {names}" if names else ""


def _of_key(owner: str) -> str:
    return f" (by keys of {owner})" if owner else ""


def _show_gaps(found: Status) -> None:
    for row in found.kafka_positions:
        click.echo(f"Kafka: {row.topic}/{row.partition} read up to {row.next_offset:,}")
    for gap in found.sequence_gaps:
        click.echo(
            f"Gap: {gap.source} of {gap.producer}{_of_key(gap.owner)},"
            f" epoch {gap.epoch}, lacks batches"
            f" {gap.first_missing} to {gap.last_missing}"
        )
    for lost in found.kafka_gaps:
        click.echo(
            f"Gap: Kafka {lost.topic}/{lost.partition} lost offsets {lost.from_offset}"
            f" to {lost.to_offset - 1}"
        )


def _show_sessions(found: Status) -> None:
    for row in found.open_batches:
        if (row.open_s or 0) >= OPEN_LONG_S:
            click.echo(
                f"Open: batch {row.batch_seq} of {_session(row)} for {row.open_s:,} s;"
                " reports and invoices end before it"
            )
    if (found.unsummed.unsummed_s or 0) >= OPEN_LONG_S:
        click.echo(
            f"Unsummed: {found.unsummed.batches:,} batches, the first for"
            f" {found.unsummed.unsummed_s:,} s; reports and invoices end before it"
        )
    for ended in found.ended_sessions:
        click.echo(
            f"Ended: {_session(ended)} at {ended.ended_at:%F %T}, which held batch"
            f" {ended.batch_seq} and did nothing since {ended.quiet_since:%F %T}"
        )


def _session(row: OpenBatch | EndedSession) -> str:
    return f"session {row.pid} ({row.application or 'unnamed'})"


def _show_coverage(found: Status) -> None:
    for entity in found.coverage:
        name = entity["entity_id"]
        if "missing" in entity:
            click.echo(f"Coverage of {name}: {entity['missing']}")
            continue
        asked = [row for row in entity["energy"] if row["asked"]]
        deployed = sum(row["deployed_gpu_s"] for row in asked)
        covered = sum(row["covered_gpu_s"] for row in asked)
        usage = entity["usage"]
        click.echo(
            f"Coverage of {name}, 24 hours to the newest event: readings for {covered:,} of"
            f" {deployed:,} GPU-seconds; {usage['served_tokens']:,} of {usage['tokens']:,} tokens"
            " served by a deployment"
        )
        for noticed in entity["findings"]:
            click.echo(
                f"  noticed at GPU {noticed['gpu_uuid']}: {noticed['reason']} in"
                f" {noticed['windows']:,} quarter hours"
            )
        for told in entity["meter_gaps"]:
            click.echo(
                f"  told of GPU {told['gpu_uuid']} by {told['source']}: {told['reason']},"
                f" {told['since']:%F %T} to {told['until']:%F %T}"
            )
        for name, flags in _uncertain(entity["engines"]).items():
            click.echo(f"  not certain of engine {name}: {', '.join(flags)}")


def _uncertain(engines: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Why the counts of engines are not certain, of those whose are not."""
    found: dict[str, set[str]] = {}
    for row in engines:
        if row["flags"]:
            found.setdefault(row["engine_instance"], set()).update(row["flags"])
    return {name: sorted(flags) for name, flags in found.items()}
