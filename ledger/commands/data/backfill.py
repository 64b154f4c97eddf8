"""`tokenledger backfill`: requests of the past from CSV or JSON, every row with its outcome."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import click

from ledger import clock
from ledger.commands.data.imports import pairs
from ledger.commands.data.presets import PRESETS
from ledger.commands.data.provider_costs import ComparedCost, compare_costs, show_costs
from ledger.commands.data.show import counted, json_option, print_json, print_table, progress, say
from ledger.commands.data.usage_file import Cells, columns_of, digest_of, open_usage_file
from ledger.commands.options import FILE, delimiter_option
from ledger.commands.run.periods import read_start
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.flows.metering.backfill import (
    BODY_BYTES_MAX,
    CONFLICT,
    CORRECTED,
    CREATED,
    DUPLICATE,
    OUTCOMES,
    BackfillReport,
    Options,
)
from ledger.flows.metering.backfill import backfill as run_backfill
from ledger.flows.metering.backfill_rows import TARGETS, RowShape, names_no_zone
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import limits_of
from ledger.flows.pricing.price_book import find_card
from ledger.flows.reference.known_file import remember_file
from ledger.store.queries import Connection

FOLDS: dict[str | None, Literal[0, 1]] = {"first": 0, "second": 1}
MEANING = {
    CREATED: "counted",
    CORRECTED: "counted as corrections",
    "suspense": "kept for a customer nobody knows",
    DUPLICATE: "already there",
    "superseded": "replaced by a correction that came before",
    CONFLICT: "NOT counted: recorded with other content",
    "rejected": "NOT counted: could not be read",
}


@click.command(
    help=f"Load usage of requests from FILE. What columns can mean: {', '.join(TARGETS)}."
)
@click.option(
    "--preset",
    "preset_name",
    type=click.Choice(sorted(PRESETS)),
    help="A published log: its columns are known.",
)
@click.option(
    "--start",
    default="2025-02-25",
    show_default=True,
    help="When a preset's log begins that says no more than how long after: a day or time of UTC.",
)
@click.option("--against", "rate_card_id", help="Hold what lines say they cost against this card.")
@click.argument("file", type=FILE)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    help="MEANING=COLUMN, like input=ContextTokens. Without any, columns are what they are called.",
)
@click.option("--set", "fixed", multiple=True, help="MEANING=VALUE for every row.")
@click.option("--tz", help="Of times without an offset.  [default: UTC]")
@click.option(
    "--fold",
    type=click.Choice(["first", "second"]),
    help="Which one a time without an offset is that --tz has twice.",
)
@click.option("--source", help="What the file is called; by default its base name.")
@delimiter_option
@click.option("--correct", is_flag=True, help="Mean it: lines that changed correct what is there.")
@click.option("--again", is_flag=True, help="Mean it: the same bytes count under a second name.")
@click.option("--dry-run", is_flag=True, help="Say what would happen and write nothing.")
@json_option
@database_options
@click.pass_context
def backfill(
    ctx: click.Context,
    database: Database,
    file: Path,
    *,
    preset_name: str | None,
    start: str,
    rate_card_id: str | None,
    mapped: Sequence[str],
    fixed: Sequence[str],
    tz: str | None,
    fold: str | None,
    source: str | None,
    delimiter: str,
    correct: bool,
    again: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    columns = pairs(mapped, "--map")
    if preset_name is None and not columns:
        own = [name for name in columns_of(file, delimiter=delimiter) if name in TARGETS]
        columns = {name: name for name in own if name not in pairs(fixed, "--set")}
    log = _log(file, preset_name, start, columns, delimiter)
    said = {**log.fixed, **pairs(fixed, "--set")}
    shape = RowShape(
        source=source or file.name,
        targets=tuple(target for target in log.targets if target not in said or not preset_name),
        fixed=said,
        zone=_zone(tz or "UTC"),
        fold=FOLDS.get(fold),
    )
    options = Options(
        author_of("backfill").actor,
        limits_of(database.settings, body_bytes_max=BODY_BYTES_MAX),
        correct=correct,
        dry_run=dry_run,
    )

    job = _Job(file, digest_of(file), log, shape, options, again, rate_card_id, tz is None)
    report, compared = database.run(job.run)
    if as_json:
        costs = {"provider_costs": compared} if rate_card_id else {}
        print_json(_plain(report, dry_run) | costs)
    else:
        _show(report, dry_run)
        if rate_card_id:
            show_costs(compared, rate_card_id)
    if report.outcomes[CONFLICT] or report.outcomes["rejected"]:
        ctx.exit(1)


@dataclass(frozen=True, slots=True)
class _Log:
    """Where rows come from: what their cells mean, what is said of every row, and the rows."""

    targets: tuple[str, ...]
    fixed: Mapping[str, str]
    rows: Callable[[RowShape], AbstractContextManager[Iterator[Cells]]]


@dataclass(frozen=True, slots=True)
class _Job:
    """A file to load, and the card that what its lines say they cost is held against."""

    file: Path
    digest: bytes
    log: _Log
    shape: RowShape
    options: Options
    again: bool
    rate_card_id: str | None
    zone_guessed: bool

    async def run(self, connection: Connection) -> tuple[BackfillReport, list[ComparedCost]]:
        """What became of the rows, and of each what it comes to on the card."""
        card_id = self.rate_card_id
        card = await find_card(connection, card_id, "backfill") if card_id else None
        await prepare_storage(connection, now=clock.now())
        with self.log.rows(self.shape) as rows, progress(f"backfill {self.file.name}") as advance:
            # A file whose columns are wrong is refused here, and not known yet.
            head = list(islice(rows, 1))
            await remember_file(
                connection,
                self.digest,
                self.shape.source,
                actor=self.options.actor,
                again=self.again,
                dry_run=self.options.dry_run,
            )
            report = await run_backfill(
                connection,
                chain(head, rows),
                self.shape,
                options=self.options,
                now=clock.now(),
                advance=advance,
            )
        report.taken_as_utc = self.zone_guessed and any(
            names_no_zone(cells, self.shape) for _, cells in head
        )
        if card is None:
            return report, []
        with self.log.rows(self.shape) as rows:
            return report, compare_costs(rows, self.shape.targets, self.shape.fixed, card)


def _log(
    file: Path, preset_name: str | None, start: str, columns: Mapping[str, str], delimiter: str
) -> _Log:
    if preset_name is None:
        opened = partial(open_usage_file, file, tuple(columns.values()), delimiter=delimiter)
        return _Log(tuple(columns), {}, lambda _: opened())
    if columns:
        raise click.UsageError(f"--map: preset {preset_name} knows its columns; --set says more")
    preset, began = PRESETS[preset_name], read_start(start, "UTC")

    @contextmanager
    def read(shape: RowShape) -> Iterator[Iterator[Cells]]:
        yield preset.narrowed(preset.read(file, began), shape.fixed)

    return _Log(preset.targets, preset.fixed, read)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"{name!r} is no time zone", param_hint="--tz") from None


def _plain(report: BackfillReport, dry_run: bool) -> dict[str, object]:
    return {
        "source": report.source,
        "dry_run": dry_run,
        "taken_as_utc": report.taken_as_utc,
        "rows": report.rows,
        **{outcome: report.outcomes[outcome] for outcome in OUTCOMES},
        "samples": [
            {"line": line, "outcome": outcome, "detail": detail}
            for outcome, kept in report.samples.items()
            for line, detail in kept
        ],
    }


def _show(report: BackfillReport, dry_run: bool) -> None:
    rows = [(name, report.outcomes[name], MEANING[name]) for name in OUTCOMES]
    seen = [(name, count, meaning) for name, count, meaning in rows if count]
    title = (
        f"{report.source}: {counted(report.rows, 'row')}{', nothing written' if dry_run else ''}"
    )
    print_table(title, ("outcome", "rows", ""), [(n, c, m) for n, c, m in seen])
    if report.rows and report.outcomes[DUPLICATE] == report.rows:
        say("Nothing changed: every row was there already.")
    if report.taken_as_utc:
        say(
            "Times without an offset were read as UTC: where they are local, load the file again"
            " with --tz and --correct.",
            err=True,
        )
    for outcome, kept in report.samples.items():
        for line, detail in kept:
            say(f"line {line}: {outcome}: {detail}", err=True)
    if report.outcomes[CONFLICT]:
        say(
            "error: Other content is recorded under the numbers of"
            f" {counted(report.outcomes[CONFLICT], 'line')} of {report.source}. If the file was"
            " corrected, say --correct; if it is another file, map or zone, give it"
            " a --source of its own (and say --again).",
            err=True,
        )
    if report.outcomes["rejected"]:
        lines = counted(report.outcomes["rejected"], "line")
        say(f"error: {lines} could not be read and went to quarantine.", err=True)
