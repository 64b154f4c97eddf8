"""What commands print: tables for people, JSON for programs, progress for the patient."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ledger.wire.rfc3339 import format_rfc3339

LINE_EVERY_S = 5
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Advance(Protocol):
    """Says that so much more is done."""

    def __call__(self, done: int, /) -> None: ...


def plain(value: Any) -> Any:
    """A value as JSON holds it: decimals and times as text, counts as integers, no floats."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return format_rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: int = 0
) -> None:
    """A table on stdout; the last `numbers` columns are set to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        right = index >= len(columns) - numbers
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)


def cell(value: Any) -> str:
    """A value in a table; unknown is a dash, never 0."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


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
