"""`tokenledger collect` and `tokenledger probe`: the daemon of a GPU host, and what it has."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from collectors.daemon import run_agent
from collectors.probe import probe as run_probe
from collectors.settings import CollectSettings, load_settings
from collectors.tables import nested
from ledger.wire.secrets import log_to_stderr, scrub

_config = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML with a [collect] table."
)
_set = click.option(
    "--set", "given", multiple=True, help="SETTING=VALUE, over file and environment."
)


@click.command()
@_config
@_set
@click.option("--replay", type=click.Path(path_type=Path, exists=True), help="A recording to play.")
@click.option("--record", type=click.Path(path_type=Path), help="Keep what is read for a replay.")
@click.option("--exit-when-done", is_flag=True, help="End after the recording has been sent.")
@click.pass_context
def collect(
    ctx: click.Context,
    config: Path | None,
    given: Sequence[str],
    replay: Path | None,
    record: Path | None,
    exit_when_done: bool,
) -> None:
    """Read GPUs and inference servers and send what they say, until stopped."""
    log_to_stderr(logging.INFO)
    overrides = _pairs(given)
    if replay is not None:
        overrides["replay_file"] = replay
    if record is not None:
        overrides["record_file"] = record
    if exit_when_done:
        overrides["exit_when_done"] = True

    def load() -> CollectSettings:
        return load_settings(config, **overrides)

    ctx.exit(run_agent(load(), load=load, path=config))


@click.command()
@_config
@_set
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(config: Path | None, given: Sequence[str], as_json: bool) -> None:
    """Say what this host offers: boards, their counters, servers that answer, and why not."""
    found = run_probe(load_settings(config, **_pairs(given)))
    if as_json:
        click.echo(scrub(json.dumps(asdict(found), indent=2, default=str)))
        return
    for board in found.boards:
        click.echo(", ".join(f"{name} {value}" for name, value in asdict(board).items()))
    if found.nvml_problem:
        click.echo(f"GPUs: {found.nvml_problem}")
    for target in found.targets:
        said = target.problem or f"answers with {', '.join(target.counters) or 'no counters'}"
        names = f" (names {target.version})" if target.version else ""
        click.echo(scrub(f"{target.engine} at {target.url}{names}: {said}"))
        for trouble in target.troubles:
            click.echo(scrub(f"  {trouble}"))
    if not found.targets:
        click.echo("Inference servers: none named; add targets to the settings.")


def _pairs(given: Sequence[str]) -> dict[str, object]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError("--set takes SETTING=VALUE")
        found[name] = value
    return nested(found, ".")
