"""Credit on the command line: granted one by one or by file, and what is left of it."""

from pathlib import Path

from tests.cli.command_line import CommandLine


def test_credit_is_granted_and_its_balance_is_shown(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    command("grant", "give", "c-1", "--customer", "acme", "--amount", "50", "--model", "llama")
    gift = ("--promotional", "--priority", "3", "--expires", "2199-01-01", "--meter", "input")
    command("grant", "give", "c-2", "--customer", "acme", "--amount", "9.5", *gift)
    (balance,) = command.items("grant", "balances")
    assert (balance["granted"], balance["usable"], balance["currency"]) == ("59.5", "59.5", "EUR")
    assert "acme" in command("grant", "balances").stdout
    assert command.items("grant", "events") == []
    first, second = command.items("list", "grants")
    assert (first["models"], second["meters"]) == (["llama"], ["input_uncached"])
    refused = ("grant", "give", "c-3", "--customer")
    assert "no customer nobody" in command.refusal(*refused, "nobody", "--amount", "1")
    assert "amount" in command.refusal(*refused, "acme", "--amount", "nothing")
    assert "minor unit" in command.refusal(*refused, "acme", "--amount", "0.001")


def test_a_file_of_grants_is_entered_once(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "grants.csv"
    head = "entity_id,grant_id,customer_id,currency,amount,granted_on,expires_on\n"
    path.write_text(f"{head}factory,c-1,acme,EUR,50,2024-01-01,2025-01-01\n")
    for entered in (1, 0):
        assert command.json("import", "grants", path)["entered"] == entered
    for row, told in (
        ("factory,c-2,acme,EUR,0,2024-01-01,", "line 2: amount"),
        ("factory,c-2,acme,EUR,5,2024-01-01,2024-01-01", "line 2: expires_on"),
        ("factory,c-1,acme,EUR,60,2024-01-01,2025-01-01", "already recorded with amount 50"),
        ("factory,c-2,nobody,EUR,5,2024-01-01,", "no customer nobody"),
    ):
        path.write_text(f"{head}{row}\n")
        assert told in command.refusal("import", "grants", path)
    rules = tmp_path / "rules.csv"
    rules.write_text(
        "customer_id,currency,low_balance,top_up_amount,valid_from\n"
        "acme,EUR,10,100,2024-01-01T00:00:00Z\n"
    )
    for entered in (1, 0):
        assert command.json("import", "top-up-rules", rules)["entered"] == entered
    command("settle")
    assert [each["kind"] for each in command.items("grant", "events")] == [
        *("exhausted", "expired", "low_balance", "top_up_ordered"),
    ]
