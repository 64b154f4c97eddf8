"""Worker processes that are killed, frozen and started, and who is doing what in the database."""

import signal
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.torture.nursery import Nursery, Process
from tests.torture.worker import CLOCK

# Shorter ones end by themselves where the machine has others to serve as well.
SESSION_MS = 5_000
PREFIX = "torture-"


def named(url: str, name: str) -> str:
    """The URL by which a process calls itself `name` to PostgreSQL."""
    return f"{url}{'&' if '?' in url else '?'}application_name={name}"


@dataclass
class Workers:
    """Some workers of one group; each names itself to PostgreSQL.

    With `columns` they store the facts of every batch as a chunk, else all as rows.
    """

    worker_url: str
    bootstrap: str
    topic: str
    log: str
    nursery: Nursery
    columns: bool = False
    running: dict[str, Process] = field(default_factory=dict)
    started: int = 0

    @property
    def clock(self) -> Path:
        """The file that says by how much the workers' clock is wrong."""
        return Path(f"{self.log}.clock")

    def step_clock(self, by: timedelta) -> None:
        """From now on all of them read another time, those that run too."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(str(by.total_seconds()))
        draft.replace(self.clock)

    @property
    def group(self) -> str:
        """The consumer group that they are."""
        return f"group-{self.topic}"

    def start(self) -> str:
        """One more worker; returns its name."""
        self.started += 1
        name = f"{PREFIX}{self.started}"
        environment = {
            "TOKENLEDGER_WORKER_URL": named(self.worker_url, name),
            "TOKENLEDGER_KAFKA_BOOTSTRAP": self.bootstrap,
            "TOKENLEDGER_KAFKA_TOPIC": self.topic,
            "TOKENLEDGER_KAFKA_GROUP": self.group,
            "TOKENLEDGER_KAFKA_SESSION_TIMEOUT_MS": str(SESSION_MS),
            "TOKENLEDGER_COLUMNS_FROM": "1" if self.columns else str(10**9),
            "TOKENLEDGER_LOG_LEVEL": "WARNING",
            CLOCK: str(self.clock),
        }
        arguments = ("worker", "--no-settle", "--processes", "1")
        self.running[name] = self.nursery.start(arguments, environment, self.log)
        return name

    def kill(self, name: str) -> None:
        """What a crash does."""
        self.running.pop(name).kill()

    def stop(self, name: str) -> None:
        """A clean end: the group is left."""
        self.running.pop(name).stop(20)

    def freeze(self, name: str) -> None:
        """Stop it where it is."""
        self.running[name].send_signal(signal.SIGSTOP)

    def wake(self, name: str) -> None:
        """Let it go on."""
        self.running[name].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End them all."""
        for name in list(self.running):
            self.wake(name)
            self.kill(name)
