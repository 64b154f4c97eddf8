"""`tokenledger collect` and `tokenledger probe`: the daemon of a GPU host, and what it has."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from collectors.advice import as_table
from collectors.command import collect as run_collect
from collectors.command import pairs
from collectors.errors import CalledWrongError
from collectors.probe import probe as run_probe
from collectors.settings import load_settings
from ledger.wire.secrets import scrub

_config = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML with a [collect] table."
)
_set = click.option(
    "--set", "given", multiple=True, help="SETTING=VALUE, over file and environment."
)


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def collect(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Read GPUs and inference servers and send what they say, until stopped."""
    try:
        ctx.exit(run_collect(arguments))
    except CalledWrongError as error:
        raise click.UsageError(str(error), ctx) from error


@click.command()
@_config
@_set
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(config: Path | None, given: Sequence[str], as_json: bool) -> None:
    """Say what this host offers: boards, their counters, servers that answer, and why not."""
    host = run_probe(load_settings(config, **_pairs(given)))
    if as_json:
        click.echo(scrub(json.dumps(asdict(host), indent=2, default=str)))
        return
    click.echo(scrub(as_table(host.findings)))
    if not host.targets:
        click.echo("Inference servers: none named; add targets to the settings.")


def _pairs(given: Sequence[str]) -> dict[str, object]:
    try:
        return pairs(given)
    except CalledWrongError as error:
        raise click.UsageError(str(error)) from error
