"""Texts that go as one are the texts that PostgreSQL has then."""

from hypothesis import example, given
from hypothesis import strategies as st

from ledger.store.array_parameter import array_parameter
from ledger.store.queries import Connection

TEXTS = st.lists(
    st.text(
        st.one_of(
            st.sampled_from("\"\\{},NULnul \t\n'%"), st.characters(exclude_categories=["Cs"])
        ).filter(lambda sign: sign != "\0"),
        max_size=6,
    ),
    max_size=6,
)


@given(TEXTS)
@example(["NULL", "null", ""])
@example(['","', "\\", '"', '\\"'])
async def test_whatever_texts_say_they_arrive(worker: Connection, texts: list[str]) -> None:
    assert await worker.fetchval("SELECT $1::text::text[]", array_parameter(texts)) == texts
