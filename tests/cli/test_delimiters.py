"""A file parted by another sign than was said is told which, at every door that reads rows."""

from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolon"), ("\t", "tab"), ("|", "pipe")])
def test_the_delimiter_of_a_file_is_named(
    command: CommandLine, tmp_path: Path, sign: str, word: str
) -> None:
    path = tmp_path / "file.csv"
    path.write_text(sign.join(("customer_id", "entity_id", "name")) + "\n" + sign.join("abc"))
    tariff = ("--tariff", "x", "--time-column", "t", "--price-column", "p")
    for ask in (
        ("import", "customers", path),
        ("import", "tariff", path, *tariff),
        ("backfill", path, "--set", "customer=acme"),
    ):
        said = command.refusal(*ask)
        assert "file.csv has one column, 'customer_id" in said
        assert f"Give --delimiter {word}." in said


def test_a_file_of_one_column_is_one(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "file.csv"
    path.write_text("customer_id\nbeta\n")
    fixed = ("--set", "entity_id=factory", "--set", "name=Beta")
    assert command.json("import", "customers", path, *fixed)["entered"] == 1
