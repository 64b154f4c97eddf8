"""Worker processes that are killed, frozen and started, and who is doing what in the database."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import asyncpg

SESSION_MS = 2_500
PATIENCE_S = 3.0


@dataclass
class Workers:
    """Some workers of one group; each names itself to PostgreSQL."""

    worker_url: str
    bootstrap: str
    topic: str
    log: str
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: int = 0

    def start(self) -> str:
        """One more worker; returns its name."""
        self.started += 1
        name = f"torture-{self.started}"
        separator = "&" if "?" in self.worker_url else "?"
        environment = os.environ | {
            "TOKENLEDGER_WORKER_URL": f"{self.worker_url}{separator}application_name={name}",
            "TOKENLEDGER_KAFKA_BOOTSTRAP": self.bootstrap,
            "TOKENLEDGER_KAFKA_TOPIC": self.topic,
            "TOKENLEDGER_KAFKA_GROUP": f"group-{self.topic}",
            "TOKENLEDGER_KAFKA_SESSION_TIMEOUT_MS": str(SESSION_MS),
            "TOKENLEDGER_LOG_LEVEL": "WARNING",
        }
        with open(self.log, "ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "ledger.cli", "worker", "--no-settle"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        return name

    def kill(self, name: str) -> None:
        """What a crash does."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """A clean end: the group is left."""
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

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


async def seen_doing(superuser_url: str, statement: str) -> str | None:
    """The name of a worker met inside a statement that begins so; None when none was in time."""
    connection = await asyncpg.connect(superuser_url)
    try:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            name = await connection.fetchval(
                "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE"
                " 'torture-%' AND state = 'active' AND query LIKE $1 LIMIT 1",
                f"{statement}%",
            )
            if name is not None:
                return str(name)
    finally:
        await connection.close()
    return None
