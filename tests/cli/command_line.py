"""Runs the command line against a database of the test's own, as a user would."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledger.cli import cli
from tests.support.database import Database

FACTORY = {
    "entities": "entity_id,name,currency,zone\nfactory,Factory,EUR,Europe/Copenhagen\n",
    "customers": "customer_id,entity_id,name\nacme,factory,Acme\n",
    "facilities": "facility_id,entity_id,name,zone\nsite,factory,Site,Europe/Copenhagen\n",
}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line with the database's URLs in its environment."""

    database: Database

    def __call__(self, *arguments: object, status: int | None = 0) -> Result:
        """Run a command that must end with `status`, unless that is None."""
        urls = {
            "TOKENLEDGER_OWNER_URL": self.database.owner_url,
            "TOKENLEDGER_WORKER_URL": self.database.worker_url,
            "TOKENLEDGER_API_URL": self.database.api_url,
        }
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], env=urls)
        if status is not None and result.exit_code != status:
            what = f"{arguments} ended with {result.exit_code}: {result.output}"
            raise AssertionError(what) from result.exception
        return result

    def json(self, *arguments: object, status: int = 0) -> Any:
        """What a command prints with --json."""
        return json.loads(self(*arguments, "--json", status=status).stdout)

    def items(self, *arguments: object) -> list[Any]:
        """The rows a list prints with --json."""
        page = self.json(*arguments)
        assert page.keys() == {"items", "next"}
        return list(page["items"])

    def refusal(self, *arguments: object) -> str:
        """The one line a refused command writes to stderr."""
        result = self(*arguments, status=1)
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr.removeprefix("error: ").strip()

    def enter_factory(self, folder: Any) -> None:
        """An entity, a customer and a site."""
        for kind, text in FACTORY.items():
            path = folder / f"{kind}.csv"
            path.write_text(text)
            self("import", kind, path)


@pytest.fixture
def command(database: Database) -> CommandLine:
    """The command line on a database of this test's own."""
    return CommandLine(database)
