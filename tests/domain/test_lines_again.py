"""Lines that are made again are taken where they are what they were, and refused by name else."""

from datetime import UTC, datetime

import pytest

from ledger.domain.cost.lines_again import AllocatedLines, found_again, next_cut_off
from ledger.domain.errors import ConflictError

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
EARLY = AllocatedLines("deployment:a", AT, 1, 5, 4, b"early")
LATE = AllocatedLines("deployment:b", AT, 2, 9, 8, b"late")


def test_the_latest_cut_off_comes_first() -> None:
    assert next_cut_off([EARLY, LATE]) == 8


def test_what_is_the_same_is_found_whenever_it_was_made() -> None:
    made = {EARLY.key: b"early", LATE.key: b"late"}
    assert found_again([EARLY, LATE], made, 8) == [EARLY, LATE]


def test_what_changed_since_is_left_for_its_own_cut_off() -> None:
    assert found_again([EARLY, LATE], {EARLY.key: b"other", LATE.key: b"late"}, 8) == [LATE]


@pytest.mark.parametrize("made", [{}, {LATE.key: b"other"}])
def test_what_is_other_at_its_own_cut_off_is_refused(
    made: dict[tuple[str, datetime], bytes],
) -> None:
    with pytest.raises(ConflictError, match="deployment:b in the window of 2026-03-02T10:00Z"):
        found_again([LATE], made, 8)
