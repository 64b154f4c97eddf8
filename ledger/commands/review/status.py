"""`tokenledger status`: what arrived and when last, what waits, what is covered."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import click

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json, print_table, say
from ledger.commands.serve.database import Database, database_options
from ledger.domain.metering.usage_mark import describe_marks
from ledger.domain.money import plain
from ledger.flows.stages import STAGES
from ledger.reports.cost.figures import kwh
from ledger.reports.cost.implausible import to_lines
from ledger.reports.metering.status import Status, read_status
from ledger.store.connect import draw_cut_off
from ledger.store.operations import DayTables, EndedSession, OpenBatch
from ledger.store.queries import Connection

# A batch takes moments; one that is open this long is worth a line.
OPEN_LONG_S = 10
# A day is merged minutes after it is over.
UNMERGED_LONG = timedelta(days=1)
# So many sessions may look through all days at once.
SESSIONS_LOCKING = 4


ALERTS = {
    "used": "{percent} % were used",
    "refused": "a reservation did not fit",
    "runaway": "far more than is usual was used, or asked for",
}


@click.command()
@json_option
@database_options
def status(database: Database, as_json: bool) -> None:
    """Last event per source, lag, suspense, unpriced, quarantined, gaps, coverage."""
    state = database.run(_read)
    if as_json:
        print_json(state)
        return
    _show_sources(state)
    _show_stages(state)
    _show_work(state)
    _show_waiting(state)
    _show_alerts(state)
    _show_drift(state)
    _show_implausible(state)
    _show_gaps(state)
    _show_sessions(state)
    _show_coverage(state)


async def _read(connection: Connection) -> Status:
    cut_off = await draw_cut_off(connection, "status")
    return await read_status(connection, stages=STAGES, cut_off=cut_off, now=clock.now())


def _show_sources(state: Status) -> None:
    rows = [
        (
            *(row.source or "(names none)", row.form or "refused"),
            *(row.last_event_at, _ago(row.silent_s)),
            *(row.counted, row.duplicate, row.conflict, row.quarantined),
            row.suspense,
        )
        for row in state.sources
    ]
    columns = (
        *("source", "form", "last event", "last heard of"),
        *("counted", "duplicate", "conflict", "quarantined", "suspense"),
    )
    print_table("Sources", columns, rows, numbers=5)
    if not rows:
        say("No source has ever sent anything: nothing here says that usage is zero.")


def _ago(silent_s: int | None) -> str:
    if silent_s is None:
        return "never"
    minutes, seconds = divmod(silent_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return f"{' '.join(shown) or '0 s'} ago"


def _show_stages(state: Status) -> None:
    rows = [(row.stage, row.ran_at or "nothing to do yet", row.behind) for row in state.stages]
    print_table("Stages", ("stage", "last run", "batches drawn since"), rows, numbers=1)


def _show_work(state: Status) -> None:
    rows = [
        (row.work, row.entity_id, row.succeeded_at, row.failures, row.failure) for row in state.work
    ]
    columns = ("work", "entity", "last success", "failures since", "why")
    print_table("Background", columns, rows)
    for row in state.parked:
        owner = f"{row.entity_id} {row.customer_id or ''}".strip()
        when = f" {row.since:%FT%RZ} to {row.until:%FT%RZ}" if row.since else ""
        say(
            f"Parked: {row.stage} of {owner}{when}, failed {counted(row.failures, 'time')}"
            f" since {row.first_failed_at:%FT%RZ}: {row.reason}"
        )


def _show_waiting(state: Status) -> None:
    suspense = sum(row.requests for row in state.suspense)
    names = ", ".join(row.customer_ref or "(no name)" for row in state.suspense)
    say(f"Suspense: {counted(suspense, 'request')} of unknown customers{_of(names)}")
    say(f"Unpriced: {counted(len(state.unpriced), 'kind')} of usage without a price")
    say(f"Quarantined: {counted(state.quarantined, 'event')} could not be read")
    if state.dead_letters:
        say(
            f"Dead letters: {counted(state.dead_letters, 'record')} could not be stored, set aside;"
            " see `quarantine list --reason unstorable`"
        )
    marked = describe_marks(state.usage)
    if marked:
        say(f"Not final: in the last 24 hours {marked}")
    say(
        f"Conflicts: {counted(state.conflicts, 'event')} to resolve;"
        f" {counted(state.fates.conflict, 'event')} contradicted what is recorded"
    )


def _show_alerts(state: Status) -> None:
    for row in state.budget_alerts:
        run = f" in run {row.agent_run_id}" if row.agent_run_id else ""
        what = ALERTS[row.kind].format(percent=row.percent)
        say(
            f"Budget: {row.budget_id} of {row.customer_id}{run}, {what} at"
            f" {row.noticed_at:%FT%RZ}: {plain(row.used)} used and {plain(row.held)} held of"
            f" {plain(row.ceiling)}"
        )
    for low in state.low_balances:
        say(
            f"Low balance: {low.customer_id} of {low.entity_id} has {plain(low.usable)}"
            f" {low.currency} left, less than {plain(low.low_balance)}"
        )


def _show_drift(state: Status) -> None:
    for row in state.drifted_weights:
        said = f"{kwh(row.low_mj)} to {kwh(row.high_mj)} kWh"
        say(
            f"Weights: {row.weight_set_id} (version {row.version}) of {row.deployment_id} say"
            f" {said} from {row.since:%FT%RZ} to {row.until:%FT%RZ}, and {kwh(row.measured_mj)}"
            f" were measured; `report calibration --deployment {row.deployment_id}` proposes others"
        )


def _show_implausible(state: Status) -> None:
    for line in to_lines(state.implausible_work):
        say(line)
    for bill in state.bills_off:
        pct = "" if bill.amount_off_pct is None else f" ({bill.amount_off_pct:+f} %)"
        say(
            f"Bill: {bill.bill_id} of {bill.facility_id} asks for {plain(bill.amount)}"
            f" {bill.currency}, and {plain(bill.accrued)} was accrued{pct}; see `report bills`"
        )


def _of(names: str) -> str:
    return f": {names}" if names else ""


def _of_key(owner: str) -> str:
    return f" (by keys of {owner})" if owner else ""


def _show_gaps(state: Status) -> None:
    for row in state.kafka_positions:
        say(f"Kafka: {row.topic}/{row.partition} read up to {row.next_offset:,}")
    for gap in state.sequence_gaps:
        say(
            f"Gap: {gap.source} of {gap.producer}{_of_key(gap.owner)},"
            f" epoch {gap.epoch}, lacks batches"
            f" {gap.first_missing} to {gap.last_missing}"
        )
    for lost in state.kafka_gaps:
        say(
            f"Gap: Kafka {lost.topic}/{lost.partition} lost offsets {lost.from_offset}"
            f" to {lost.to_offset - 1}"
        )


def _show_sessions(state: Status) -> None:
    for row in state.open_batches:
        if (row.open_s or 0) >= OPEN_LONG_S:
            say(
                f"Open: batch {row.batch_seq} of {_session(row)} for {row.open_s:,} s;"
                " reports and invoices end before it"
            )
    since_s = state.unsummed.unsummed_s
    if since_s is not None and since_s >= OPEN_LONG_S:
        say(
            f"Unsummed: {state.unsummed.batches:,} batches, the first for {since_s:,} s;"
            " reports and invoices end before it"
        )
    unmerged = state.unmerged
    if unmerged.first_day is not None and state.now.date() - unmerged.first_day > UNMERGED_LONG:
        say(
            f"Unmerged: facts of {counted(unmerged.days, 'day')}, the first"
            f" {unmerged.first_day}; `tokenledger merge` says why"
        )
    for line in tell_day_tables(state.day_tables):
        say(line)
    for ended in state.ended_sessions:
        say(
            f"Ended: {_session(ended)} at {ended.ended_at:%F %T}, which held batch"
            f" {ended.batch_seq} and did nothing since {ended.quiet_since:%F %T}"
        )


def tell_day_tables(tables: DayTables) -> list[str]:
    """A line where a few sessions at once may use up all locks, and none else."""
    if tables.locks * SESSIONS_LOCKING <= tables.locks_max:
        return []
    return [
        f"Days: {tables.days:,} have tables of their own, and one look through all of them takes"
        f" {tables.locks:,} of {tables.locks_max:,} locks: archive days that are over, or raise"
        " max_locks_per_transaction"
    ]


def _session(row: OpenBatch | EndedSession) -> str:
    return f"session {row.pid} ({row.application or 'unnamed'})"


def _show_coverage(state: Status) -> None:
    for entity in state.coverage:
        name = entity["entity_id"]
        if "missing" in entity:
            say(f"Coverage of {name}: {entity['missing']}")
            continue
        asked = [row for row in entity["energy"] if row["asked"]]
        deployed = sum(row["deployed_gpu_s"] for row in asked)
        covered = sum(row["covered_gpu_s"] for row in asked)
        usage = entity["usage"]
        say(
            f"Coverage of {name}, 24 hours to the newest event: readings for {covered:,} of"
            f" {deployed:,} GPU-seconds; {usage['served_tokens']:,} of {usage['tokens']:,} tokens"
            " served by a deployment"
        )
        for noticed in entity["findings"]:
            say(
                f"  noticed at GPU {noticed['gpu_uuid']}: {noticed['reason']} in"
                f" {noticed['windows']:,} quarter hours"
            )
        for told in entity["meter_gaps"]:
            say(
                f"  told of GPU {told['gpu_uuid']} by {told['source']}: {told['reason']},"
                f" {told['since']:%F %T} to {told['until']:%F %T}"
            )
        for name, flags in _uncertain(entity["engines"]).items():
            say(f"  not certain of engine {name}: {', '.join(flags)}")


def _uncertain(engines: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Why the counts of engines are not certain, of those whose are not."""
    flagged: dict[str, set[str]] = {}
    for row in engines:
        if row["flags"]:
            flagged.setdefault(row["engine_instance"], set()).update(row["flags"])
    return {name: sorted(flags) for name, flags in flagged.items()}
