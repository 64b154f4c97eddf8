"""What was taken becomes runs of lines: one of usage by part, and one for each of nobody's."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.cause import UNATTRIBUTED, UNCLAIMED, USAGE
from ledger.domain.cost.share import SHARES
from ledger.domain.cost.slots import NOBODY
from ledger.domain.cost.taken import KeyShares, runs_of
from ledger.domain.cost.unclaimed import OF_NO_REQUEST

IDS = st.integers(-(2**63), 2**63 - 1).filter(lambda key: key not in (NOBODY, OF_NO_REQUEST))
PARTS = st.lists(st.tuples(st.sets(IDS, max_size=4), st.booleans(), st.booleans()), max_size=4)


def part(keys: list[int]) -> KeyShares:
    taken = np.tile(np.arange(1, len(keys) + 1), (len(SHARES), 1))
    return KeyShares(np.array(keys, np.int64), taken)


@given(PARTS)
def test_each_kind_of_each_part_is_one_run_with_all_of_its_lines(
    drawn: list[tuple[set[int], bool, bool]],
) -> None:
    parts, wanted = [], []
    for number, (users, nobody, unclaimed) in enumerate(drawn):
        keys = sorted({*users, *([NOBODY] * nobody), *([OF_NO_REQUEST] * unclaimed)})
        parts.append(part(keys))
        of_keys = {key: place + 1 for place, key in enumerate(keys)}
        if nobody:
            wanted.append((number, UNATTRIBUTED, [(NOBODY, of_keys[NOBODY])]))
        if unclaimed:
            wanted.append((number, UNCLAIMED, [(NOBODY, of_keys[OF_NO_REQUEST])]))
        if users:
            wanted.append((number, USAGE, [(key, of_keys[key]) for key in sorted(users)]))
    runs = runs_of(parts)
    lines = iter(runs.taken.select("usage_key_id", SHARES[0]).rows())
    found = [
        (number, line, [next(lines) for _ in range(count)])
        for number, line, count in zip(
            runs.part.tolist(), runs.line, runs.counts.tolist(), strict=True
        )
    ]
    assert sorted(found) == sorted(wanted)
    assert next(lines, None) is None
