"""Prices of every kind come from a file, wrong ones are refused, and it is said which applies."""

import asyncio
from pathlib import Path

from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.flows.billing import subscribed

HEAD = "rate_card_id,meter,model,kind,amount,per,tiers,every,name,valid_from\n"
SINCE = "2024-01-01T00:00:00Z"


async def test_prices_of_a_file_are_entered_and_explained(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await subscribed(worker)
    file = tmp_path / "prices.csv"
    file.write_text(
        f"{HEAD}card-acme,output,llama,graduated,,,0-1000000:10;1000000-:8+1,,,{SINCE}\n"
        f"card-acme,fee,,recurring,300,,,month,Support,{SINCE}\n"
    )
    await asyncio.to_thread(command, "import", "rate-card", str(file))
    asked = ("price", "explain", "card-acme", "output", "--model", "llama", "--at", "2024-06-01")
    said = await asyncio.to_thread(command.json, *asked)
    assert [(row["applies"], row["kind"], row["model"]) for row in said["prices"]] == [
        (True, "graduated", "llama"),
        (False, "per_unit", None),
    ]
    assert said["prices"][1]["why"].endswith("names model llama")
    shown = (await asyncio.to_thread(command, *asked)).stdout
    assert "names most of what was used" in shown
    assert "First comes the price that names the agent" in shown
    assert "cent off, of each usage" in shown
    none = (
        await asyncio.to_thread(command, "price", "explain", "card-acme", "cached_input")
    ).stdout
    assert "waits, listed" in none
    refusal = command.refusal
    assert "no rate card x" in await asyncio.to_thread(refusal, "price", "explain", "x", "output")
    assert "no meter" in await asyncio.to_thread(refusal, "price", "explain", "x", "fee")


async def test_of_a_customer_it_says_which_subscription(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await subscribed(worker)
    file = tmp_path / "subscriptions.csv"
    head = "subscription_id,customer_id,rate_card_id,models,valid_from\n"
    file.write_text(f"{head}sub-acme,acme,card-acme,llama*,{SINCE}\n")
    await asyncio.to_thread(command, "import", "subscriptions", str(file), "--replace")
    file.write_text(f"{head}other,acme,card-acme,qwen;phi,{SINCE}\n")
    await asyncio.to_thread(command, "import", "subscriptions", str(file))
    file.write_text(f"{head}third,acme,card-acme,gemma;llama-7b,{SINCE}\n")
    refused = await asyncio.to_thread(command.refusal, "import", "subscriptions", str(file))
    assert "third (gemma, llama-7b) and sub-acme (llama*) of customer acme overlap" in refused
    asked = ("price", "explain", "output", "--customer", "acme", "--at", "2024-06-01")
    said = await asyncio.to_thread(command.json, *asked, "--model", "llama-70b")
    assert [(each["subscription_id"], each["applies"]) for each in said["subscriptions"]] == [
        ("other", False),
        ("sub-acme", True),
    ]
    assert said["rate_card_id"] == "card-acme"
    shown = (await asyncio.to_thread(command, *asked, "--model", "phi")).stdout
    assert "Subscription other of acme, for qwen, phi, prices it by card-acme." in shown
    none = await asyncio.to_thread(command.refusal, *asked, "--model", "gemma")
    assert "No subscription of acme prices gemma then, though it has other, sub-acme" in none


async def test_wrong_tiers_of_a_file_are_refused_by_line(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await subscribed(worker)
    file = tmp_path / "prices.csv"
    wrong = {
        "0-10:1;11-:1": "nothing is said from 10 to 11",
        "0-10:1;9-:1": "overlaps the next",
        "5-:1": "starts at 5, not at 0",
        "x": "send a tier like",
    }
    for tiers, said in wrong.items():
        file.write_text(f"{HEAD}card-acme,output,llama,graduated,,,{tiers},,,{SINCE}\n")
        refused = await asyncio.to_thread(command.refusal, "import", "rate-card", str(file))
        assert said in refused
        assert "ine 2" in refused
    file.write_text(
        f"rate_card_id,meter,amount,hours,valid_from\ncard-acme,output,1,at night,{SINCE}\n"
    )
    refused = await asyncio.to_thread(command.refusal, "import", "rate-card", str(file))
    assert "names no hours" in refused
    assert "ine 2" in refused
    assert await worker.fetchval("SELECT count(*) FROM rate_card_price") == 2


async def test_a_price_whose_unit_slipped_is_refused_by_line(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await subscribed(worker)
    file = tmp_path / "prices.csv"
    for amount, valid_from in (("0.000005", SINCE), ("5000001", SINCE), ("0.004", "2024-02-01")):
        at = valid_from if "T" in valid_from else f"{valid_from}T00:00:00Z"
        file.write_text(
            f"rate_card_id,meter,amount,valid_from\ncard-acme,cached_input,5,{SINCE}\n"
            f"card-acme,cached_input,{amount},{at}\n"
        )
        asked = ("import", "rate-card", str(file), "--replace")
        refused = await asyncio.to_thread(command.refusal, *asked)
        assert "over 1,000 times" in refused
        assert "ine 3" in refused
    assert await worker.fetchval("SELECT count(*) FROM rate_card_price") == 2


async def test_who_pays_comes_from_a_file_and_is_explained(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await subscribed(worker)
    file = tmp_path / "who-pays.csv"
    head = "rate_card_id,meter,kind,outcome,pays,model,agent_id,amount,valid_from\n"
    file.write_text(
        f"{head}card-acme,outcome,who_pays,aborted,house,llama*,,,{SINCE}\n"
        f"card-acme,output,,,,,bot,1,{SINCE}\n"
    )
    await asyncio.to_thread(command, "import", "rate-card", str(file))
    asked = ("price", "explain", "card-acme", "output", "--model", "llama", "--at", "2024-06-01")
    for options, kind in (
        ((), "per_unit"),
        (("--agent", "bot"), "per_unit"),
        (("--outcome", "retried"), "per_unit"),
        (("--outcome", "retried", "--outcome", "aborted", "--agent", "bot"), "who_pays"),
    ):
        said = await asyncio.to_thread(command.json, *asked, *options)
        first = said["prices"][0]
        assert (first["applies"], first["kind"]) == (True, kind)
        assert first["agent_id"] == ("bot" if options == ("--agent", "bot") else None)
    wrong = {
        "lost,house": "outcome: found 'lost'",
        "aborted,us": "pays: found 'us'",
        "aborted,": "pays: found nothing",
    }
    for cells, said in wrong.items():
        file.write_text(f"{head}card-acme,outcome,who_pays,{cells},,,,{SINCE}\n")
        refused = await asyncio.to_thread(command.refusal, "import", "rate-card", str(file))
        assert said in refused
        assert "ine 2" in refused


async def test_tables_and_prices_of_requests_come_from_a_file(
    worker: Connection, command: CommandLine, tmp_path: Path
) -> None:
    await subscribed(worker)
    file = tmp_path / "prices.csv"
    head = "rate_card_id,meter,kind,by,cells,sku,amount,per,markup,valid_from\n"
    cells = "llama|standard:4;llama|batch:2;qwen*|standard:1;qwen*|batch:0.5"
    file.write_text(
        f"{head}card-acme,output,matrix,model;tier,{cells},Chat,,,,{SINCE}\n"
        f"card-acme,requests,,,,,0.001,1,,{SINCE}\n"
        f"card-acme,cost,cost_plus,,,,,,20,{SINCE}\n"
    )
    await asyncio.to_thread(command, "import", "rate-card", str(file))
    assert await worker.fetchval("SELECT count(*) FROM rate_card_price") == 2 + 4 + 1 + 1
    asked = ("price", "explain", "card-acme", "--at", "2024-06-01", "--model", "qwen-3")
    for meter, amount in (("output", "1"), ("requests", "0.001"), ("cost", None)):
        said = await asyncio.to_thread(command.json, *asked, meter)
        assert [row["terms"].get("amount") for row in said["prices"] if row["applies"]] == [amount]
    free = ("price", "explain", "card-acme", "requests", "--at", "2020-01-01")
    assert "nothing is asked for it" in (await asyncio.to_thread(command, *free)).stdout
    wrong = {
        f"matrix,model;tier,{cells.rpartition(';')[0]},,,,": "nothing for qwen* and batch",
        "matrix,model;planet,a|b:1,,,,": "by.1",
        "matrix,model,a:1;a:2,,,,": "send one cell for each place",
        "cost_plus,,,,,,20": "send cost with kind cost_plus",
    }
    for row, said in wrong.items():
        file.write_text(f"{head}card-acme,output,{row},{SINCE}\n")
        refused = await asyncio.to_thread(command.refusal, "import", "rate-card", str(file))
        assert said in refused
        assert "ine 2" in refused
    file.write_text(f"{head}card-acme,requests,,,,,1,,,{SINCE}\n")
    refused = await asyncio.to_thread(command.refusal, "import", "rate-card", str(file))
    assert "send it with meter requests" in refused
