"""Webhooks by the command line and its files: entered, given a secret, told, switched, replayed."""

import json
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.support.listener import listening

PAID = {"webhook_id": "erp", "entity_id": "factory", "events": ["payment.received"]}
PAYMENT = {
    **{"entity_id": "factory", "payment_id": "bank-1", "customer_id": "acme"},
    **{"paid_on": "2026-08-06", "currency": "EUR", "amount": "5"},
}


def enter(command: CommandLine, folder: Path, kind: str, *rows: object) -> tuple[object, ...]:
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(rows))
    return ("import", kind, path)


def test_a_webhook_is_entered_told_switched_and_told_again(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENLEDGER_WEBHOOKS_INSIDE", "true")
    command.enter_factory(tmp_path)
    with listening() as listener:
        command(*enter(command, tmp_path, "webhooks", PAID | {"url": listener.url}))
        shown = command("webhook", "secret", "erp")
        assert shown.stdout.startswith("whsec_")
        assert "not shown again" in shown.stderr
        command(*enter(command, tmp_path, "payments", PAYMENT))
        assert command.json("webhook", "deliver")["delivered"] == 1
        (notice,) = command.items("list", "notices")
        assert (notice["event"], notice["subject"], notice["waiting"]) == (
            *("payment.received", "bank-1"),
            0,
        )
        assert listener.ids == [notice["notice_id"]]
        command("webhook", "replay", notice["notice_id"])
        command("webhook", "off", "erp", "--reason", "it is being mended")
        assert command.json("webhook", "deliver")["delivered"] == 0
        (webhook,) = command.items("list", "webhooks")
        assert (webhook["active"], webhook["reason"]) == (False, "it is being mended")
        assert "whsec" not in json.dumps(webhook)
        command("webhook", "on", "erp", "--reason", "mended")
        listener.answers = [410]
        said = command("webhook", "deliver").stdout
        assert "0 notices delivered, 1 not." in said
        assert "erp is switched off" in said
    assert len(listener.ids) == 2
    tried = command.items("list", "deliveries")
    assert [row["outcome"] for row in tried] == ["delivered", "failed"]
    assert "no webhook nobody" in command.refusal("webhook", "secret", "nobody")
    assert "no notice x" in command.refusal("webhook", "replay", "x")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://169.254.169.254/latest", "169.254.169.254 is link-local"),
        ("https://[::ffff:10.0.0.1]/x", "is not global unicast"),
        ("https://localhost/x", "localhost is a name of the house"),
        ("http://hooks.example.com/x", "is not https"),
        ("file:///etc/passwd", "send an address like"),
    ],
)
def test_a_file_names_no_target_inside_the_house(
    command: CommandLine, tmp_path: Path, url: str, said: str
) -> None:
    command.enter_factory(tmp_path)
    assert said in command.refusal(*enter(command, tmp_path, "webhooks", PAID | {"url": url}))
    assert command.items("list", "webhooks") == []
