"""Row-level security believes who asks only where we signed it, for this transaction."""

import hmac
import json
import re

import asyncpg
import pytest

from ledger.flows.reference.keys import create_api_key, revoke_api_key
from ledger.store.asking import AskingByKey, KeyRefusedError, prove_key
from ledger.store.connect import connect
from ledger.store.identity import find_identity_secret
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey, read_input
from tests.flows.billing import WINDOW, settled, subscribed
from tests.flows.slow_facts import AUTHOR
from tests.support.asking import ask_as
from tests.support.books import Buyer, Tokens
from tests.support.database import Database

# What says nothing of anybody: the order of batches, names of accounts, where facts lie.
OPEN = {
    "account",
    "alembic_version",
    "archive_move",
    "archived_partition",
    "cut_off",
    "fact_partition",
}
TABLES = """
SELECT c.relname AS name, c.relrowsecurity AS walled,
       has_table_privilege('tokenledger_api', c.oid, 'SELECT') AS readable,
       c.relispartition AS part
  FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""


@pytest.fixture
async def filled(worker: Connection) -> None:
    """Usage, charges and postings of a customer in each of two entities."""
    books = await subscribed(worker)
    await subscribed(worker, customer_id="beta", entity_id="mill")
    await books.usage(WINDOW, Tokens(uncached=5))
    beta = Buyer(customer_id="beta", customer_ref="beta", entity_id="mill")
    await books.usage(WINDOW, Tokens(uncached=7), buyer=beta)
    await settled(worker)


async def readable(owner: Connection) -> list[str]:
    """Tables that role api may ask at all, the open ones left out."""
    rows = await owner.fetch(TABLES)
    return [row["name"] for row in rows if row["readable"] and row["name"] not in OPEN]


async def test_every_table_that_the_reader_may_ask_is_walled(owner: Connection) -> None:
    rows = await owner.fetch(TABLES)
    bare = {row["name"] for row in rows if row["readable"] and not row["walled"]}
    assert bare - OPEN == set()
    # A partition is asked through its parent, or not at all.
    assert not [row["name"] for row in rows if row["part"] and row["readable"]]


async def settings_named(owner: Connection) -> set[str]:
    """Every setting that any function of the schema reads, and those that one might try."""
    sources = await owner.fetch(
        "SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    found = {name for row in sources for name in re.findall(r"'(tokenledger\.\w+)'", row["prosrc"])}
    assert "tokenledger.asking_signature" in found
    return found | {"tokenledger.role", "tokenledger.customer", "tokenledger.entity"}


SAID = json.dumps({"role": "admin", "customer": None, "entity": None})
TRIED = ("admin", SAID, "0" * 64, "", json.dumps({"role": "customer", "customer": "acme"}))


@pytest.mark.usefixtures("filled")
async def test_settings_set_by_hand_show_nothing(owner: Connection, api: Connection) -> None:
    names = await settings_named(owner)
    tables = await readable(owner)
    for value in TRIED:
        async with api.transaction():
            for name in names:
                await api.execute("SELECT set_config($1, $2, true)", name, value)
            await api.execute("SELECT set_config('tokenledger.asking', $1, true)", SAID)
            for table in (*tables, "charge"):
                assert await api.fetchval(f'SELECT count(*) FROM "{table}"') == 0, table


async def signed(api: Connection) -> tuple[str, str]:
    """What was said in this transaction, with its signature."""
    row = await api.fetchrow(
        "SELECT current_setting('tokenledger.asking'),"
        " current_setting('tokenledger.asking_signature')"
    )
    assert row is not None
    return row[0], row[1]


async def say(api: Connection, said: str, signature: str) -> None:
    """What a query of the api role can do: any text in any setting."""
    await api.execute("SELECT set_config('tokenledger.asking', $1, true)", said)
    await api.execute("SELECT set_config('tokenledger.asking_signature', $1, true)", signature)


@pytest.mark.usefixtures("filled")
async def test_a_signature_holds_for_its_words_its_transaction_and_its_session(
    database: Database, api: Connection
) -> None:
    count = "SELECT count(*) FROM customer"
    async with api.transaction():
        await ask_as(api, database, "customer", "acme")
        assert await api.fetchval(count) == 1
        said, signature = await signed(api)
        await say(api, said.replace("acme", "beta"), signature)
        assert await api.fetchval(count) == 0
        await say(api, said, signature)
        assert await api.fetchval(count) == 1
        other = await connect(database.api_url)
        async with other.transaction():
            await say(other, said, signature)
            assert await other.fetchval(count) == 0
        await other.close()
    async with api.transaction():
        await say(api, said, signature)
        assert await api.fetchval(count) == 0


async def test_the_reader_cannot_read_what_signs(api: Connection) -> None:
    for table in ("identity_key", "api_key", "idempotency_key"):
        privilege = f"SELECT has_table_privilege('{table}', 'SELECT')"
        assert await api.fetchval(privilege) is False


OF_AN_ENTITY = """
SELECT table_name FROM information_schema.columns
 WHERE table_schema = 'public' AND column_name = 'entity_id' AND table_name <> 'api_key'
