"""Options that several commands take, each read one way and refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

PORT = click.IntRange(0, 65_535)
FILE: click.Path[Path] = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
# Row ids are bigints of the database.
ROW_ID = click.IntRange(0, 2**63 - 1)
LINE_NO = click.IntRange(1, 2**31 - 1)
Command = TypeVar("Command", bound=Callable[..., Any])
# Rows of one answer.
ROWS = click.IntRange(1, 1_000_000)
_NAMED = {
    "\\t": "\t",
    "tab": "\t",
    "comma": ",",
    "semicolon": ";",
    "space": " ",
    "pipe": "|",
}


class Delimiter(click.ParamType[str]):
    """One character, or the word for one that a shell makes hard to type."""

    name = "character"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The character; a usage error where CSV cannot be parted by it."""
        delimiter = _NAMED.get(value, str(value))
        if (
            len(delimiter) != 1
            or delimiter == '"'
            or not (delimiter.isprintable() or delimiter == "\t")
        ):
            self.fail(
                f"{value!r} cannot part cells; give one character, or tab, comma, semicolon or"
                " pipe.",
                param,
                ctx,
            )
        return delimiter


delimiter_option = click.option(
    "--delimiter",
    type=Delimiter(),
    default=",",
    show_default=True,
    help="Between cells of CSV: a character, or tab.",
)


def row_options(command: Command) -> Command:
    """Give a command that enters rows its file, and what says which of its cells are meant."""
    for option in reversed(_ROWS):
        command = option(command)
    return command


_ROWS = (
    click.argument("file", type=FILE),
    click.option("--map", "mapped", multiple=True, help="FIELD=COLUMN; then no others are read."),
    click.option("--set", "fixed", multiple=True, help="FIELD=VALUE for every row."),
    click.option("--where", multiple=True, help="COLUMN=VALUE: only these rows."),
    delimiter_option,
    click.option("--reason", help="Kept with what is entered; by default the file's name."),
)
