"""A database that goes away while the API starts is waited for, and not for ever."""

import asyncio
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ledger.api import state
from ledger.api.app import create_app
from ledger.settings import Settings
from tests.support.database import Database


def folder_of(url: str) -> str:
    """Where the socket of a server is."""
    (folder,) = parse_qs(urlsplit(url).query)["host"]
    return folder


async def test_pools_are_opened_once_the_database_answers(database: Database) -> None:
    there = Path(folder_of(database.worker_url))
    with tempfile.TemporaryDirectory(prefix="tokenledger-test-") as away:
        settings = Settings(
            worker_url=database.worker_url.replace(str(there), away),
            api_url=database.api_url.replace(str(there), away),
        )
        app = create_app(settings)

        async def start() -> None:
            async with app.lifespan():
                assert app.state.ledger.identity_secret

        starting = asyncio.create_task(start())
        await asyncio.sleep(0.5)
        assert not starting.done()
        for socket in there.glob(".s.PGSQL.*[0-9]"):
            (Path(away) / socket.name).symlink_to(socket)
        await asyncio.wait_for(starting, 30)


async def test_a_database_that_stays_away_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(state, "STARTS_MAX", 2)
    url = f"postgresql://worker@/tokenledger?host={tmp_path}"
    app = create_app(Settings(worker_url=url, api_url=url))
    with pytest.raises(ExceptionGroup) as ended:
        async with app.lifespan():
            raise AssertionError
    assert ended.group_contains(ConnectionError)
