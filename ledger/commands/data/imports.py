"""`tokenledger import`: slow facts from CSV, JSON or NDJSON, a whole file or nothing."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.rows import InputRow, check_columns, read_rows
from ledger.commands.data.show import counted, json_option, print_json, progress
from ledger.commands.groups import group
from ledger.commands.options import row_options
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.errors import InvalidInputError
from ledger.flows.reference.import_rows import Enter, import_rows
from ledger.flows.reference.resource import RowKind
from ledger.flows.reference.resources import RESOURCES
from ledger.wire import inputs
from ledger.wire.errors import InputError

PROBLEMS_SHOWN = 5


@group("import")
def import_() -> None:
    """Enter slow facts from a file: CSV, a JSON array or NDJSON, gzip too.

    Columns are named like the fields of the API; --map and --set bring other files into that form.
    A file is entered whole or not at all, and one entered already changes nothing.
    """


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`name=value` options as a mapping."""
    said: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes NAME=VALUE, not {text!r}")
        said[name] = value
    return said


def read_models(
    path: Path,
    rows: Sequence[InputRow],
    model: type[inputs.InputModel],
    *,
    mapped: Mapping[str, str],
    fixed: Mapping[str, str],
) -> list[tuple[int, inputs.InputModel]]:
    """(line, model) of every row; the first problems of the file in one error."""
    models: list[tuple[int, inputs.InputModel]] = []
    problems: list[str] = []
    for row in rows:
        cells = {field: row.cells.get(column) for field, column in mapped.items()}
        cells = {**(cells or row.cells), **fixed}
        try:
            if row.texts:
                models.append((row.line, inputs.read_texts(model, _texts(cells))))
            else:
                models.append((row.line, inputs.read_input(model, cells)))
        except InputError as error:
            problems.append(f"line {row.line}: {error}")
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        shown = "; ".join(problems[:PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise InvalidInputError(f"{path.name}: {shown}.", "Nothing was entered.")
    return models


def _texts(cells: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in cells.items() if value is not None}


def _command(word: str, about: str, file_rows: RowKind, *, dated: bool) -> click.Command:
    @row_options
    @click.option("--replace", is_flag=True, help="Supersede what it overlaps, for that time.")
    @preview_option
    @json_option
    @database_options
    def command(
        database: Database,
        file: Path,
        *,
        mapped: Sequence[str],
        fixed: Sequence[str],
        where: Sequence[str],
        delimiter: str,
        replace: bool,
        preview: bool,
        reason: str | None,
        as_json: bool,
    ) -> None:
        if replace and not dated:
            raise click.UsageError(f"--replace: {word} are not dated, what is recorded stays")
        rows = select_rows(file, delimiter=delimiter, where=where)
        columns = pairs(mapped, "--map")
        check_columns(file, list(rows[0].cells), list(columns.values()))
        models = read_models(
            file, rows, file_rows.model, mapped=columns, fixed=pairs(fixed, "--set")
        )
        doing: Enter = partial(file_rows.enter, replace=True) if replace else file_rows.enter
        author = author_of(reason, f"import of {file.name}")
        if preview:
            print_preview(
                database,
                lambda c, who: import_rows(c, doing, models, author=who),
                author,
                as_json=as_json,
            )
            return
        with progress(f"import {word}", len(models)) as advance:
            entered = database.run(
                lambda c: import_rows(c, doing, models, author=author, advance=advance)
            )
        report(word, rows=len(models), entered=entered, as_json=as_json)

    fields = ", ".join(file_rows.model.model_fields)
    does = f"Enter {about}"
    return click.command(word, help=f"{does}: {fields}.", short_help=f"{does}.")(command)


def select_rows(file: Path, *, delimiter: str, where: Sequence[str]) -> list[InputRow]:
    """Rows that say what `where` asks for; a file without any is an error."""
    wanted = pairs(where, "--where")
    rows = read_rows(file, delimiter=delimiter)
    if rows:
        check_columns(file, list(rows[0].cells), list(wanted))
    chosen = [r for r in rows if all(str(r.cells.get(n)) == v for n, v in wanted.items())]
    if not chosen:
        asked = f" with {', '.join(where)}" if where else ""
        raise InvalidInputError(f"{file.name} has no rows{asked}.", "Name a file with rows.")
    return chosen


def report(
    word: str,
    *,
    rows: int,
    entered: Mapping[str, int],
    as_json: bool,
    skipped: int | None = None,
) -> None:
    """Say how many rows of the file were read, how many things of each noun were new, and how many
    cells said nothing (None: no such)."""
    if as_json:
        counts = {"kind": word, "rows": rows, "entered": sum(entered.values())}
        print_json(counts if skipped is None else counts | {"skipped": skipped})
        return
    without = f", {counted(skipped, 'cell')} without a value" if skipped else ""
    things = [counted(count, noun) for noun, count in entered.items() if count]
    rest = "the rest recorded already" if skipped else "recorded already"
    done = f"{' and '.join(things)} entered" if things else rest
    click.echo(f"{word}: {counted(rows, 'row')} read{without}, {done}.")


for _each in RESOURCES:
    if (_rows := _each.file_rows) is not None:
        import_.add_command(_command(_each.file_word, _each.about, _rows, dated=_each.dated))
    if (_change := _each.change) is not None:
        _word = f"{_each.noun}-changes"
        _rows = RowKind(_change.model, _change.change)
        _about = f"what changes of {_each.path} from a day on"
        import_.add_command(_command(_word, _about, _rows, dated=False))
