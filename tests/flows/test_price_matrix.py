"""A table of prices by one or two dimensions: one entry, a price a cell, one name on a bill."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import LedgerError
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.test_period_prices import SINCE, agree, enter, issued, priced, revenue, settle
from tests.flows.test_who_pays import used
from tests.support.books import Buyer

MATRIX: dict[str, Any] = {
    **{"meter": "input", "kind": "matrix", "by": ["model", "tier"], "sku": "Chat"},
    "cells": ["llama|standard:4", "llama|batch:2", "qwen*|standard:1", "qwen*|batch:0.5"],
}


async def test_each_cell_is_a_price_and_all_have_one_name(worker: Connection) -> None:
    books = await priced(worker, MATRIX)
    buyers = [Buyer(), Buyer(tier="batch"), Buyer(model="qwen-3"), Buyer(model="phi")]
    await used(books, *buyers)
    await settle(worker)
    # What is in no row costs what the card says beside it.
    assert await revenue(worker) == dict(zip((1, 2, 3, 4), map(Decimal, (4, 2, 1, 5)), strict=True))
    await agree(worker)
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier batch, Chat", 1_000_000, "2"),
        ("Uncached input tokens, llama, tier standard, Chat", 1_000_000, "4"),
        ("Uncached input tokens, phi, tier standard", 1_000_000, "5"),
        ("Uncached input tokens, qwen-3, tier standard, Chat", 1_000_000, "1"),
    ]
    await agree(worker)


async def test_a_matrix_takes_the_place_of_another_cell_by_cell(worker: Connection) -> None:
    books = await priced(worker, MATRIX)
    dearer = [cell.replace(":", ":1") for cell in MATRIX["cells"]]
    with pytest.raises(LedgerError, match="already recorded"):
        await enter(worker, **MATRIX | {"cells": dearer})
    since = "2023-11-02T00:00:00Z"
    await enter(worker, **MATRIX | {"cells": dearer, "valid_from": since}, replace=True)
    await used(books, Buyer(), Buyer())
    await settle(worker)
    assert await revenue(worker) == {1: Decimal(4), 2: Decimal(14)}
    await agree(worker)


async def test_a_cell_that_rivals_a_price_is_refused_with_all_of_its_matrix(
    worker: Connection,
) -> None:
    await priced(worker, {"meter": "output", "amount": "9", "band_from": 0})
    bands: dict[str, Any] = {"by": ["band_from"], "cells": ["200000:12", "7:3"]}
    with pytest.raises(LedgerError, match="band_from 7 is not one of"):
        await enter(worker, meter="output", kind="matrix", **bands)
    assert await worker.fetchval("SELECT count(*) FROM rate_card_price") == 2


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"cells": MATRIX["cells"][:3]}, r"cells: .*nothing for qwen\* and batch"),
        ({"cells": [*MATRIX["cells"], "llama|batch:3"]}, r"cells\.4: .*llama and batch"),
        ({"cells": ["llama:4"]}, r"cells\.0\.column: .*send a tier"),
        ({"by": ["model"]}, r"cells\.0\.column: .*leave it out"),
        ({"by": ["model", "planet"]}, r"by\.1: found .*planet"),
        ({"by": ["model", "model"]}, r"by\.1: found .*model"),
        ({"by": ["model", "tier", "region"]}, "by: "),
        ({"by": []}, "by: found nothing; send it with kind matrix"),
        ({"cells": []}, "cells: found nothing; send it with kind matrix"),
        ({"model": "llama"}, "model: .*the cells of the matrix say it"),
        ({"by": ["band_from"], "cells": ["much:1"]}, r"cells\.0: .*whole number of tokens"),
        ({"cells": ["a|b|c:1"]}, r"cells\.0: .*a cell like"),
        ({"cells": ["|b:1"]}, r"cells\.0: .*a cell like"),
        ({"cells": ["a|b:much"]}, r"cells\.0\.amount: "),
        ({"cells": ["a|b:0.0000001"]}, r"cells\.0\.amount: .*fewer decimals"),
        ({"amount": "1"}, "amount: .*leave it out with kind matrix"),
        ({"kind": "package", "by": [], "cells": [], "amount": "1", "size": 2}, "sku: .*leave it"),
        ({"meter": "fee"}, "kind: found .*matrix.*send recurring"),
        ({"meter": "requests"}, "per: found nothing"),
    ],
)
def test_a_table_with_holes_and_the_like_is_refused(changed: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        read_input(NewPrice, {"rate_card_id": "c", "valid_from": SINCE} | MATRIX | changed)


def test_a_large_table_is_held_together_at_once() -> None:
    names = [f"m{n}" for n in range(100)]
    cells = [f"{row}|{column}:1" for row in names for column in names]
    said = {"rate_card_id": "c", "valid_from": SINCE} | MATRIX | {"cells": cells}
    assert len(read_input(NewPrice, said).spelled_out()) == 10_000


async def test_a_price_of_its_own_may_have_a_name_too(worker: Connection) -> None:
    books = await priced(worker, {"meter": "input", "amount": "4", "model": "llama", "sku": "S-1"})
    await used(books, Buyer())
    await settle(worker)
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier standard, S-1", 1_000_000, "4"),
    ]
    await agree(worker)
