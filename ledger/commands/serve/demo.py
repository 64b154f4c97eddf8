"""`tokenledger demo`: two factories from events to invoices, and the books to look at."""

from pathlib import Path

import click

from ledger.commands.options import PORT
from ledger.demo.run import run


@click.command()
@click.option("--exit", "exit_when_done", is_flag=True, help="End instead of serving the API.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-output"),
    show_default=True,
    help="Where invoices, CSV files and summary.json go.",
)
@click.option("--port", type=PORT, default=8787, show_default=True, help="Of the API afterwards.")
def demo(exit_when_done: bool, output: Path, port: int) -> None:
    """Run a published day and an own fleet through the ledger and show what the books say."""
    run(output, exit_when_done=exit_when_done, port=port)
