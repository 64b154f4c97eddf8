"""The text format is read with every value as printed, and a broken line costs only itself."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collectors.exposition import Sample, parse_exposition, parse_sample

LABEL_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=20)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), LABEL_TEXT))
def test_labels_survive_escaping(labels: dict[str, str]) -> None:
    inside = ",".join(f'{key}="{escaped(value)}"' for key, value in labels.items())
    assert parse_sample(f"a:b_total{{{inside}}} 1.50") == Sample("a:b_total", "1.50", labels)


@given(st.text(max_size=200))
def test_no_text_at_all_breaks_the_parser(text: str) -> None:
    parse_exposition(text)


def test_values_stay_as_printed_and_timestamps_are_dropped() -> None:
    text = 'a 9007199254740993\nb{x="1"} 1.23457e+06 1786000000000\nc NaN\nd +Inf\ne{} -0.5\n'
    values = {sample.name: sample.value for sample in parse_exposition(text).samples}
    assert values == {
        "a": "9007199254740993",
        "b": "1.23457e+06",
        "c": "NaN",
        "d": "+Inf",
        "e": "-0.5",
    }


@pytest.mark.parametrize(
    "line",
    [
        'a:b {x="1",y="2"} 4321.0',
        'a:b{x="1",y="2"}4321.0',
        '{"a:b",x="1",y="2"} 4321.0',
        '{ "a:b" , "x" = "1" , y="2" , } 4321.0 1786000000000',
        'a:b { x = "1" , y = "2" , }  4321.0 # {trace_id="t"} 1 2.5',
        'a:b\t{x="1",y="2"}\t4321.0',
    ],
)
def test_blanks_and_quotes_stand_where_the_format_lets_them(line: str) -> None:
    assert parse_sample(line) == Sample("a:b", "4321.0", {"x": "1", "y": "2"})


@pytest.mark.parametrize(
    "line",
    [
        'm{a="1",a="2"} 5',
        'm{a="1","a"="1"} 5',
        '{x="1"} 1',
        "{} 1",
        'a{"b"} 1',
        "a1.5",
        'a{x="1"}',
        'a{x="1" y="2"} 1',
        '{"a","b"} 1',
        '"a" 1',
    ],
)
def test_what_names_no_one_metric_is_no_sample(line: str) -> None:
    assert parse_sample(line) is None


SERIES_NAME = st.from_regex(r"[a-z_:][a-z0-9_:]{0,8}", fullmatch=True)
BLANKS = st.sampled_from(["", " ", "  ", "\t"])


@given(
    SERIES_NAME, st.dictionaries(SERIES_NAME, LABEL_TEXT, max_size=4), st.lists(BLANKS, min_size=6)
)
def test_blanks_between_tokens_change_nothing(
    name: str, labels: dict[str, str], blanks: list[str]
) -> None:
    one, two, three, four, five, six = blanks[:6]
    pairs = f"{four},{five}".join(
        f'"{key}"{two}={three}"{escaped(value)}"' for key, value in labels.items()
    )
    line = f"{name}{one}{{{two}{pairs}{four}}}{six}42"
    assert parse_sample(line) == Sample(name, "42", labels)


def test_broken_lines_are_counted_and_shown_and_the_others_stand() -> None:
    found = parse_exposition('good 1\nbad{x="1} 2\n9bad 1\nno_value\nhex 0x10\nalso_good 2\n')
    assert [sample.name for sample in found.samples] == ["good", "also_good"]
    assert [line.number for line in found.bad_lines] == [2, 3, 4, 5]
    assert found.bad_count == 4


def test_it_agrees_with_the_official_parser_on_every_published_sample(shared_data: Path) -> None:
    files = sorted((shared_data / "metrics").glob("*.prom"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        theirs = sorted(
            comparable(sample.name, sample.labels, float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )
        ours = sorted(
            comparable(sample.name, sample.labels, float(sample.value))
            for sample in parse_exposition(text).samples
        )
        assert ours == theirs, path.name


def comparable(
    name: str, labels: Mapping[str, str], value: float
) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """The official parser adds `_total` to every counter and cannot say whether it was there."""
    pairs = tuple(sorted(labels.items()))
    return name.removesuffix("_total"), pairs, "NaN" if math.isnan(value) else repr(value)
