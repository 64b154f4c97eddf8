"""Groups of commands, whose help says what each command does in a whole sentence."""

from collections.abc import Callable

import click

# Longer than any first sentence.
WHOLE = 1_000


class CommandGroup(click.Group):
    """A group that wraps what its commands do where others cut it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every command with its first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, self.commands[name].get_short_help_str(WHOLE))
                    for name in self.list_commands(ctx)
                ]
            )


def group(name: str | None = None) -> Callable[[Callable[..., object]], CommandGroup]:
    """Make a group of commands; without a name it has that of its function."""
    return click.group(name, cls=CommandGroup)