"""
OF_A_CUSTOMER = ("usage_delta", "subscription", "customer_alias", "invoice_line")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("role", ["admin", "finance"])
async def test_who_is_bound_to_an_entity_sees_rows_of_it_alone(
    database: Database, owner: Connection, api: Connection, role: str
) -> None:
    of_an_entity = {row[0] for row in await owner.fetch(OF_AN_ENTITY)}
    tables = of_an_entity & set(await readable(owner))
    assert {"customer", "charge_day", "invoice", "journal_entry", "rate_card"} <= tables
    async with api.transaction():
        await ask_as(api, database, role, entity_id="mill")
        for table in (*tables, "charge"):
            seen = await api.fetch(f'SELECT DISTINCT entity_id FROM "{table}"')
            assert [row[0] for row in seen] in ([], ["mill"]), table
        for table in OF_A_CUSTOMER:
            seen = await api.fetch(f'SELECT DISTINCT customer_id FROM "{table}"')
            assert [row[0] for row in seen] in ([], ["beta"]), table
        own = await api.fetchval("SELECT count(*) FROM posting")
        assert 0 < own < await owner.fetchval("SELECT count(*) FROM posting")
        assert await api.fetchval("SELECT count(*) FROM manual_write") == 0
    async with api.transaction():
        await ask_as(api, database, role)
        assert await api.fetchval("SELECT count(*) FROM entity") == 2


CUSTOMERS = "SELECT customer_id FROM customer ORDER BY customer_id LIMIT $1;"


async def key_of(worker: Connection, role: str, **bound: object) -> str:
    new = read_input(NewApiKey, {"role": role, **bound})
    return (await create_api_key(worker, new, AUTHOR)).key_id


async def secret_of(worker: Connection) -> bytes:
    return await find_identity_secret(worker)


@pytest.mark.usefixtures("filled")
async def test_one_statement_says_which_key_asks_and_reads_as_it(
    worker: Connection, api: Connection
) -> None:
    secret = await secret_of(worker)
    keys = {
        await key_of(worker, "admin"): ["acme", "beta"],
        await key_of(worker, "finance", entity_id="mill"): ["beta"],
        await key_of(worker, "customer", customer_id="acme"): ["acme"],
        await key_of(worker, "ingest", sources=["gw/a"]): [],
    }
    for key_id, seen in (*keys.items(), *reversed(keys.items())):
        asking = AskingByKey(api, key_id, secret)
        assert [row[0] for row in await asking.fetch(CUSTOMERS, 9)] == seen
        assert [row[0] for row in await asking.fetch(CUSTOMERS, 1)] == seen[:1]
        first = await asking.fetchrow(CUSTOMERS, 9)
        assert (first and [first[0]]) == (seen[:1] or None)
        # Nothing of it is left in the session.
        assert await api.fetch(CUSTOMERS, 9) == []
        assert not await api.fetchval("SELECT current_setting('tokenledger.asking', true)")


@pytest.mark.usefixtures("filled")
async def test_a_key_asks_only_with_its_proof_for_its_session_and_until_it_is_revoked(
    database: Database, worker: Connection, api: Connection
) -> None:
    secret, key_id = await secret_of(worker), await key_of(worker, "customer", customer_id="acme")
    admin = await key_of(worker, "admin")
    own = prove_key(key_id, api.get_server_pid(), secret=secret)
    ask = "SELECT ask_by_key($1, $2)"
    assert await api.fetchval(ask, key_id, own) is True
    of_place = hmac.new(secret, f"{api.get_server_pid()}/{key_id}".encode(), "sha256").hexdigest()
    for named, proof in (
        (admin, own),
        (key_id, "0" * 64),
        (key_id, ""),
        (key_id, None),
        (None, own),
    ):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await api.fetchval(ask, named, proof)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await api.fetchval(ask, key_id, of_place)
    other = await connect(database.api_url)
    try:
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await other.fetchval(ask, key_id, own)
    finally:
        await other.close()
    await revoke_api_key(worker, key_id, AUTHOR)
    with pytest.raises(KeyRefusedError):
        await AskingByKey(api, key_id, secret).fetch(CUSTOMERS, 9)
    with pytest.raises(KeyRefusedError):
        await AskingByKey(api, "nobody", secret).fetch(CUSTOMERS, 9)
