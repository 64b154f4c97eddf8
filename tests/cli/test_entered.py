"""What was entered, on the command line: listed, shown, changed from a day on, by file too."""

from pathlib import Path

import pytest

from ledger.flows.reference.resource import Resource
from ledger.flows.reference.resources import RESOURCES
from tests.cli.command_line import CommandLine


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.path)
def test_each_kind_is_listed_by_any_of_its_words(command: CommandLine, resource: Resource) -> None:
    for word in resource.words:
        assert command.json("list", word) == {"items": [], "next": None}
    assert command("list", resource.path).stdout
    assert f"no {resource.noun} x" in command.refusal("show", resource.path, "x")


def test_a_customer_is_listed_shown_and_changed(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    (listed,) = command.json("list", "customers")["items"]
    assert (listed["customer_id"], listed["name"]) == ("acme", "Acme")
    command("change", "customer", "acme", "--from", "2024-02-01", "--set", "address=Street 1")
    command("change", "customer", "acme", "--from", "2024-03-01", "--set", "payment_days=10")
    found = command.json("show", "customer", "acme")
    assert [(v["address"], v["payment_days"]) for v in found["versions"]] == [
        ("", None),
        ("Street 1", None),
        ("Street 1", 10),
    ]
    assert found["versions"][1]["valid_from"] == "2024-01-31T23:00:00.000000Z"
    assert "Street 1" in command("show", "customer", "acme").stdout
    emptied = ("--set", "address=", "--set", "payment_days=")
    command("change", "customer", "acme", "--from", "2024-04-01", *emptied)
    now = command.json("show", "customer", "acme")["now"]
    assert (now["address"], now["payment_days"]) == ("", None)


def test_changes_come_from_a_file(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "changes.csv"
    path.write_text("customer_id,valid_from,name,payment_days\nacme,2024-02-01,Acme 2,14\n")
    assert command.json("import", "customer-changes", path)["entered"] == 1
    assert command.json("import", "customer-changes", path)["entered"] == 0
    now = command.json("show", "customers", "acme")["now"]
    assert (now["name"], now["payment_days"]) == ("Acme 2", 14)
    path.write_text("entity_id,valid_from,address\nfactory,2024-02-01,Road 9\n")
    assert command.json("import", "entity-changes", path)["entered"] == 1
    assert command.json("show", "entity", "factory")["now"]["address"] == "Road 9"


def test_refused_changes_say_where(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    change = ("change", "customer", "acme", "--from")
    assert "valid_from: found 'soon'" in command.refusal(*change, "soon", "--set", "name=X")
    assert "kind: found" in command.refusal(*change, "2024-01-01", "--set", "kind=person")
    assert "name: found" in command.refusal(*change, "2024-01-01", "--set", "name=")
    absent = ("change", "customer", "nobody", "--from", "2024-01-01", "--set", "name=X")
    assert "no customer nobody" in command.refusal(*absent)
    command("list", "nothing", status=2)
