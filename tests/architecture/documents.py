"""Documents that are written from what they document: `make golden` writes them anew."""

import os
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from ledger.api.app import create_app
from ledger.api.openapi import document
from ledger.settings import Settings
from tests.architecture.sources import ROOT

DOCS = ROOT / "docs"


def settings_document() -> str:
    """Every variable of the ledger's processes, with its default and meaning."""
    rows = [
        f"| `TOKENLEDGER_{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _page(
        "Settings",
        "Variables of `api`, `worker`, `migrate` and `up`; in the file that `TOKENLEDGER_CONFIG`"
        " names they have small letters and no prefix. A variable wins over the file. The"
        " collector's are in [collector.md](collector.md).",
        "| variable | default | meaning |",
        rows,
    )


def routes_document() -> str:
    """Every route, what it is for and whose keys may ask."""
    return _page(
        "Routes",
        "What the API answers; parameters, bodies and answers are in the OpenAPI document at"
        " `/schema/openapi.json`.",
        "| method | path | what it does |",
        list(_routes(document(create_app(Settings()))["paths"])),
    )


DOCUMENTS: Mapping[Path, Callable[[], str]] = {
    DOCS / "settings.md": settings_document,
    DOCS / "routes.md": routes_document,
}


def is_wanted(path: Path, text: str) -> bool:
    """Whether the file says `text`; written first where golden samples are written anew."""
    if os.environ.get("TOKENLEDGER_WRITE_GOLDEN"):
        path.write_text(text)
    return path.exists() and path.read_text() == text


def _routes(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in sorted(paths.items()):
        for method, operation in operations.items():
            said = f"{operation['summary']} {operation['description']}"
            yield f"| {method.upper()} | `{path}` | {' '.join(said.split()).replace('|', '/')} |"


def _default(value: object) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    shown = value if isinstance(value, str | int | Decimal) else str(value)
    return f"`{str(shown).replace(str(Path.home()), '~')}`"


def _page(title: str, about: str, head: str, rows: list[str]) -> str:
    rule = "|".join(["", *[" --- "] * (head.count("|") - 1), ""])
    return "\n".join([f"# {title}", "", about, "", head, rule, *rows, ""])
