"""A broken pipe is explained by whose it is."""

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
