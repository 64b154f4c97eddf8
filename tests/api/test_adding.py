"""A field, a report and a resource cost what ARCHITECTURE.md says; each is tried in a copy.

They need more than the rules about code do: a database, and everything that the API imports.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.architecture.test_adding import copy, replaced, said
from tests.support.database import Database

__all__ = ["copy"]

FIELD = "    conversation_id:"
NEW_FIELD = '    steps_taken: Annotated[Count | None, About("Made up.")] = None\n'
# What each reader of events says of the new field, with a value it may have and one it may not;
# what the reader of lines has learnt of a line is all that its compiled loops know.
FIELD_PROOF = """
import json
from ledger.api.app import create_app
from ledger.api.openapi import document
from ledger.domain.metering.columnar import read_columnar
from ledger.domain.metering.decode import Reject, decode_items
from ledger.domain.metering.items import highest
from ledger.domain.metering.ndjson.shape import learn
from ledger.settings import Settings
from ledger.wire.columnar import read_columns
from ledger.wire.columnar_write import encode_columnar
from ledger.wire.parse import explain
from tests.wire.samples import usage_event

def event(steps):
    return usage_event(steps_taken=steps) | {'id': 'a'}

def unread(parts):
    return sorted({name for part in parts for name in part.unknown})

good, bad = event(3), event(-1)
lines = [json.dumps(one).encode() for one in (good, bad)]
strict, refused = decode_items(lines)
shape = learn(lines[0])
(slot,) = (slot for slot in shape.slots if slot.path[-1] == 'steps_taken')
batches = [read_columns(encode_columnar([one] * 40, None), highest=highest) for one in (good, bad)]
columns = [read_columnar(batch, None, 0) for batch in batches]
shapes = document(create_app(Settings()))['components']['schemas']
said = {
    'one by one': [getattr(strict.data, 'steps_taken', None), isinstance(refused, Reject)],
    'as lines': [sorted(shape.unknown), type(slot.rule).__name__],
    'as columns': [unread(columns[0].parts), columns[0].rest.size, columns[1].rest.size],
    'explained': [problem.field for problem in explain(bad)],
    'in OpenAPI': 'steps_taken' in shapes['UsageData']['properties'],
}
"""


REPORT = '''"""A made-up report."""

from ledger.reports.report import PeriodReport, ReportTable
from ledger.wire.answer_fields import ClosedModel


class Made(ClosedModel):
    """How many seconds the period has."""

    seconds: int


async def _read(connection, scope, asked):
    return int((scope["until"] - scope["since"]).total_seconds())


MADE = PeriodReport(
    "made",
    "/v1/made",
    "A made-up report.",
    Made,
    _read,
    lambda found: {"seconds": found},
    lambda found, asked: iter([ReportTable("Made", ("seconds",), [(found,)])]),
)
'''
RESOURCE = '''"""A made-up resource: a hall, which is a site in its entity's zone."""

from ledger.flows.reference.enter import enter_facility
from ledger.flows.reference.resource import Resource
from ledger.wire.answer_fields import ClosedModel
from ledger.wire.input_fields import Identifier
from ledger.wire.inputs import InputModel
from ledger.wire.factory_inputs import NewFacility


class NewHall(InputModel):
    """A hall."""

    hall_id: Identifier
    entity_id: Identifier


class Hall(ClosedModel):
    """A hall."""

    hall_id: str
    entity_id: str


async def enter_hall(connection, new, author):
    site = NewFacility(
        facility_id=new.hall_id, entity_id=new.entity_id, name=new.hall_id, zone="UTC"
    )
    return await enter_facility(connection, site, author)


