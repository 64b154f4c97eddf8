"""What is out of bounds is refused by files and the command line, in a line that names it."""

import csv
import json
from pathlib import Path

from tests.cli.command_line import CommandLine
from tests.support.far_inputs import FAR_INPUTS, FAR_PERIODS


def test_every_file_with_a_row_out_of_bounds_is_refused_by_line_and_name(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    for number, far in enumerate(FAR_INPUTS):
        path = tmp_path / f"{number}.dat"
        if number % 2:
            path.write_text(json.dumps(far.row) + "\n")
        else:
            with path.open("w") as file:
                writer = csv.DictWriter(file, list(far.row))
                writer.writeheader()
                writer.writerow(far.row)
        said = command.refusal("import", far.kind, path)
        assert f"line {1 if number % 2 else 2}: {far.field}: found " in said, str(far)
        assert len(said) < 400


def test_a_price_file_with_a_row_out_of_bounds_is_refused(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "prices.csv"
    for far in FAR_PERIODS:
        unit = "kWh" if "price_per_kwh" in far.row else "MWh"
        price = far.row["price_per_kwh" if unit == "kWh" else "price_per_mwh"]
        path.write_text(f"from,to,price\n{far.row['start']},{far.row['end']},{price}\n")
        said = command.refusal(
            *("import", "tariff", path, "--tariff", "spot", "--facility", "site"),
            *("--currency", "EUR", "--time-column", "from", "--end-column", "to"),
            *("--price-column", "price", "--unit", unit),
        )
        assert f"Line 2: {far.field}: found " in said, str(far)


def test_local_times_at_the_edge_of_the_calendar_are_refused_too(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "prices.csv"
    for start in ("0001-01-01T00:00", "9999-12-31T23:00"):
        path.write_text(f"at,price\n{start},1\n")
        for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):
            said = command.refusal(
                *("import", "tariff", path, "--tariff", "spot", "--facility", "site"),
                *("--currency", "EUR", "--time-column", "at", "--price-column", "price"),
                *("--zone", zone),
            )
            assert said.startswith("Line 2: "), said
