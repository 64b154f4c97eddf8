"""What is read of several bodies together is what is read of each alone."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.digest import content_digests
from ledger.domain.metering.items import COMPILED_BYTES_MIN
from ledger.domain.metering.prepare import Prepared, prepare
from ledger.domain.metering.record import Record
from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.columnar_write import encode_columnar
from tests.domain.ingest.test_columnar import assert_named
from tests.domain.ingest.test_decode import NOW, SAMPLES
from tests.support.encoded import encode_events
from tests.support.examples import at_depth
from tests.wire.samples import energy_event, usage_event


def ready(records: Sequence[Record]) -> Prepared:
    return prepare(records, now=NOW, body_bytes_max=10**8)


def numbered(events: list[dict[str, Any]], sequence: int, encoding: str) -> Record:
    header = BatchHeader("gw", "p", 1, sequence, len(events), encoding)
    placed = [e | {"id": f"1.{sequence}.{n}", "source": "gw"} for n, e in enumerate(events)]
    body = encode_columnar(placed, header) if encoding == COLUMNAR else encode_events(placed)
    return Record(body, header, encoding=encoding)


def assert_as_alone(records: Sequence[Record]) -> Prepared:
    together, alone = ready(records), [ready([one]) for one in records]
    firsts = together.items.firsts.tolist()
    for name in ("usage", "energy"):
        frames = [
            getattr(one, name).with_columns(pl.col("row") + first)
            for one, first in zip(alone, firsts, strict=True)
        ]
        wanted = pl.concat([f.drop("id", NAMES, strict=False) for f in frames])
        assert_frame_equal(getattr(together, name).drop("id", NAMES, strict=False), wanted)
    assert_named(together.usage)
    assert together.batches == {n: one.batches[0] for n, one in enumerate(alone) if one.batches}
    own = content_digests(together.decoded, pl.Series("row", range(len(together.items))))
    digests = [
        (row + first, digest)
        for one, first in zip(alone, firsts, strict=True)
        for row, digest in content_digests(
            one.decoded, pl.Series("row", range(len(one.items)))
        ).iter_rows()
    ]
    assert sorted(own.rows()) == sorted(digests)
    return together


SENT = st.tuples(
    st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=4),
    st.sampled_from([NDJSON, COLUMNAR]),
)


@given(st.lists(SENT, min_size=1, max_size=5))
def test_bodies_say_together_what_each_says_alone(
    sent: list[tuple[list[dict[str, Any]], str]],
) -> None:
    assert_as_alone([numbered(events, n + 1, how) for n, (events, how) in enumerate(sent)])


# A field that one body lacks, has once for all, or has in each event, in either encoding.
FIELDS: dict[str, list[dict[str, Any]]] = {
    "customer_id": [{}, {"customer_id": "acme"}, {"customer_id": "c-%d"}],
    "project_id": [{}, {"project_id": "p"}, {"project_id": "p-%d"}],
    "stream": [{}, {"stream": True}, {"stream": False}],
    "status": [{}, {"status": "ok"}, {"status": "timeout"}],
    "agent": [{}, {"agent": {"id": "a"}}, {"agent": {"id": "a-%d", "run_id": "r-%d"}}],
}


def said(fields: dict[str, Any], n: int) -> dict[str, Any]:
    def at(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: at(one) for name, one in value.items()}
        return value % (n % 7) if isinstance(value, str) and "%d" in value else value

    return {name: at(value) for name, value in fields.items()}


@settings(max_examples=at_depth(25))
@given(
    st.lists(
        st.tuples(
            st.tuples(*(st.sampled_from(choices) for choices in FIELDS.values())),
            st.sampled_from([NDJSON, COLUMNAR]),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_bodies_may_differ_in_what_they_name(
    sent: list[tuple[tuple[dict[str, Any], ...], str]],
) -> None:
    """Bodies that are large enough to be read as columns."""
    records = []
    for number, (choices, how) in enumerate(sent):
        fields = {name: value for one in choices for name, value in one.items()}
        events = [usage_event(requests=n + 1, **said(fields, n)) for n in range(60)]
        events.append(energy_event())
        records.append(numbered(events, number + 1, how))
    lines = [usage_event(customer_id=f"c-{n % 3}") for n in range(COMPILED_BYTES_MIN // 200)]
    together = assert_as_alone([*records, numbered(lines, 99, NDJSON)])
    assert together.rejects == {}
    assert together.usage.height == 60 * len(sent) + len(lines)


def test_many_say_together_what_a_few_at_a_time_say() -> None:
    events = [SAMPLES[n % len(SAMPLES)] for n in range(2_000)]
    together = assert_as_alone(
        [numbered(events[at : at + 100], at + 1, NDJSON) for at in range(0, len(events), 100)]
    )
    assert together.usage.height > 1_000


NAMED = st.lists(st.integers(0, 3_000), min_size=2, max_size=5)


@given(NAMED, st.sampled_from([NDJSON, COLUMNAR]))
@settings(max_examples=at_depth(10))
def test_many_names_of_several_bodies_stand_once(begins: list[int], how: str) -> None:
    """More names than are told apart one by one, of which bodies share some, and lack some."""
    records = []
    for number, begin in enumerate(begins):
        names = [f"p\u00e9-{begin + n}" for n in range(400)]
        fields = {"api_key_id": "k"} if begin % 2 else {}
        events = [usage_event(project_id=name, **fields) for name in names]
        records.append(numbered(events, number + 1, how))
    together = assert_as_alone(records)
    assert together.rejects == {}
    said = together.usage.select("project_id", "api_key_id").rows()
    assert len(set(together.usage[NAMES])) == len(set(said))
