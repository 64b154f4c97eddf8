"""The command line as a fixture."""

from tests.cli.command_line import command

__all__ = ["command"]
