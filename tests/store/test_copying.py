"""What is copied as text comes back as it was, whatever signs it has."""

from decimal import Decimal

from ledger.store.copying import PIECE_BYTES, copy_text
from ledger.store.queries import Connection

TEXTS = ["", "a", "None", "a\tb", "a\nb", "\r", "\\", "\\N", "\\.", "\\x41", "\\t", "漢 é", None]
AMOUNTS = [Decimal(0), Decimal("-1.20"), Decimal("1E+3"), Decimal("0E-12"), Decimal(10) ** 40, None]


async def test_what_is_copied_as_text_comes_back(owner: Connection) -> None:
    await owner.execute("CREATE TEMPORARY TABLE said (place int, said text, amount numeric)")
    rows = [
        (place, said, amount)
        for place, (said, amount) in enumerate((s, a) for s in TEXTS for a in AMOUNTS)
    ]
    await copy_text(owner, "said", ("place", "said", "amount"), rows)
    kept = await owner.fetch("SELECT place, said, amount FROM said ORDER BY place")
    assert [tuple(row) for row in kept] == rows
    # Zeros behind the point say how exact an amount is.
    assert str(kept[1]["amount"]) == "-1.20"


async def test_text_of_many_pieces_comes_back(owner: Connection) -> None:
    """Pieces end within lines and characters."""
    await owner.execute("CREATE TEMPORARY TABLE said (place int, said text)")
    rows = [(place, "漢é"[place % 2] * 1_001) for place in range(1_000)]
    assert sum(len(said.encode()) for _, said in rows) > 8 * PIECE_BYTES
    await copy_text(owner, "said", ("place", "said"), rows)
    kept = await owner.fetch("SELECT place, said FROM said ORDER BY place")
    assert [tuple(row) for row in kept] == rows
