"""Parts of a GPU take all of it together, whatever slots and prices each of them is cut by."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.cost.allocation import allocate_window
from ledger.domain.cost.share import Share
from ledger.domain.cost.site_meters import HostShare
from ledger.domain.cost.slot_energy import EnergyInput, Site
from ledger.domain.cost.slots import idle
from ledger.domain.energy.gpu_part import GPU_PARTS, GpuPart, share_of_gpu
from ledger.domain.energy.part_energy import PartSpans
from ledger.domain.energy.span import Span
from ledger.domain.energy.tariff import TariffCut
from ledger.domain.period import WINDOW, Period
from tests.support.examples import at_depth

T0 = datetime(2026, 3, 2, 10, tzinfo=UTC)
SLOTS = st.sampled_from([1, 15, 60, 900])


def drawn(spans: Sequence[Span], part: GpuPart, slot_s: int, edges: Sequence[int]) -> Share:
    """What a part draws of a board and its host at rest, cut by slots and where prices change."""
    marks = [0, *sorted(edges), 900]
    cuts = [
        TariffCut(Period(T0 + timedelta(seconds=a), T0 + timedelta(seconds=b)), Decimal(n))
        for n, (a, b) in enumerate(pairwise(marks))
        if a < b
    ]
    site = Site(hosts=[HostShare(spans, [(0, part)], 1)])
    energy = EnergyInput([PartSpans(spans, part)], cuts, site)
    work = replace(idle(), slot_s=slot_s, covered_us=[0] * (900 // slot_s))
    window = Period(T0, T0 + WINDOW)
    return allocate_window(window, energy=energy, work=work, gpu_cost=Decimal(0)).idle


@settings(max_examples=at_depth(60))
@given(
    st.lists(st.tuples(st.integers(1, 120), st.integers(0, 10**6), st.booleans()), min_size=1),
    st.lists(st.integers(1, GPU_PARTS - 1), max_size=5, unique=True),
    st.data(),
)
def test_parts_that_are_cut_apart_add_up_to_their_gpu(
    readings: list[tuple[int, int, bool]], cuts: list[int], data: st.DataObject
) -> None:
    at, spans = int(T0.timestamp() * 1_000_000) - 30_000_000, []
    for seconds, energy_mj, metered in readings:
        spans.append(Span(at, at + seconds * 1_000_000, energy_mj, metered))
        at += seconds * 1_000_000
    whole = drawn(spans, GpuPart(), 900, [])
    sizes = [b - a for a, b in pairwise([0, *sorted(cuts), GPU_PARTS])]
    parts = [GpuPart(size, tuple(sizes[:n])) for n, size in enumerate(sizes)]
    edges = st.lists(st.integers(1, 899), max_size=2)
    taken = [drawn(spans, part, data.draw(SLOTS), data.draw(edges)) for part in parts]
    columns = zip(*(each.parts()[:3] for each in taken), strict=True)
    assert tuple(sum(numbers) for numbers in columns) == whole.parts()[:3]


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=7),
)
def test_a_part_takes_about_its_size_and_never_less_of_more(
    whole: int, more: int, sizes: list[int]
) -> None:
    part = GpuPart(sizes[-1], tuple(sizes[:-1]))
    assert part.of(whole) <= part.of(whole + more)
    assert abs(part.of(whole) * GPU_PARTS - whole * sizes[-1]) <= len(sizes) * GPU_PARTS


def test_a_part_is_told_as_a_number_of_gpus() -> None:
    assert [f"{share_of_gpu(parts):f}" for parts in (7_000_000, 3_500_000, 1_000_000, 70)] == [
        *("1", "0.5", "0.142857", "0.00001"),
    ]
