"""Messages are signed as Standard Webhooks has it, and tried again for four days."""

import base64
from datetime import UTC, datetime, timedelta

from ledger.domain.billing.webhook import (
    PAUSES,
    Answer,
    Notice,
    Outcome,
    body_of,
    headers_of,
    judge_answer,
    secret_text,
)

NOW = datetime(2026, 8, 6, 12, tzinfo=UTC)


def test_the_signature_is_that_of_the_published_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1_614_265_330, UTC)
    found = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', [secret], at)
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_sign_side_by_side() -> None:
    both = headers_of("x", b"{}", [b"a" * 32, b"b" * 32], NOW)["webhook-signature"].split(" ")
    assert len(set(both)) == 2
    assert both[1] == headers_of("x", b"{}", [b"b" * 32], NOW)["webhook-signature"]


def test_a_secret_is_shown_as_the_standard_has_it() -> None:
    text = secret_text(b"\x00" * 32)
    assert text == "whsec_" + base64.b64encode(b"\x00" * 32).decode()


def test_a_body_is_the_same_bytes_whatever_the_order_of_its_parts() -> None:
    one = Notice("n", "invoice.paid", NOW, {"number": "Ü-1", "paid": "1.00"})
    other = Notice("n", "invoice.paid", NOW, {"paid": "1.00", "number": "Ü-1"})
    assert body_of(one) == body_of(other)
    assert body_of(one) == (
        '{"data":{"number":"Ü-1","paid":"1.00"},"timestamp":"2026-08-06T12:00:00.000000Z",'
        '"type":"invoice.paid"}'.encode()
    )


def test_what_fails_is_tried_again_after_growing_pauses_and_switched_off_in_the_end() -> None:
    failed = Answer(Outcome.FAILED, 500, "answered 500")
    pauses = []
    for tries in range(len(PAUSES)):
        then = judge_answer(failed, tries, NOW)
        assert then.next_at is not None
        assert not then.off
        pauses.append(then.next_at - NOW)
    assert pauses == sorted(pauses)
    assert timedelta(days=3) < sum(pauses, timedelta()) < timedelta(days=5)
    last = judge_answer(failed, len(PAUSES), NOW)
    assert (last.next_at, last.off) == (None, "A notice failed 11 times: answered 500")


def test_what_is_gone_is_switched_off_at_once_and_what_was_delivered_never() -> None:
    assert judge_answer(Answer(Outcome.FAILED, 410, "answered 410"), 0, NOW).off
    assert judge_answer(Answer(Outcome.DELIVERED, 204, ""), 0, NOW).next_at is None
    assert not judge_answer(Answer(Outcome.DELIVERED, 204, ""), 0, NOW).off
