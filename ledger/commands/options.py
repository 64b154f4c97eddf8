"""Options that several commands take, each read one way and refused in one line."""

from pathlib import Path
from typing import Any

import click

PORT = click.IntRange(0, 65_535)
FILE: click.Path[Path] = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
# Row ids are bigints of the database.
ROW_ID = click.IntRange(0, 2**63 - 1)
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
        found = _NAMED.get(value, str(value))
        if len(found) != 1 or found == '"' or not (found.isprintable() or found == "\t"):
            self.fail(
                f"{value!r} cannot part cells; give one character, or tab, comma, semicolon or"
                " pipe.",
                param,
                ctx,
            )
        return found


delimiter_option = click.option(
    "--delimiter",
    type=Delimiter(),
    default=",",
    show_default=True,
    help="Between cells of CSV: a character, or tab.",
)
