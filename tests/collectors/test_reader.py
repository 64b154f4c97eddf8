"""A page read in passing says what the same page read whole says, however it changes."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.engines import ENGINES
from collectors.engines.counters import EngineReading
from collectors.engines.reader import TROUBLED_EVERY, WHOLE_EVERY, PageReader
from collectors.exposition import parse_exposition

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
SERIES = 'vllm:prompt_tokens_total{engine="0"}'
OTHER = 'vllm:generation_tokens_total{engine="0"} 7\n'
PAGES = st.lists(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    f"{SERIES} 5",
                    f"{SERIES} 6",
                    f"{SERIES} 6.0",
                    f"{SERIES} NaN",
                    f"{SERIES} 6 1786000000",
                    f" {SERIES} 8",
                    'vllm:prompt_tokens_total{engine="0} 1',
                    'vllm:prompt_tokens_total{b="1",engine="0"} 2',
                    'vllm:prompt_tokens_total{engine="0",b="1"} 3',
                    'vllm:prompt_tokens_total_total{engine="0"} 5',
                    "vllm:prompt_tokens_created 1786000000",
                    "process_start_time_seconds 1786000001.5",
                    "# EOF",
                    "nothing of ours 1",
                ]
            ),
            st.integers(0, 50).map(lambda tokens: f"vllm:generation_tokens_total {tokens}"),
        ),
        max_size=8,
    ),
    min_size=1,
    max_size=6,
)


def whole(engine: str, text: str) -> EngineReading:
    return ENGINES[engine].read(parse_exposition(text))


@given(PAGES)
def test_any_row_of_pages_is_read_as_if_each_were_read_whole(pages: list[list[str]]) -> None:
    reader = PageReader(ENGINES["vllm"])
    for lines in pages:
        text = "\n".join(lines) + "\n"
        found, expected = reader.read(text).engine, whole("vllm", text)
        assert set(map(str, found.counters)) == set(map(str, expected.counters))
        assert found.marks == expected.marks


def test_a_series_given_twice_on_one_page_is_counted_on_the_next() -> None:
    reader = PageReader(ENGINES["vllm"])
    assert reader.read(f"{OTHER}{SERIES} 5\n{SERIES} 6 1786000000\n").engine.contradicted
    assert len(reader.read(f"{OTHER}{SERIES} 5\n").engine.counters) == 2


@pytest.mark.parametrize("line", [f"{SERIES} 6 1786000000", f" {SERIES} 6", f"{SERIES}\t6"])
def test_a_line_of_another_form_after_a_page_without_it_is_read(line: str) -> None:
    reader = PageReader(ENGINES["vllm"])
    for text in ("", "", f"{line}\n", f"{line}\n"):
        assert len(reader.read(text).engine.counters) == bool(text)


@pytest.mark.parametrize("name", ENGINES)
def test_pages_of_every_server_are_read_in_passing(name: str) -> None:
    text = (GOLDEN / f"{name}.prom").read_text(encoding="utf-8")
    reader = PageReader(ENGINES[name])
    for _ in range(3):
        assert reader.read(text).engine == whole(name, text)
    assert reader.passing == 2


def test_values_that_grow_are_read_in_passing(shared_data: Path) -> None:
    first, later = (
        (shared_data / "metrics" / name).read_text(encoding="utf-8")
        for name in ("vllm.prom", "vllm-t1.prom")
    )
    reader = PageReader(ENGINES["vllm"])
    reader.read(first)
    assert reader.read(later).engine == whole("vllm", later)
    assert reader.passing == 1


def test_what_cannot_be_read_is_named_while_it_lasts() -> None:
    reader = PageReader(ENGINES["vllm"])
    broken = f"{OTHER}{SERIES[:-2]}}} 5\n"
    for _ in range(3):
        (trouble,) = reader.read(broken).troubles
        assert trouble.startswith("line cannot be read: vllm:prompt_tokens_total")
    assert reader.read(f"{OTHER}{SERIES} 5\n").troubles == frozenset()


@pytest.mark.parametrize(("odd", "every"), [("", WHOLE_EVERY), ("odd\n", TROUBLED_EVERY)])
def test_lines_that_nobody_wants_are_looked_at_now_and_then(odd: str, every: int) -> None:
    reader = PageReader(ENGINES["vllm"])
    reader.read(OTHER + odd)
    found = [bool(reader.read(f"{OTHER}{odd}also odd\n").bad_count > len(odd) // 4)]
    while not found[-1]:
        found.append(reader.read(f"{OTHER}{odd}also odd\n").bad_count == bool(odd) + 1)
    assert len(found) == every + 1


def test_a_page_in_another_order_counts_the_same() -> None:
    lines = [f'vllm:prompt_tokens_total{{engine="{n}"}} {n}' for n in range(20)]
    reader = PageReader(ENGINES["vllm"])
    reader.read("\n".join(lines))
    random.Random(1).shuffle(lines)
    found = reader.read("\n".join(lines)).engine.counters
    assert {(one.labels["engine"], one.value) for one in found} == {
        (str(n), str(n)) for n in range(20)
    }
