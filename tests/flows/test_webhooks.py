"""What happens is told to webhooks: signed, at least once, under one id, and to nobody inside."""

import asyncio
import base64
import hmac
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.billing.webhook import PAUSES, Answer, Outcome
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.deliver import LEASE, Delivered, deliver, replay_notice
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.reference.enter_webhook import enter_webhook, make_secret, switch_webhook
from ledger.store.billing.webhooks import tell_of_overdue
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.stream.post import post
from ledger.wire.inputs import read_input
from ledger.wire.webhook_inputs import NewWebhook
from tests.flows.billing import AUTHOR, NOW, WINDOW, azure_hours, pay, subscribed
from tests.support.certificates import make_certificates
from tests.support.database import Database
from tests.support.listener import Listener, Told, listening

ALL = (
    *("invoice.issued", "invoice.paid", "invoice.overdue", "invoice.voided"),
    *("credit_note.issued", "payment.received", "budget.crossed"),
)
SECOND = timedelta(seconds=1)
send = partial(post, allow_inside=True)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setenv("TOKENLEDGER_WEBHOOKS_INSIDE", "true")
    with listening() as found:
        yield found


async def enter(connection: Connection, url: str, **said: Any) -> str:
    """A webhook of the factory with a secret, which is returned."""
    given = {"webhook_id": "erp", "entity_id": "factory", "url": url, "events": ALL, **said}
    webhook_id = await enter_webhook(connection, read_input(NewWebhook, given), AUTHOR)
    return await make_secret(connection, webhook_id, AUTHOR, now=NOW)


