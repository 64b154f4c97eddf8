"""A broken pipe is explained by whose it is."""

import asyncpg

from ledger.commands.failures import explain_failure


def broken(filename: str) -> Exception:
    code = compile('raise BrokenPipeError(32, "Broken pipe")', filename, "exec")
    try:
        exec(code, {})
    except BrokenPipeError as error:
        return error
    raise AssertionError


def test_a_pipe_to_the_database_is_its_connection_and_another_is_not() -> None:
    lost = explain_failure(broken("/lib/asyncpg/connection.py"))
    assert lost is not None
    assert lost.startswith("The connection to the database was lost")
    assert explain_failure(broken("/lib/click/utils.py")) is None


def test_a_database_without_room_for_locks_says_what_gives_it_some() -> None:
    said = "out of shared memory\nHINT:  You might need to increase it."
    explained = explain_failure(asyncpg.OutOfMemoryError(said))
    assert explained is not None
    assert "\n" not in explained
    assert "out of shared memory. Of locks it has more with max_locks_per_transaction" in explained
