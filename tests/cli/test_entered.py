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


CARD = """{"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "USD",
 "prices": [
  {"meter": "input", "amount": "5", "valid_from": "2024-01-01T00:00:00Z"},
  {"meter": "output", "amount": "15", "valid_from": "2024-01-01T00:00:00Z"}]}"""
SUBSCRIPTION = """subscription_id,customer_id,rate_card_id,valid_from
acme-1,acme,list,2024-01-01T00:00:00Z
"""
APRIL = ("--from", "2024-04-01T00:00:00Z")
APRIL_SAID = "2024-04-01T00:00:00.000000Z"


def test_a_subscription_and_one_of_several_prices_end(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    card, subscription = tmp_path / "cards.json", tmp_path / "subscriptions.csv"
    card.write_text(CARD)
    subscription.write_text(SUBSCRIPTION)
    command("import", "rate-cards", card)
    command("import", "subscriptions", subscription)
    done = command("end", "subscription", "acme-1", *APRIL, "--reason", "gave notice").stdout
    assert done == "subscription acme-1 has ended from 2024-04-01T00:00:00Z on.\n"
    (ended,) = command.json("list", "subscriptions")["items"]
    assert ended["valid_to"] == APRIL_SAID
    assert "Say which by" in command.refusal("end", "price", "list", *APRIL)
    command("end", "price", "list", "--of", "meter=output", "--of", "model=", *APRIL)
    ends = {row["meter"]: row["valid_to"] for row in command.json("list", "prices")["items"]}
    assert ends == {"output_visible": APRIL_SAID, "input_uncached": None}


def test_what_cannot_end_says_why(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    assert "no subscription x" in command.refusal("end", "subscription", "x", *APRIL)
    soon = ("end", "subscription", "x", "--from", "soon")
    assert "valid_from: found 'soon'" in command.refusal(*soon)
    of = ("--of", "band_from=x")
    assert "of.band_from: found" in command.refusal("end", "price", "list", *of, *APRIL)
    assert "customers have no end" in command("end", "customer", "acme", *APRIL, status=2).stderr