async def issue(connection: Connection) -> str:
    issued = await issue_invoice(
        connection, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return issued.number


def check_signature(told: Told, secret: str) -> None:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    head = f"{told.headers['webhook-id']}.{told.headers['webhook-timestamp']}.".encode()
    wanted = base64.b64encode(hmac.digest(key, head + told.body, "sha256")).decode()
    assert f"v1,{wanted}" in told.headers["webhook-signature"].split(" ")


async def waiting(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM notice_due"))


async def test_everything_that_happens_to_an_invoice_is_told_signed_and_once(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    secret = await enter(worker, listener.url)
    number = await issue(worker)
    await tell_of_overdue(worker, now=NOW + timedelta(days=90))
    await tell_of_overdue(worker, now=NOW + timedelta(days=91))
    await pay(worker, "bank-1", "90")
    await pay(worker, "bank-2", "3.99")
    await credit_invoice(worker, named=number, lines=None, now=NOW, author=AUTHOR, void=True)
    later = NOW + timedelta(days=9_999)
    assert await deliver(worker, post=send, now=later) == Delivered(7, 0)
    assert await deliver(worker, post=send, now=later + SECOND) == Delivered(0, 0)
    said = [json.loads(each.body) for each in listener.told]
    assert sorted(each["type"] for each in said) == sorted(
        [
            *("invoice.issued", "invoice.overdue", "payment.received", "payment.received"),
            *("invoice.paid", "credit_note.issued", "invoice.voided"),
        ]
    )
    issued = next(each for each in said if each["type"] == "invoice.issued")
    assert issued["data"]["payable"] == "93.99"
    assert issued["data"]["number"] == number
    overdue = next(each for each in said if each["type"] == "invoice.overdue")
    assert overdue["data"]["open"] == "93.99"
    for each in listener.told:
        check_signature(each, secret)
        assert each.path == "/hook?x=1"
    wanted = md5(f"invoice.issued/factory/{number}".encode()).hexdigest()
    assert wanted in listener.ids
    assert len(set(listener.ids)) == 7


async def test_what_is_undone_is_not_told(worker: Connection, listener: Listener) -> None:
    await azure_hours(await subscribed(worker))
    await enter(worker, listener.url)

    async def fail(_: object) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await issue_invoice(
            worker,
            subscription_id="sub-acme",
            moment=WINDOW,
            now=NOW,
            author=AUTHOR,
            seal=fail,
        )
    assert await deliver(worker, post=send, now=NOW) == Delivered()
    assert listener.told == []
    assert await worker.fetchval("SELECT count(*) FROM notice") == 0


async def test_each_webhook_hears_of_its_customer_and_events_alone(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    await subscribed(worker, customer_id="beta")
    paid = ["payment.received"]
    await enter(worker, listener.url + "&of=acme", webhook_id="acme", customer_id="acme")
    await enter(worker, listener.url + "&of=beta", webhook_id="beta", customer_id="beta")
    await enter(worker, listener.url + "&of=paid", webhook_id="paid", events=paid)
    await issue(worker)
    await deliver(worker, post=send, now=NOW)
    assert [each.path for each in listener.told] == ["/hook?x=1&of=acme"]


async def test_nothing_is_written_that_nobody_wants_to_know(worker: Connection) -> None:
    await azure_hours(await subscribed(worker))
    await issue(worker)
    assert await worker.fetchval("SELECT count(*) FROM notice") == 0


async def test_what_fails_is_sent_again_with_the_same_id_and_body_until_it_is_taken(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    secret = await enter(worker, listener.url)
    await issue(worker)
    listener.answers = [500, 302, 204]
    listener.location = "http://127.0.0.1:1/elsewhere"
    assert await deliver(worker, post=send, now=NOW) == Delivered(0, 1)
    assert await deliver(worker, post=send, now=NOW + SECOND) == Delivered()
    assert await deliver(worker, post=send, now=NOW + PAUSES[0]) == Delivered(0, 1)
    assert await deliver(worker, post=send, now=NOW + PAUSES[0] + PAUSES[1]) == Delivered(1, 0)
    assert await waiting(worker) == 0
    assert len(set(listener.ids)) == 1
    assert len({each.body for each in listener.told}) == 1
    assert len({each.headers["webhook-timestamp"] for each in listener.told}) == 3
    for each in listener.told:
        check_signature(each, secret)
    log = await worker.fetch("SELECT outcome, status, detail FROM notice_delivery ORDER BY 1, 2")
    assert [tuple(row) for row in log] == [
        ("delivered", 204, ""),
        ("failed", 302, "answered 302; redirects are not followed"),
        ("failed", 500, "answered 500"),
    ]


async def test_a_process_that_dies_between_sending_and_keeping_sends_again(
    worker: Connection, database: Database, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    await enter(worker, listener.url)
    await issue(worker)
    dying = await connect(database.worker_url)

    async def cut(url: str, headers: Any, body: bytes) -> Answer:
        answer = await send(url, headers, body)
        dying.terminate()
        return answer

    with pytest.raises(Exception, match="closed"):
        await deliver(dying, post=cut, now=NOW)
    assert await deliver(worker, post=send, now=NOW + SECOND) == Delivered()
    assert await deliver(worker, post=send, now=NOW + LEASE) == Delivered(1, 0)
    assert len(listener.told) == 2
    assert listener.told[0].body == listener.told[1].body
    assert listener.ids[0] == listener.ids[1]


async def test_two_who_deliver_at_once_send_nothing_twice(
    worker: Connection, database: Database, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    await enter(worker, listener.url)
    await issue(worker)
    for number in range(9):
        await pay(worker, f"bank-{number}", "1")
    others = [await connect(database.worker_url) for _ in range(3)]
    later = NOW + timedelta(days=9_999)
    done = await asyncio.gather(*(deliver(each, post=send, now=later) for each in others))
    assert sum(each.delivered for each in done) == len(listener.told) == len(set(listener.ids))
    for each in others:
        await each.close()


async def test_a_webhook_that_fails_to_the_end_is_switched_off_and_what_waits_goes_on_after(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    await enter(worker, listener.url)
    await issue(worker)
    listener.answers = [503]
    at = NOW
    for pause in PAUSES:
        assert await deliver(worker, post=send, now=at) == Delivered(0, 1)
        at += pause
    assert await deliver(worker, post=send, now=at) == Delivered(0, 1, ("erp",))
    await pay(worker, "bank-1", "1")
    assert await deliver(worker, post=send, now=at + timedelta(days=9_999)) == Delivered()
    assert await waiting(worker) == 1
    listener.answers = [200]
    await switch_webhook(worker, "erp", AUTHOR, active=True, now=at)
    assert await deliver(worker, post=send, now=at + timedelta(days=9_999)) == Delivered(1, 0)
    notice_id = await worker.fetchval("SELECT notice_id FROM notice WHERE event = 'invoice.issued'")
    assert await replay_notice(worker, notice_id, AUTHOR, now=at) == 1
    assert await replay_notice(worker, notice_id, AUTHOR, now=at) == 1
    assert await deliver(worker, post=send, now=at) == Delivered(1, 0)
    assert listener.ids[-1] == listener.ids[0] == notice_id
    with pytest.raises(NotFoundError, match="no notice nonsense"):
        await replay_notice(worker, "nonsense", AUTHOR, now=at)


async def test_a_slow_webhook_holds_up_no_other(worker: Connection, listener: Listener) -> None:
    await azure_hours(await subscribed(worker))
    await enter(worker, "http://127.0.0.1:1/nobody", webhook_id="away")
    await enter(worker, listener.url)
    await issue(worker)
    assert await deliver(worker, post=send, now=NOW) == Delivered(1, 1)
    detail = await worker.fetchval("SELECT detail FROM notice_delivery WHERE webhook_id = 'away'")
    assert "refused" in detail.lower() or "connect" in detail.lower()


async def test_nothing_goes_into_the_house_whatever_was_entered_before(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    await enter(worker, listener.url)
    port = listener.url.rpartition(":")[2]
    await enter(worker, f"https://localhost:{port}", webhook_id="by-name")
    await issue(worker)
    assert await deliver(worker, post=post, now=NOW) == Delivered(0, 2)
    assert listener.told == []
    log = await worker.fetch("SELECT outcome, detail FROM notice_delivery ORDER BY webhook_id")
    assert [row["outcome"] for row in log] == ["refused", "refused"]
    assert "which is" in log[0]["detail"]


async def test_the_new_secret_signs_and_for_a_day_the_one_before(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    old = await enter(worker, listener.url)
    new = await make_secret(worker, "erp", AUTHOR, now=NOW)
    assert old != new
    await issue(worker)
    await deliver(worker, post=send, now=NOW)
    for secret in (old, new):
        check_signature(listener.told[0], secret)
    notice_id = listener.ids[0]
    await replay_notice(worker, notice_id, AUTHOR, now=NOW)
    await deliver(worker, post=send, now=NOW + timedelta(days=1, seconds=1))
    check_signature(listener.told[1], new)
    assert " " not in listener.told[1].headers["webhook-signature"]


async def test_nothing_is_sent_before_there_is_a_secret(
    worker: Connection, listener: Listener
) -> None:
    await azure_hours(await subscribed(worker))
    said = {"webhook_id": "erp", "entity_id": "factory", "url": listener.url, "events": ALL}
    await enter_webhook(worker, read_input(NewWebhook, said), AUTHOR)
    await issue(worker)
    assert await deliver(worker, post=send, now=NOW) == Delivered()
    await make_secret(worker, "erp", AUTHOR, now=NOW)
    assert await deliver(worker, post=send, now=NOW) == Delivered(1, 0)


async def test_a_budget_that_is_crossed_is_told(worker: Connection, listener: Listener) -> None:
    await subscribed(worker)
    await enter(worker, listener.url)
    at: datetime = NOW
    await worker.execute(
        """INSERT INTO budget_alert (budget_id, run_id, period_start, kind, percent, customer_id,
                                     used, held, ceiling, noticed_at)
           VALUES ('tight', 'läufer.1', $1, 'used', 80, 'acme', 8, 0, 10, $1)""",
        at,
    )
    assert await deliver(worker, post=send, now=NOW) == Delivered(1, 0)
    (told,) = [json.loads(each.body) for each in listener.told]
    assert (told["type"], told["data"]["percent"], told["data"]["used"]) == (
        "budget.crossed",
        80,
        "8",
    )


async def test_a_balance_that_is_low_is_told_once_and_what_expired_is_not(
    worker: Connection, listener: Listener
) -> None:
    await subscribed(worker)
    await enter(worker, listener.url, events=["balance.low"])
    for kind in ("low_balance", "expired"):
        await worker.execute(
            """INSERT INTO credit_event (entity_id, customer_id, currency, kind, about, amount,
                                         noticed_at, batch_seq)
               VALUES ('factory', 'acme', 'USD', $1, '1', 4.5, $2, 1)""",
            kind,
            NOW,
        )
    assert await deliver(worker, post=send, now=NOW) == Delivered(1, 0)
    (told,) = [json.loads(each.body) for each in listener.told]
    assert told["type"] == "balance.low"
    assert (told["data"]["kind"], told["data"]["amount"]) == ("low_balance", "4.5")


async def test_tls_is_checked_against_the_name_and_the_authorities(
    worker: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificates(tmp_path)
    with listening(made.server_context()) as secure:
        untrusted = await send(secure.url, {"webhook-id": "x"}, b"{}")
        assert (untrusted.outcome, untrusted.status) == (Outcome.FAILED, None)
        assert "certificate" in untrusted.detail.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(made.cafile))
        assert (await send(secure.url, {"webhook-id": "x"}, b"{}")).outcome is Outcome.DELIVERED
    assert secure.ids == ["x"]


async def test_odd_answers_are_failures() -> None:
    for said, detail in (
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "does not speak HTTP"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000, "no end"),
    ):

        async def answer(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said
        ) -> None:
            await reader.readuntil(b"{}")
            writer.write(said)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await send(f"http://127.0.0.1:{port}/", {}, b"{}")
        server.close()
        assert found.outcome is Outcome.FAILED
        assert detail in found.detail


async def test_bad_webhooks_are_refused_by_name(worker: Connection) -> None:
    await subscribed(worker)
    await subscribed(worker, customer_id="stray", entity_id="other")
    good = "https://hooks.example.com/x"
    await enter(worker, good)
    await enter(worker, good)
    for said, error, where in (
        ({"url": "https://hooks.example.com/y"}, ConflictError, "webhook_id"),
        ({"webhook_id": "b", "url": "https://169.254.169.254/x"}, InvalidInputError, "url"),
        ({"webhook_id": "b", "url": "http://hooks.example.com/x"}, InvalidInputError, "url"),
        ({"webhook_id": "b", "customer_id": "stray"}, NotFoundError, "customer_id"),
        ({"webhook_id": "b", "entity_id": "nobody"}, NotFoundError, "entity_id"),
    ):
        with pytest.raises(error) as refused:
            await enter(worker, **({"url": good} | said))
        assert refused.value.where == where
    assert await worker.fetchval("SELECT count(*) FROM webhook") == 1
    with pytest.raises(NotFoundError, match="no webhook nobody"):
        await make_secret(worker, "nobody", AUTHOR, now=NOW)
    assert Decimal(await worker.fetchval("SELECT count(*) FROM webhook_secret")) == 2
