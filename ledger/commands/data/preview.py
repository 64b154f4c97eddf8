"""`--preview`: what a change would move in the books, of whatever command would enter it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ledger import clock
from ledger.commands.data.show import print_json, print_table, progress
from ledger.commands.serve.database import Database
from ledger.domain.author import Author
from ledger.flows.preview import Change, preview_change
from ledger.reports.books.preview import preview_json, show_preview
from ledger.reports.report import ReportTable, Warned

Command = TypeVar("Command", bound=Callable[..., Any])


def preview_option(command: Command) -> Command:
    """Give a command `--preview`."""
    about = "Enter nothing, and show what it would move in the books."
    return click.option("--preview", is_flag=True, help=about)(command)


def print_preview(database: Database, change: Change, author: Author, *, as_json: bool) -> None:
    """Say what a change would move, with progress while it is worked out."""
    last = 0
    with progress("preview") as advance:

        def told(done: int, of: int) -> None:
            nonlocal last
            advance(done - last)
            last = done if done < of else 0

        seen = database.run(
            lambda connection: preview_change(
                connection, change, author, now=clock.now(), told=told
            )
        )
    if as_json:
        print_json(preview_json(seen))
        return
    for each in show_preview(seen):
        match each:
            case ReportTable():
                print_table(
                    each.title, each.columns, each.rows, numbers=each.numbers, first=each.first
                )
            case Warned(text):
                click.echo(text, err=True)
            case str():
                click.echo(each)
