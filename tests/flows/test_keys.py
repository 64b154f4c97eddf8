"""API keys: shown once, kept as hashes, refused once revoked."""

import pytest

from ledger.domain.errors import NotFoundError
from ledger.flows.reference.keys import authenticate, create_api_key, revoke_api_key
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewApiKey, read_input
from tests.flows.slow_facts import AUTHOR, enter_parties


async def test_key_opens_by_its_text_and_only_a_hash_is_kept(worker: Connection) -> None:
    await enter_parties(worker)
    new = read_input(NewApiKey, {"role": "customer", "customer_id": "acme"})
    made = await create_api_key(worker, new, AUTHOR)
    key = (await authenticate(worker, [made.text]))[made.text]
    assert (key.key_id, key.role, key.customer_id) == (made.key_id, "customer", "acme")
    stored = await worker.fetchval("SELECT row_to_json(k)::text FROM api_key k")
    assert made.text.split("_", 2)[2] not in stored
    kept = await worker.fetchval(
        "SELECT detail::text FROM manual_write WHERE action = 'create API key'"
    )
    assert made.text.split("_", 2)[2] not in kept


async def test_wrong_foreign_and_malformed_texts_open_nothing(worker: Connection) -> None:
    made = await create_api_key(worker, read_input(NewApiKey, {"role": "admin"}), AUTHOR)
    other = await create_api_key(worker, read_input(NewApiKey, {"role": "finance"}), AUTHOR)
    swapped = f"tlk_{other.key_id}_{made.text.split('_', 2)[2]}"
    none = ["", "tlk", "tlk__", made.text[:-1], made.text + "é", made.text + "\0", swapped]
    none += [f"x{made.text}", f"tlk_{made.key_id}_", "tlk_\0_x"]
    for text in none:
        assert await authenticate(worker, [text]) == {}, text
    # Nor do they beside one that does, and it opens beside them.
    assert [*await authenticate(worker, [*none, made.text])] == [made.text]


async def test_revoked_key_opens_nothing_and_revoking_again_changes_nothing(
    worker: Connection,
) -> None:
    made = await create_api_key(worker, read_input(NewApiKey, {"role": "admin"}), AUTHOR)
    await revoke_api_key(worker, made.key_id, AUTHOR)
    await revoke_api_key(worker, made.key_id, AUTHOR)
    assert await authenticate(worker, [made.text]) == {}
    assert await worker.fetchval("SELECT count(*) FROM api_key_revocation") == 1
    with pytest.raises(NotFoundError, match="no API key nobody"):
        await revoke_api_key(worker, "nobody", AUTHOR)


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "owner"},
        {"role": "customer"},
        {"role": "ingest"},
        {"role": "admin", "customer_id": "acme"},
        {"role": "finance", "sources": ["/gateway"]},
    ],
)
def test_scope_must_fit_the_role(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        read_input(NewApiKey, wrong)


async def test_customer_of_a_key_must_exist(worker: Connection) -> None:
    new = read_input(NewApiKey, {"role": "customer", "customer_id": "nobody"})
    with pytest.raises(NotFoundError, match="There is no customer nobody"):
        await create_api_key(worker, new, AUTHOR)
