"""Workers forked from a process that has imported what they need: most of a start is imports.

It starts no thread and no loop of its own, so that a child is what a fresh process would be.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import NoReturn

NEEDED = (
    "ledger.commands.serve.worker",
    "ledger.commands.serve.background",
    "ledger.commands.serve.database",
    "ledger.commands.serve.metrics_address",
    "ledger.stream.consumer",
)


@dataclass(frozen=True)
class Process:
    """A child of the nursery, known by a descriptor: its id may be another's once it ended."""

    descriptor: int

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            return

    def ended(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        found, _, _ = select.select([self.descriptor], [], [], timeout_s)
        return bool(found)

    def kill(self) -> None:
        """End it as a crash does, and forget it."""
        self.send_signal(signal.SIGKILL)
        self.ended(60)
        os.close(self.descriptor)

    def stop(self, timeout_s: float) -> None:
        """Ask it to end; a crash where it does not."""
        self.send_signal(signal.SIGTERM)
        self.ended(timeout_s)
        self.kill()


@dataclass
class Nursery:
    """One for all seeds of a process."""

    process: "subprocess.Popen[bytes]" = field(
        default_factory=lambda: subprocess.Popen(
            [sys.executable, "-m", "tests.torture.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    )

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: str) -> Process:
        """A process of `tokenledger` with these arguments, that writes all it says into `log`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"arguments": arguments, "environment": environment, "log": log}
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        self.process.stdin.flush()
        made = Process(os.pidfd_open(int(self.process.stdout.readline())))
        # Only now is it let go: before, its id could have been another's.
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return made

    def close(self) -> None:
        """It ends with its input; its children go on."""
        self.process.communicate()


def _serve() -> None:
    for name in NEEDED:
        import_module(name)
    while line := sys.stdin.buffer.readline():
        child = os.fork()
        if child == 0:
            _become(**json.loads(line))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdin.buffer.readline()
        # From here on whoever ended is nobody's concern.
        signal.signal(signal.SIGCHLD, _reap)


def _reap(number: int, frame: object) -> None:
    del number, frame
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _become(arguments: Sequence[str], environment: Mapping[str, str], log: str) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(environment)
    sys.argv = ["tokenledger", *arguments]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    code = 1
    try:
        from tests.torture.worker import be

        be()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
