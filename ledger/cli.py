"""The command line: an explicit table of commands, each imported when it is called.

A GPU host installs neither database driver nor web server, and `collect` and `probe` work there.
"""

import io
import os
import signal
import sys
from importlib import import_module
from typing import Any

import click

from ledger.flows.stages import STAGES
from ledger.wire.errors import TokenledgerError
from ledger.wire.one_line import one_line
from ledger.wire.secrets import scrub, scrub_tracebacks

# name: (module:command, what it is for). The order is the order in which they are shown.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("serve.up:up", "Serve everything in one process, with a database of its own."),
    "demo": ("serve.demo:demo", "Run two factories from events to invoices and show the books."),
    "migrate": ("serve.migrate:migrate", "Bring the database to the newest schema."),
    "api": ("serve.api:api", "Serve the HTTP API."),
    "worker": ("serve.worker:worker", "Read events from Kafka and keep the books up to date."),
    "keys": ("data.keys:keys", "Create, list and revoke API keys."),
    "import": ("data.import_files:import_", "Enter slow facts from a file."),
    "list": ("data.entered:list_", "List what was entered, of one kind."),
    "show": ("data.entered:show", "Show one thing that was entered, with its history."),
    "change": ("data.entered:change", "Change details of an entity or a customer from a day on."),
    "end": ("data.entered:end", "End what was entered from a moment on: who leaves, what stops."),
    "logo": ("data.logo:logo", "Put a logo above the documents of an entity."),
    "backfill": ("data.backfill:backfill", "Load usage of the past from CSV or NDJSON."),
    "settle": ("run.stages:settle", "Allocate, rate and book, in order."),
    "reserve": ("run.reserve:reserve_", "Hold what usage to come may cost, or let it go."),
    "grant": ("run.grant:grant", "Credit held in advance, and what is left of it."),
    "invoice": ("run.invoice:invoice", "Preview, issue, list and print invoices."),
    "close": ("run.close:close", "Close months of an entity, and open them again."),
    "payment": ("run.payment:payment", "Take statements of banks, and match what they book."),
    "dispute": ("run.dispute:dispute", "Keep what customers dispute of invoices."),
    "dunning": ("run.dunning:dunning", "Write letters about what is overdue."),
    "webhook": ("run.webhook:webhook", "Tell systems what happened, and sign what they are told."),
    "report": ("review.report:report", "Margin, energy, usage and coverage."),
    "trace": ("review.trace:trace", "Follow an invoice line or a cost to what it came from."),
    "export": ("data.export:export", "Write the books in a format of finance."),
    "conflicts": (
        "review.conflicts:conflicts",
        "What contradicts what is recorded, and which was right.",
    ),
    "quarantine": ("review.quarantine:quarantine", "What could not be read, and trying it again."),
    "suspense": ("review.suspense:suspense", "Usage of customers nobody knows, and releasing it."),
    "price": ("review.price:price", "Which price applies to a usage, and why no other does."),
    "unpriced": ("review.unpriced:unpriced", "Usage that waits for a price."),
    "status": ("review.status:status", "Last events, lag, what waits, coverage."),
    "check": ("review.check:check", "Recompute usage from the facts and compare."),
    "fold": ("run.fold:fold", "Merge the rows that add up to usage, between kept cut-offs."),
    "merge": ("run.merge:merge", "Merge facts of days that are over, by customer and time."),
    "archive": ("data.archive:archive", "Move the facts of old days to files."),
    "backup": ("data.backup:backup", "Copy the books into a folder."),
    "restore": ("data.backup:restore", "Bring a backup into an empty database."),
    "usage": ("review.usage:usage", "What a provider's usage object is counted as."),
    "collect": ("host.collect:collect", "Read GPUs and inference servers and send what they say."),
    "probe": ("host.collect:probe", "Say what this host offers to the collector."),
}


class RefusedCommand(click.ClickException):
    """An error as one line on stderr, exit status 1."""

    def show(self, file: object = None) -> None:  # noqa: ARG002
        click.echo(one_line(scrub(f"error: {self.message}")), err=True)


class CalledWrong(RefusedCommand):
    """A command that was not called right, exit status 2."""

    exit_code = 2


class Stopped(RefusedCommand):
    """A command that was stopped by Ctrl-C, with the exit status that shells know it by."""

    exit_code = 128 + signal.SIGINT


def _stages() -> dict[str, str]:
    """The command of each stage, and what the stage is for."""
    return {name.replace("_", "-"): listed.about for name, listed in STAGES.items()}


def _import(name: str) -> click.Command | None:
    if name in _stages():
        from ledger.commands.run.stages import stage_command

        return stage_command(name.replace("-", "_"))
    if name not in COMMANDS:
        return None
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(import_module(f"ledger.commands.{module}"), attribute)
    return command


def _is_own(error: ModuleNotFoundError) -> bool:
    return (error.name or "").partition(".")[0] in {"ledger", "collectors"}


class CommandTable(click.Group):
    """A group that imports a command when it is called, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*COMMANDS, *_stages()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        try:
            return _import(cmd_name)
        except ModuleNotFoundError as error:
            if _is_own(error):
                raise
            raise RefusedCommand(
                f"`{cmd_name}` needs {error.name}, which this host does not have. Install it with:"
                " pip install 'tokenledger[ledger,documents,embedded]'"
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])
        with formatter.section("Stages that `settle` runs"):
            formatter.write_dl([*_stages().items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _usage_refused(error) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            raise Stopped("Stopped. What was not finished is undone; run it again.") from error
        except BrokenPipeError as error:
            # Who reads what we print has seen enough.
            explained = _refused(error)
            if not isinstance(explained, RefusedCommand):
                raise
            raise explained from error
        except Exception as error:
            raise _refused(error) from error

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _usage_refused(error) from error


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokenledger")
def cli() -> None:
    """The books of a token factory: energy and GPU hours in, tokens out, all with evidence."""


def main() -> None:
    """Entry point of the installed command; what it makes is its user's alone."""
    scrub_tracebacks()
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows fewer signs than we print shows others for them.
            stream.reconfigure(errors="replace")
    try:
        cli(prog_name="tokenledger")
    finally:
        _flush()


def _flush() -> None:
    """Write what is left; a full disk is said here, and not by the interpreter's own exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What cannot be written stays in the buffer, which would be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            RefusedCommand(f"{error.strerror}: the output is not whole.").show()
        sys.exit(1)


def _usage_refused(error: click.UsageError) -> click.ClickException:
    """Called wrongly: one line with what helps; help itself where nothing was asked."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    said = error.format_message()
    help_at = f" See `{error.ctx.command_path} --help`." if error.ctx is not None else ""
    return CalledWrong(f"{said}{'' if said.endswith('.') else '.'}{help_at}")


def _refused(error: Exception) -> Exception:
    """Our own errors as one line; anything else is a defect and keeps its trace."""
    if isinstance(error, TokenledgerError):
        return RefusedCommand(str(error))
    # Only where the ledger part is installed can its errors come.
    try:
        from ledger.commands.failures import explain_failure
    except ModuleNotFoundError:
        return error
    explained = explain_failure(error)
    return RefusedCommand(explained) if explained is not None else error


if __name__ == "__main__":
    main()
