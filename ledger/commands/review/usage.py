"""`tokenledger usage explain`: what a provider's usage object is counted as, without sending."""

from typing import IO

import click

from collectors.errors import GatewayUsageError
from collectors.gateways import GATEWAYS
from collectors.gateways.fields import RawUsage, checked
from ledger.commands.data.show import print_json, print_table
from ledger.commands.groups import group
from ledger.wire.strict_json import load_json

# Where answers have their usage; an object without any of these is taken for the usage itself.
_INSIDE = ("usage", "usageMetadata", "usage_metadata")


def _usage_in(text: bytes) -> RawUsage:
    try:
        value = load_json(text)
    except (ValueError, RecursionError) as error:
        raise GatewayUsageError(f"The file is no JSON ({error}); send one object.") from error
    inner = [value[name] for name in _INSIDE if isinstance(value, dict) and value.get(name)]
    return checked(inner[0] if inner else value)


@group()
def usage() -> None:
    """Usage objects of providers, and what is counted of them."""


@usage.command()
@click.argument("file", type=click.File("rb"))
@click.option("--form", type=click.Choice(list(GATEWAYS)), required=True, help="Whose usage it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: `data.usage` of an event.")
def explain(file: IO[bytes], form: str, as_json: bool) -> None:
    """Count a usage object, or that of an answer, as an event would say it; - reads stdin."""
    counted = GATEWAYS[form](_usage_in(file.read()))
    if as_json:
        print_json(counted)
        return
    rows = [
        (side, leaf, tokens)
        for side in ("input", "output")
        for leaf, tokens in [*counted[side].items(), ("total", counted[f"{side}_total"])]
    ]
    rows += [("of them", name, tokens) for name, tokens in counted.get("modality", {}).items()]
    rows += [("other", name, number) for name, number in counted.get("other", {}).items()]
    print_table(f"Usage as {form} says it", ("", "leaf", "tokens"), rows, numbers=1)
    click.echo("– is unknown, and no zero: its tokens may sit in uncached or visible.")
