"""Adding one thing costs what ARCHITECTURE.md says: each is added to a copy, and used there."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

ENGINE = '''"""A made-up server."""

from collectors.engines.counters import EngineMap, Rule

ENGINE = EngineMap(
    name="made",
    path="/metrics",
    prefixes=("made_",),
    rules={"tokens_out": (Rule("generation_tokens"),)},
    anchor="tokens_out",
    as_of="2026-11",
    versions={"tokens_out": "the only one"},
)
'''
GATEWAY = '''"""A made-up provider."""

from collectors.gateways.fields import RawUsage, UsageBody
from collectors.gateways.openai import read_usage as read_openai


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    named = {"prompt_tokens": usage["read"], "completion_tokens": usage["written"]}
    return read_openai(named, complete=complete)
'''
EXPORT = '''"""Customers and what they used, as a made-up format."""

from ledger.exports.csv_text import named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple:
    return named("customer_id")


FORMAT = table("made", "usage", columns)
'''
PRICE = '''"""A made-up price: an amount for any use."""

from typing import Literal

from ledger.domain.pricing.price_model import Basis, PeriodUse, PriceModel, PricePart, WholeAmount


class Cover(PriceModel):
    basis = Basis.POOL

    kind: Literal["cover"] = "cover"
    amount: WholeAmount

    def parts(self, use: PeriodUse) -> tuple[PricePart, ...]:
        return (PricePart("any use", 1, self.amount),) if use.quantity else ()
'''
STAGE = '''"""A made-up stage, which finds nothing to do."""

from collections.abc import Sequence

from ledger.domain.parked import Part
from ledger.domain.period import WINDOW
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.pricing.rating import list_entities


async def _store(chunk: Sequence[Part]) -> int:
    return len(chunk)


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    return Due(again, _store)


made = Stage("made_up", WINDOW, 10, list_entities, _find)
'''
COMMAND = '''"""A made-up command."""

import click


@click.command()
def made() -> None:
    click.echo("made")
'''


@dataclass(frozen=True, slots=True)
class Addition:
    """One new file, lines of one file that is there, and what proves that it works."""

    path: str
    text: str
    table: str
    lines: Mapping[str, str]
    proof: str
    says: object


ADDITIONS = {
    "engine": Addition(
        "collectors/engines/made.py",
        ENGINE,
        "collectors/engines/__init__.py",
        {
            "lmdeploy, nim": "lmdeploy, made, nim",
            '        "llamacpp":': '        "made": made.ENGINE,\n        "llamacpp":',
        },
        "from collectors.engines import ENGINES\n"
        "from collectors.exposition import parse_exposition as parse\n"
        "reading = ENGINES['made'].read(parse('made_tokens_out 7\\n'))\n"
        "said = [[c.name, int(c.value)] for c in reading.counters]",
        [["generation_tokens", 7]],
    ),
    "gateway": Addition(
        "collectors/gateways/made.py",
        GATEWAY,
        "collectors/gateways/__init__.py",
        {
            "    llamacpp,\n": "    llamacpp,\n    made,\n",
            '        "openai":': '        "made": made.read_usage,\n        "openai":',
        },
        "from collectors.gateways import GATEWAYS\n"
        "said = GATEWAYS['made']({'read': 5, 'written': 2})['output_total']",
        2,
    ),
    "export": Addition(
        "ledger/exports/made.py",
        EXPORT,
        "ledger/exports/__init__.py",
        {
            "    margins,\n    site_costs": "    made,\n    margins,\n    site_costs",
            "            usage.FORMAT": "            made.FORMAT,\n            usage.FORMAT",
        },
        "from ledger.exports import EXPORT_FORMATS\n"
        "from ledger.commands.data.export import export\n"
        "said = ['made' in EXPORT_FORMATS, EXPORT_FORMATS['made'].filename]",
        [True, "made.csv"],
    ),
    "price model": Addition(
        "ledger/domain/pricing/models/cover.py",
        PRICE,
        "ledger/domain/pricing/models/__init__.py",
        {
            "from ledger.domain.pricing.models.graduated": (
                "from ledger.domain.pricing.models.cover import Cover\n"
                "from ledger.domain.pricing.models.graduated"
            ),
            '        "package": Package,': '        "package": Package,\n        "cover": Cover,',
        },
        "from ledger.domain.pricing.models import load_stored_price\n"
        "said = str(load_stored_price('cover', {'amount': '3'}).price(10))",
        "3",
    ),
    "stage": Addition(
        "ledger/flows/books/made.py",
        STAGE,
        "ledger/flows/stages.py",
        {
            '    "book_revenue": ': (
                '    "made_up": ListedStage("ledger.flows.books.made:made", "A made-up stage."),\n'
                '    "book_revenue": '
            )
        },
        "from click.testing import CliRunner\n"
        "from ledger.cli import cli\n"
        "from ledger.metrics import show_standing\n"
        "from prometheus_client import REGISTRY\n"
        "show_standing([], {'made_up': 3})\n"
        "help = CliRunner().invoke(cli, ['--help']).output\n"
        "made = REGISTRY.get_sample_value('tokenledger_parked', {'stage': 'made_up'})\n"
        "said = ['made-up ' in help, 'A made-up stage.' in help, made]",
        [True, True, 3.0],
    ),
    "command": Addition(
        "ledger/commands/review/made.py",
        COMMAND,
        "ledger/cli.py",
        {
            '    "status": (': (
                '    "made": ("review.made:made", "A made-up command."),\n    "status": ('
            )
        },
        "from click.testing import CliRunner\n"
        "from ledger.cli import cli\n"
        "said = CliRunner().invoke(cli, ['made']).output",
        "made\n",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for name in ("ledger", "collectors", "tests/wire"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("name", ADDITIONS)
def test_one_thing_more_is_one_file_and_one_line(copy: Path, name: str) -> None:
    added = ADDITIONS[name]
    assert not (copy / added.path).exists()
    with (
        replaced(copy / added.path, {}, added.text),
        replaced(copy / added.table, added.lines) as more,
    ):
        assert said(copy, added.proof) == added.says
        # The line of the table, and its import where the table needs one.
        assert more <= 2


@contextmanager
def replaced(path: Path, lines: Mapping[str, str], more: str = "") -> Iterator[int]:
    """A file with other lines, and more behind them, while inside; gives how many lines are new."""
    before = path.read_text() if path.exists() else None
    after = before or ""
    for old, new in lines.items():
        assert after.count(old) == 1, old
        after = after.replace(old, new)
    path.write_text(after + more)
    try:
        known = (before or "").splitlines()
        yield len([line for line in after.splitlines() if line not in known])
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


def said(copy: Path, proof: str) -> object:
    """What a process that has only the copy says."""
    program = (
        f"import json, sys; sys.path.insert(0, {str(copy)!r})\n{proof}\nprint(json.dumps(said))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=copy, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
