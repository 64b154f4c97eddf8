"""Bodies are UTF-8: a mark before one is no part of it, and what is written otherwise costs itself
alone."""

import json

import pytest

from tests.api.served import SOURCE, Served

MARK = b"\xef\xbb\xbf"


def event(number: int) -> bytes:
    said = {
        **{"specversion": "1.0", "id": f"encoded-{number}", "source": SOURCE},
        **{"type": "inference.usage.v1", "time": "2023-11-16T18:17:03Z"},
        "data": {"customer_id": "acme", "usage": {"input_total": 5, "output_total": 1}},
    }
    return json.dumps(said).encode()


def fates(served: Served, body: bytes) -> list[str]:
    return [item["outcome"] for item in served.send(body).json()["items"]]


@pytest.mark.parametrize("lines", [1, 3, 200])
def test_a_mark_before_a_body_is_no_part_of_it(served: Served, lines: int) -> None:
    body = b"\n".join(event(number) for number in range(lines))
    assert set(fates(served, MARK + body)) == {"created"}
    assert set(fates(served, body)) == {"duplicate"}


def test_a_mark_before_what_people_enter_is_none_of_it(served: Served) -> None:
    entity = {"entity_id": "marked", "name": "Marked", "currency": "EUR", "zone": "UTC"}
    body, headers = MARK + json.dumps(entity).encode(), {"Content-Type": "application/json"}
    answered = served.call("POST", "/v1/entities", content=body, headers=headers)
    assert answered.status_code == 201


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_line_of_another_encoding_costs_itself_alone(served: Served, encoding: str) -> None:
    odd = event(2).decode().replace("encoded-2", "encoded-\u00e9").encode(encoding)
    odd = odd.replace(b"\n", b"")
    assert fates(served, b"\n".join((event(1), odd, event(3)))) == [
        "created",
        "rejected",
        "created",
    ]
