"""The text format is read with every value as printed, and a broken line costs only itself."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
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
        '{x="1","a:b",y="2"} 4321.0',
        '{x="1", y="2", "a:b"} 4321.0',
        'a:b { x = "1" , y = "2" , }  4321.0 # {trace_id="t"} 1 2.5',
        'a:b\t{x="1",y="2"}\t4321.0',
        'a:b{x="1",y="2"} 4321.0 1786000000.5 st@1785000000.5 # {trace_id="t"} 1',
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


PLAIN_NAME = st.from_regex(r"[a-z_:][a-z0-9_:]{0,8}", fullmatch=True)
LABEL_NAME = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
ANY_NAME = st.text(st.sampled_from('abé東. -/{},=#☃\\"'), min_size=1, max_size=6).filter(
    lambda name: name.strip() == name
)
VALUE = st.one_of(
    st.integers(0, 2**53).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e6", "1.23457e+06", "0"]),
)
TIMES = st.one_of(st.just(""), st.integers(-(10**12), 10**13).map(lambda at: f" {at}"))
SPACE = st.sampled_from([" ", "  ", "\t", " \t "])


@st.composite
def sample_lines(draw: st.DrawFn) -> str:
    """A line in any of the forms that the text format lets a server choose."""
    quoted = draw(st.sampled_from([False, True]))
    name = draw(ANY_NAME if quoted else PLAIN_NAME)
    labels = draw(st.dictionaries(LABEL_NAME, LABEL_TEXT, max_size=3))
    pairs = [f'{key}="{escaped(text)}"' for key, text in labels.items()]
    if quoted:
        pairs.insert(0, f'"{escaped(name)}"')
    comma = draw(st.sampled_from([",", ", ", " , "]))
    inside = comma.join(pairs) + (draw(st.sampled_from(["", ","])) if pairs else "")
    braces = f"{{{inside}}}" if pairs or draw(st.sampled_from([0, 1])) else ""
    outer = "" if quoted else name + (draw(st.sampled_from(["", " "])) if braces else "")
    return f"{outer}{braces}{draw(SPACE)}{draw(VALUE)}{draw(TIMES)}"


@given(st.lists(st.one_of(sample_lines(), st.sampled_from(["", "# a comment", "# HELP a b"]))))
def test_it_agrees_with_an_independent_parser_on_any_document(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    theirs = [
        comparable(sample.name, sample.labels, float(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    found = parse_exposition(text)
    ours = [comparable(one.name, one.labels, float(one.value)) for one in found.samples]
    assert (sorted(ours), found.bad_lines) == (sorted(theirs), ())


@given(
    st.dictionaries(LABEL_NAME, LABEL_TEXT, max_size=3),
    st.integers(0, 10**9),
    st.sampled_from(["", " 1786000000", " 1786000000.25"]),
    st.sampled_from(["", ' # {trace_id="a b"} 0.5', " # {} 1 1786000000.5"]),
)
def test_it_agrees_with_an_independent_parser_on_openmetrics(
    labels: dict[str, str], count: int, at: str, exemplar: str
) -> None:
    pairs = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
    text = f"# TYPE a counter\na_total{{{pairs}}} {count}{at}{exemplar}\n# EOF\n"
    parse: Callable[[str], Iterable[Metric]] = openmetrics_families
    (family,) = parse(text)
    (theirs,) = family.samples
    (ours,) = parse_exposition(text).samples
    assert (ours.name, ours.labels, float(ours.value)) == (theirs.name, theirs.labels, theirs.value)


def comparable(
    name: str, labels: Mapping[str, str], value: float
) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """The official parser adds `_total` to every counter and cannot say whether it was there."""
    pairs = tuple(sorted(labels.items()))
    return name.removesuffix("_total"), pairs, "NaN" if math.isnan(value) else repr(value)
