"""What commands print: tables for people, JSON for programs, progress for the patient."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ledger.reports.table_fit import BESIDE, fit_columns
from ledger.wire.one_line import unsteering
from ledger.wire.plain import plain_decimal, plain_value

LINE_EVERY_S = 5
WIDE = "ledger.wide"
_IES = frozenset({"ty", "ry", "cy"})
Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Give a command `--json`, and `--wide` for its tables, which need no argument."""
    wide = click.option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=_keep_wide,
        help="Print every column, however narrow the terminal is.",
    )
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(wide(command))


def _keep_wide(context: click.Context, _: click.Parameter, given: bool) -> None:
    context.meta[WIDE] = given


class Advance(Protocol):
    """Says that so much more is done."""

    def __call__(self, done: int, /) -> None: ...


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the number it stands in.

    >>> [counted(1, "row"), counted(1200, "rate card"), counted(2, "entity")]
    ['1 row', '1,200 rate cards', '2 entities']
    """
    if count == 1:
        return f"1 {noun}"
    plural = noun[:-1] + "ies" if noun[-2:] in _IES else noun + ("es" if noun[-1] in "sxh" else "s")
    return f"{count:,} {plural}"


def say(text: str, *, err: bool = False) -> None:
    """A line for a person, which may hold what events and their senders named."""
    click.echo(unsteering(text), err=err)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(plain_value(value), indent=2, ensure_ascii=False))


def print_items(rows: Sequence[Any], *, after: Any = None) -> None:
    """A list as the API answers it; `after` is where the next page begins, None without one."""
    print_json({"items": [plain_value(row) for row in rows], "next": after})


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    numbers: int = 0,
    first: Sequence[str] = (),
) -> None:
    """A table on stdout, or that there is none; the last `numbers` columns are set to the right.

    What does not fit the terminal is left out and named, the columns named `first` last of all.
    """
    # Senders of events name models, customers and more as they like.
    cells = [[unsteering(cell(value)) for value in row] for row in rows]
    if not cells:
        click.echo(f"{title}: none.")
        return
    right = range(len(columns) - numbers, len(columns))
    width = None if _wide() else shutil.get_terminal_size((160, 24)).columns
    fitted = fit_columns(columns, cells, width, first=first, numbers=right)
    table = Table(title=title, title_justify="left")
    for index, wide in zip(fitted.shown, fitted.widths, strict=True):
        justify: JustifyMethod = "right" if index in right else "left"
        table.add_column(columns[index], justify=justify, overflow="fold", width=wide)
    for row in cells:
        table.add_row(*(Text(row[index]) for index in fitted.shown))
    # A title may be wider than its table.
    taken = max(sum(each + BESIDE for each in fitted.widths) + 1, width or cell_len(title))
    Console(width=taken).print(table)
    if fitted.dropped:
        left_out = ", ".join(columns[index] or "(no name)" for index in fitted.dropped)
        click.echo(f"Not shown for want of width: {left_out}. --wide shows all.", err=True)


def _wide() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(WIDE))


def cell(value: object) -> str:
    """A value in a table; unknown is a dash, never 0."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ";".join(f"{name}:{cell(each)}" for name, each in value.items())
    return plain_decimal(value) if isinstance(value, Decimal) else str(value)


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Advance]:
    """Progress on stderr: a bar on a terminal, elsewhere a plain line every few seconds."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done: bar.advance(task, done)
        return
    yield _PlainLines(label, total)


class _PlainLines:
    def __init__(self, label: str, total: int | None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._last = time.monotonic()

    def __call__(self, done: int, /) -> None:
        self._done += done
        if time.monotonic() - self._last >= LINE_EVERY_S:
            self._last = time.monotonic()
            of = f" of {self._total:,}" if self._total else ""
            click.echo(f"{self._label}: {self._done:,}{of}", err=True)
