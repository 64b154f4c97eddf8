"""No moment has more deployed GPUs than there are, however shares begin and end."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.energy.capacity import GpuShare, find_shortage

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 8


def at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


@st.composite
def shares(draw: st.DrawFn) -> list[GpuShare]:
    made = []
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, HOURS - 1))
        last = draw(st.none() | st.integers(first + 1, HOURS))
        count = draw(st.integers(1, 4))
        made.append(GpuShare(count, at(first), None if last is None else at(last)))
    return made


def count(found: list[GpuShare], hour: int) -> int:
    return sum(
        share.parts
        for share in found
        if share.valid_from <= at(hour) and (share.valid_to is None or at(hour) < share.valid_to)
    )


@given(shares(), shares())
def test_first_moment_of_a_shortage_is_found_if_there_is_one(
    owned: list[GpuShare], deployed: list[GpuShare]
) -> None:
    short = [hour for hour in range(HOURS + 1) if count(deployed, hour) > count(owned, hour)]
    found = find_shortage(owned, deployed)
    if not short:
        assert found is None
        return
    assert found is not None
    assert found.moment == at(short[0])
    assert (found.deployed, found.available) == (count(deployed, short[0]), count(owned, short[0]))
