"""What people choose as a name can become no path, header or second line, whoever lets it in."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.exports.filenames import file_name
from ledger.store.queries import Connection
from ledger.wire import changes, factory_inputs, inputs, price_inputs
from ledger.wire.errors import InputError
from ledger.wire.inputs import InputModel, read_input

EVIL = (
    "../../evil",
    "a/b",
    "a\\b",
    "..",
    ".hidden",
    "-rf",
    "a b",
    "a\r\nSet-Cookie: x",
    "a\n",
    "a\0",
    "Größe",
    "ＡＢ",
    'a"b',
    "a;b",
    "a" * 129,
    "",
)
FINE = ("acme", "ACME-AI.2026", "acme:eu", "a@b.example", "7", "x_y+z=1~")
NAMED = (
    *("entity_id", "customer_id", "facility_id", "asset_id", "tariff_id", "deployment_id"),
    *("rate_card_id", "subscription_id", "invoice_prefix"),
)


def fields() -> list[tuple[type[InputModel], str]]:
    """Each field of each model that names something of ours."""
    found = []
    for module in (inputs, factory_inputs, changes):
        for model in vars(module).values():
            if isinstance(model, type) and issubclass(model, InputModel):
                found += [(model, name) for name in NAMED if name in model.model_fields]
    assert len(found) > 15
    return found


def problems_of(model: type[InputModel], field: str, value: Any) -> list[str]:
    try:
        read_input(model, {field: value})
    except InputError as error:
        return [one.field for one in error.problems]
    return []


def test_names_of_ours_have_one_rule_of_characters() -> None:
    for model, field in fields():
        for evil in EVIL:
            assert field in problems_of(model, field, evil), f"{model.__name__}.{field} {evil!r}"
        for fine in FINE:
            assert field not in problems_of(model, field, fine), f"{model.__name__}.{field} {fine}"


@pytest.mark.parametrize("field", ["model", "tier", "adapter", "region"])
def test_names_of_others_are_one_printable_line(field: str) -> None:
    for evil in ("a\r\nb", "a\n", "a\0", " a", "\u202ea", ""):
        assert field in problems_of(price_inputs.NewPrice, field, evil), repr(evil)
    for fine in ("meta-llama/Llama 3.1 (8B)", "größe", "模型"):
        assert field not in problems_of(price_inputs.NewPrice, field, fine)


COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
 WHERE table_schema = 'public' AND column_name = ANY($1)
   AND table_name || '_id' = column_name OR column_name = 'invoice_prefix'
"""


async def test_the_database_holds_the_same_rule(owner: Connection) -> None:
    found = await owner.fetch(COLUMNS, list(NAMED))
    assert {row["column_name"] for row in found} == set(NAMED)
    for row in found:
        table, column = row
        rule = await owner.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = $1::regclass AND conname = $2",
            *(table, f"{column}_is_plain"),
        )
        assert rule, f"{table}.{column}"
        inside = rule.removeprefix("CHECK ").replace(column, "$1::text")
        for evil in EVIL:
            if "\0" not in evil:
                assert await owner.fetchval(f"SELECT {inside}", evil) is False, evil
        for fine in FINE:
            assert await owner.fetchval(f"SELECT {inside}", fine) is True, fine


async def test_a_prefix_that_leads_out_of_a_folder_is_refused_by_the_database(
    worker: Connection,
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await worker.execute(
            "INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)"
            " VALUES ('e', 'EUR', 'UTC', '../../evil', 1)"
        )


@given(st.text(max_size=400) | st.sampled_from(EVIL))
def test_a_file_name_is_one_file_in_the_folder_meant(chosen: str) -> None:
    name = file_name(chosen, ".pdf")
    folder = Path("/somewhere")
    assert (folder / name).parent == folder
    assert Path(name).name == name
    assert name.isascii()
    assert name.isprintable()
    assert name.endswith(".pdf")
    assert not name.startswith((".", "-"))
    assert len(name) <= 255
