"""Families come from a file, and what no family can be is refused with its line."""

import asyncio
from pathlib import Path

from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.flows.billing import subscribed

SINCE = "2024-01-01T00:00:00Z"
HEAD = "customer_id,parent_id,valid_from\n"


async def test_parents_of_a_file_are_entered_and_circles_refused(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    for name in ("acme", "beta", "gamma"):
        await subscribed(worker, customer_id=name)
    file = tmp_path / "parents.csv"
    file.write_text(f"{HEAD}beta,acme,{SINCE}\ngamma,beta,{SINCE}\n")
    await asyncio.to_thread(command, "import", "parents", str(file))
    rows = await asyncio.to_thread(command.items, "list", "parents")
    assert [(row["customer_id"], row["parent_id"]) for row in rows] == [
        ("beta", "acme"),
        ("gamma", "beta"),
    ]
    wrong = {
        "acme,gamma": "acme would be above itself: acme of gamma of beta of acme",
        "acme,acme": "send another customer",
        "acme,nobody": "There is no customer nobody",
        "gamma,acme": "parent gamma is already recorded",
    }
    for said, why in wrong.items():
        file.write_text(f"{HEAD}{said},{SINCE}\n")
        refused = await asyncio.to_thread(command.refusal, "import", "parents", str(file))
        assert why in refused
        assert "ine 2" in refused
