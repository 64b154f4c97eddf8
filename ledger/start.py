"""Where `tokenledger` starts: a GPU host's daemon does without the command line's library."""

import sys


def main() -> None:
    """Run the daemon, or the command that is asked for."""
    if sys.argv[1:2] == ["collect"]:
        from collectors.command import main as collect

        sys.exit(collect(sys.argv[2:]))
    from ledger.cli import main as command

    command()