HALL = Resource("hall", "halls", "halls", "hall_id", Hall, ("entity_id",), NewHall, enter_hall)
'''
QUERY = """
-- name: list_halls
-- Halls.
SELECT facility_id AS hall_id, entity_id, ARRAY[facility_id] AS sort_key
  FROM facility WHERE :id::text IS NULL OR facility_id = :id
 ORDER BY sort_key LIMIT :limit;
"""
ASK = """
import asyncio
from pathlib import Path
from click.testing import CliRunner
from litestar.testing import TestClient
from ledger.api.app import create_app
from ledger.cli import cli
from ledger.domain.author import Author
from ledger.flows.reference.keys import create_api_key
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.wire.inputs import NewApiKey

async def make_key():
    connection = await connect(os.environ['TOKENLEDGER_WORKER_URL'])
    key = await create_api_key(connection, NewApiKey(role='admin'), Author('t', 't', 't'))
    await connection.close()
    return key.text

def run(*arguments):
    done = CliRunner().invoke(cli, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout

def enter(kind, text):
    Path(f'{kind}.csv').write_text(text)
    return run('import', kind, f'{kind}.csv')

enter('entities', 'entity_id,name,currency,zone\\nfactory,Factory,EUR,UTC\\n')
sent = {'Authorization': f'Bearer {asyncio.run(make_key())}'}
urls = {name: os.environ[f'TOKENLEDGER_{name.upper()}'] for name in ('worker_url', 'api_url')}
with TestClient(create_app(Settings(**urls))) as client:
    client.headers.update(sent)
    document = client.get('/schema/openapi.json').json()
"""
REPORTED = """
    period = {'since': '2024-01-01T00:00:00Z', 'until': '2024-01-01T01:00:00Z'}
    over_api = client.get('/v1/made', params={'entity': 'factory', **period}).json()
asked = ('report', 'made', '--from', '2024-01-01', '--to', '2024-01-02')
said = [
    over_api,
    json.loads(run(*asked, '--json')),
    '86,400' in run(*asked),
    '/v1/made' in document['paths'],
]
"""
ENTERED = """
    one = client.post('/v1/halls', json={'hall_id': 'a', 'entity_id': 'factory'}).json()
    enter('halls', 'hall_id,entity_id\\nb,factory\\n')
    items = client.get('/v1/halls').json()['items']
said = [
    one,
    [item['hall_id'] for item in items],
    json.loads(run('list', 'halls', '--json'))['items'] == items,
    json.loads(run('show', 'hall', 'b', '--json'))['versions'][0]['entity_id'],
    '/v1/halls' in document['paths'],
]
"""


def test_a_field_more_is_one_entry_that_all_readers_go_by(copy: Path) -> None:
    nobody = said(copy, FIELD_PROOF)
    with replaced(copy / "ledger/wire/usage.py", {FIELD: NEW_FIELD + FIELD}) as more:
        assert more == 1
        read = said(copy, FIELD_PROOF)
    name = "data.steps_taken"
    assert nobody == {
        "one by one": [None, False],
        "as lines": [[name], "AnyRule"],
        "as columns": [[name], 0, 0],
        "explained": [],
        "in OpenAPI": False,
    }
    assert read == {
        "one by one": [3, True],
        "as lines": [[], "WholeRule"],
        "as columns": [[], 0, 40],
        "explained": [name],
        "in OpenAPI": True,
    }


def test_a_report_more_is_one_file_and_one_line(copy: Path, database: Database) -> None:
    table = {
        "from ledger.reports.energy.energy import": (
            "from ledger.reports.energy.made import MADE\nfrom ledger.reports.energy.energy import"
        ),
        "    HOURLY,\n": "    HOURLY,\n    MADE,\n",
    }
    with (
        replaced(copy / "ledger/reports/energy/made.py", {}, REPORT),
        replaced(copy / "ledger/reports/table.py", table) as more,
    ):
        assert more <= 2
        assert answered(copy, database, REPORTED) == [
            *({"seconds": 3600}, {"seconds": 86400}, True, True)
        ]


def test_a_resource_more_is_one_file_one_line_and_one_query(copy: Path, database: Database) -> None:
    table = {
        "from ledger.flows.reference.resource import": (
            "from ledger.flows.reference.hall import HALL\n"
            "from ledger.flows.reference.resource import"
        ),
        "RESOURCES: Sequence[Resource] = (\n": "RESOURCES: Sequence[Resource] = (\n    HALL,\n",
    }
    with (
        replaced(copy / "ledger/flows/reference/hall.py", {}, RESOURCE),
        replaced(copy / "ledger/store/resources.sql", {}, QUERY),
        replaced(copy / "ledger/flows/reference/resources.py", table) as more,
    ):
        assert more <= 2
        assert answered(copy, database, ENTERED) == [
            *({"id": "a"}, ["a", "b"], True, "factory", True)
        ]


def answered(copy: Path, database: Database, what: str) -> Any:
    """What a process that has only the copy says of the database."""
    program = f"import json, os, sys; sys.path.insert(0, {str(copy)!r})\n{ASK}{what}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{program}\nprint(json.dumps(said))"],
        capture_output=True,
        text=True,
        cwd=copy,
        check=False,
        env={
            **os.environ,
            "TOKENLEDGER_OWNER_URL": database.owner_url,
            "TOKENLEDGER_WORKER_URL": database.worker_url,
            "TOKENLEDGER_API_URL": database.api_url,
        },
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
