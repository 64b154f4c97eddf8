"""`tokenledger import litellm|modelsdev|tokencost`: a published price table onto a rate card."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.price_table_file import only_providers, read_price_table
from ledger.commands.data.show import counted, json_option, print_json, print_table
from ledger.commands.options import FILE
from ledger.commands.run.periods import read_start
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.author import Author
from ledger.domain.errors import MissingInputError
from ledger.domain.pricing.tables import TABLE_READERS
from ledger.domain.pricing.tables.compare import JUMP_RULE, PriceMove, TableComparison
from ledger.domain.pricing.tables.rules import SOFT_RULES, PriceTable, judge_rows
from ledger.flows.reference.enter_table import TableTerms, enter_table
from ledger.store.pricing.prices import find_rate_card
from ledger.store.queries import Connection
from ledger.wire.inputs import DatedInput, read_input
from ledger.wire.price_inputs import NewRateCard

SHOWN = 20
KINDS = ("new", "rose", "fell", "vanished")


def _command(source: str, whose: str) -> click.Command:
    @click.argument("file", type=FILE)
    @click.option("--card", "rate_card_id", required=True, help="Its card, made if it is new.")
    @click.option("--entity", "entity_id", help="Whose a new card is.")
    @click.option("--currency", default="USD", show_default=True, help="Of a new card.")
    @click.option("--since", required=True, help="When its prices begin: a day or a time, of UTC.")
    @click.option("--provider", "providers", multiple=True, help="Only models of this provider.")
    @click.option(
        "--accept",
        "accepted",
        multiple=True,
        type=click.Choice([*SOFT_RULES, JUMP_RULE]),
        help="Mean it: what this rule finds odd is entered.",
    )
    @click.option("--apply", is_flag=True, help="Enter it; else only what would change is shown.")
    @click.option("--reason", help="Kept with what is entered; by default the file's name.")
    @preview_option
    @json_option
    @database_options
    def command(
        database: Database,
        file: Path,
        *,
        rate_card_id: str,
        entity_id: str | None,
        currency: str,
        since: str,
        providers: Sequence[str],
        accepted: Sequence[str],
        apply: bool,
        reason: str | None,
        preview: bool,
        as_json: bool,
    ) -> None:
        said = read_price_table(file)
        if source == "modelsdev":
            said = only_providers(file, said, providers)
        elif providers:
            raise click.UsageError(f"--provider: the table of {source} is by model")
        table = judge_rows(TABLE_READERS[source](said), set(accepted))

        author = author_of(reason, f"import of {file.name}")

        async def enter(connection: Connection, author: Author) -> TableComparison:
            card = await _card(connection, rate_card_id, entity_id, currency)
            terms = TableTerms(card, source, _begin(since), set(accepted), apply or preview)
            return await enter_table(connection, table, terms, author)

        if preview:
            print_preview(database, enter, author, as_json=as_json)
            return
        compared = database.run(lambda connection: enter(connection, author))
        if as_json:
            print_json(_plain(source, table, compared, applied=apply))
        else:
            _show(source, table, compared, applied=apply)

    about = f"Enter {whose} on a rate card, in US dollars for a million tokens."
    return click.command(source, help=f"{about}\n\n{_HELP}")(command)


_HELP = """Shows what is new, rose, fell and vanished against the card; --apply enters it. Rows that
are odd are held, with the rule and why. What vanished stays in force until it is ended by hand."""


def _begin(since: str) -> datetime:
    """When prices begin, on a quarter hour."""
    moment = read_start(since, "UTC").isoformat()
    return read_input(DatedInput, {"valid_from": moment}).valid_from


async def _card(
    connection: Connection, rate_card_id: str, entity_id: str | None, currency: str
) -> NewRateCard:
    known = await find_rate_card(connection, rate_card_id)
    if known is not None:
        said = {"entity_id": known.entity_id, "name": known.name, "currency": known.currency}
    elif entity_id is None:
        raise MissingInputError(
            f"There is no rate card {rate_card_id} yet.", "Say with --entity whose it is."
        )
    else:
        said = {"entity_id": entity_id, "name": rate_card_id, "currency": currency}
    return read_input(NewRateCard, {"rate_card_id": rate_card_id, **said})


def _plain(
    source: str, table: PriceTable, compared: TableComparison, *, applied: bool
) -> dict[str, object]:
    return {
        "source": source,
        "applied": applied,
        "models": table.models,
        "unpriced": table.unpriced,
        "unchanged": compared.unchanged,
        "changes": [_change(move) for move in compared.moves],
        "held": list(compared.held),
        "left_out": dict(table.left_out.most_common()),
    }


def _change(move: PriceMove) -> dict[str, object]:
    usage = move.usage
    return {
        "change": move.kind,
        "model": usage.model,
        "meter": usage.meter,
        "tier": usage.tier or None,
        "band_from": usage.band_from or None,
        "before": move.before,
        "after": move.after,
    }


def _show(source: str, table: PriceTable, compared: TableComparison, *, applied: bool) -> None:
    _show_rows(
        f"Held: {counted(len(compared.held), 'model')}",
        ("model", "rule", "why"),
        [(each.model, each.rule, each.why) for each in compared.held],
    )
    _show_rows(
        "Left out: what no meter counts, or tokens do",
        ("said as", "models"),
        [(name, count) for name, count in table.left_out.most_common()],
    )
    changes = [_change(move) for move in compared.moves]
    columns = ("change", "model", "meter", "tier", "band_from", "before", "after")
    for kind in KINDS[1:]:
        rows = [tuple(row[n] for n in columns) for row in changes if row["change"] == kind]
        _show_rows(f"{kind.capitalize()}: {counted(len(rows), 'price')}", columns, rows)
    counts = Counter(row["change"] for row in changes)
    moved = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS)
    click.echo(
        f"{source}: {counted(table.models, 'model')} read, {table.unpriced:,} without a price,"
        f" {len(compared.held):,} held. Prices: {moved}, {compared.unchanged:,} unchanged."
    )
    click.echo("Entered." if applied else "Nothing is written: say --apply to enter it.")


def _show_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    if not rows:
        return
    print_table(title, columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"and {len(rows) - SHOWN:,} more; --json has all.")


litellm = _command("litellm", "LiteLLM's price table")
modelsdev = _command("modelsdev", "the prices of models.dev (its JSON, or its folders packed)")
tokencost = _command("tokencost", "the price table of tokencost")
