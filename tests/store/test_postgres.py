"""The embedded server: its data outlives it, and nobody else gets in."""

import asyncio
import base64
import os
import stat
from pathlib import Path

import asyncpg
import pytest

from ledger.domain.errors import ConflictError, UnavailableError
from ledger.embedded.postgres import EmbeddedServer, embedded_server, open_server, running_url
from ledger.store.roles import API, OWNER, WORKER, RolePasswords, bootstrap_roles
from ledger.store.scram import scram_verifier


def ask(url: str, sql: str) -> object:
    """The first value of a query's first row."""

    async def query() -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(query())


@pytest.fixture
def server(durable_server: EmbeddedServer) -> EmbeddedServer:
    return durable_server


def test_what_was_committed_survives_a_power_cut(server: EmbeddedServer) -> None:
    ask(server.url(database="postgres"), "DROP TABLE IF EXISTS kept")
    ask(server.url(database="postgres"), "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop(immediate=True)
    server.start()
    assert ask(server.url(database="postgres"), "SELECT answer FROM kept") == 42


def test_durable_server_waits_for_the_disk(server: EmbeddedServer) -> None:
    assert ask(server.url(database="postgres"), "SHOW fsync") == "on"
    assert ask(server.url(database="postgres"), "SHOW synchronous_commit") == "on"


def test_server_is_postgresql_18_and_listens_on_no_address(server: EmbeddedServer) -> None:
    assert str(ask(server.url(database="postgres"), "SHOW server_version")).startswith("18.")
    assert ask(server.url(database="postgres"), "SHOW listen_addresses") == ""


def test_socket_lies_in_a_folder_that_only_its_owner_enters(server: EmbeddedServer) -> None:
    said = str(ask(server.url(database="postgres"), "SHOW unix_socket_directories"))
    folder = server.pgdata / said
    assert list(folder.glob(".s.PGSQL.*"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_second_process_is_refused_the_same_directory(server: EmbeddedServer) -> None:
    with pytest.raises(ConflictError, match="Another process runs the database"):
        open_server(server.pgdata.parent)


def test_directory_gives_its_url_while_the_server_runs(server: EmbeddedServer) -> None:
    assert running_url(server.pgdata.parent, OWNER) == server.url(OWNER)


def test_directory_without_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No database runs"):
        running_url(tmp_path)


def test_server_left_running_by_a_killed_process_is_taken_over(server_dir: Path) -> None:
    killed = open_server(server_dir, {"fsync": "off"})
    started = ask(killed.url(database="postgres"), "SELECT pg_postmaster_start_time()")
    os.close(killed.lock)
    with embedded_server(server_dir) as heir:
        now = ask(heir.url(database="postgres"), "SELECT pg_postmaster_start_time()")
        assert now == started


def test_path_too_long_for_a_socket_still_starts(server_dir: Path) -> None:
    with embedded_server(server_dir / ("long" * 25), {"fsync": "off"}) as server:
        url = server.url(database="postgres")
        assert ask(url, "SELECT 1") == 1
        folder = Path(str(ask(url, "SHOW unix_socket_directories")))
        assert not folder.is_relative_to(server_dir)
    assert not folder.exists()


def test_nobody_else_reads_what_is_made_nor_gets_further_into_folders_above(
    server_dir: Path,
) -> None:
    outer = server_dir / "closed"
    outer.mkdir(mode=0o700)
    above = {folder: folder.stat().st_mode for folder in outer.parents} | {
        outer: outer.stat().st_mode
    }
    with embedded_server(outer / "books", {"fsync": "off"}) as server:
        server.stop(immediate=True)
        server.start({"fsync": "off"})
        assert ask(server.url(database="postgres"), "SELECT 1") == 1
        made = [outer / "books", *(outer / "books").rglob("*")]
        lax = [path for path in made if path.lstat().st_mode & 0o077 and not path.is_socket()]
        assert lax == []
    assert {folder: folder.stat().st_mode for folder in above} == above


def test_roles_are_made_again_without_change(server: EmbeddedServer) -> None:
    asyncio.run(bootstrap_roles(server.url(database="postgres")))
    asyncio.run(bootstrap_roles(server.url(database="postgres")))
    bypass = """SELECT string_agg(rolname, ',') FROM pg_roles
                 WHERE rolbypassrls AND rolname LIKE 'tokenledger%'"""
    assert ask(server.url(), bypass) == WORKER
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'tokenledger'"
    assert ask(server.url(), owner) == OWNER
    owned = (
        f"SELECT count(*) FROM pg_class WHERE relowner IN ('{WORKER}'::regrole, '{API}'::regrole)"
    )
    assert ask(server.url(), owned) == 0
    assert ask(server.url(OWNER), "SELECT count(*) FROM pg_extension WHERE extname = 'btree_gist'")


def test_no_role_can_make_tables_but_the_owner(server: EmbeddedServer) -> None:
    asyncio.run(bootstrap_roles(server.url(database="postgres")))
    for role in (WORKER, API):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            ask(server.url(role), "CREATE TABLE mine (x int)")


# Quotes, letters that a normal form changes, spaces and signs that SASLprep drops or prohibits.
PASSWORDS = (
    'it\'s "$1"; DROP ROLE x; \\',
    "plain-ascii-password",
    "pa\u00df\u2460 \ufb01\u00a0x\u00adend",
    "A\u030angstr\u00f6m \u212b",
    "\u0627\u0628\u062c",
    "\u0627mixed\u0628",
    "zero\u200bwidth",
    "\u00ad",
    "unassigned \u0378",
    "private \ue000",
)


@pytest.mark.parametrize("password", PASSWORDS)
def test_verifier_is_the_one_postgresql_makes(server: EmbeddedServer, password: str) -> None:
    superuser = server.url(database="postgres")
    quoted = password.replace("'", "''")
    made = "CREATE ROLE with_password; ALTER ROLE with_password PASSWORD"
    text = f"BEGIN; {made} '{quoted}'"

    async def made_by_server() -> str:
        connection = await asyncpg.connect(superuser)
        try:
            await connection.execute(text)
            return str(
                await connection.fetchval(
                    "SELECT rolpassword FROM pg_authid WHERE rolname = 'with_password'"
                )
            )
        finally:
            await connection.close()

    expected = asyncio.run(made_by_server())
    salt = base64.b64decode(expected.split("$")[1].split(":")[1])
    assert scram_verifier(password, salt=salt) == expected


def test_password_opens_the_door_and_is_in_no_statement(server: EmbeddedServer) -> None:
    superuser = server.url(database="postgres")
    asyncio.run(bootstrap_roles(superuser))
    rules = server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text(f"local all {API} scram-sha-256\n{before}")
        ask(superuser, "ALTER SYSTEM SET log_statement = 'all'")
        ask(superuser, "SELECT pg_reload_conf()")
        for password in PASSWORDS[:4]:
            asyncio.run(bootstrap_roles(superuser, RolePasswords(api=password)))
            assert enter(server, password) == API
            with pytest.raises(asyncpg.InvalidPasswordError):
                enter(server, f"{password}x")
        kept = ask(superuser, STORED)
        asyncio.run(bootstrap_roles(superuser))
        assert ask(superuser, STORED) == kept
        assert ask(superuser, STORED.replace(API, WORKER)) is None
    finally:
        rules.write_text(before)
        ask(superuser, "ALTER SYSTEM RESET log_statement")
        ask(superuser, "SELECT pg_reload_conf()")
    said = "".join(path.read_text() for path in server.pgdata.rglob("*.log"))
    assert "ALTER ROLE" in said
    assert not [password for password in PASSWORDS[:4] if password in said]


STORED = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{API}'"


def enter(server: EmbeddedServer, password: str) -> object:
    async def login() -> object:
        url = server.url(API, "postgres")
        connection = await asyncpg.connect(url, password=password)
        try:
            return await connection.fetchval("SELECT current_user")
        finally:
            await connection.close()

    return asyncio.run(login())
