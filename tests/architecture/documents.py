"""Documents that are written from what they document: `make golden` writes them anew."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from ledger.api.app import create_app
from ledger.api.openapi import document
from ledger.domain.metering.extras import GROUP_PATHS
from ledger.domain.metering.kept import COLUMNS
from ledger.settings import Settings
from ledger.wire.events import EVENT_TYPES, Envelope
from ledger.wire.rules import DecimalRule, Rule, SizeRule, TextRule, TimeRule, WholeRule
from ledger.wire.schema import FieldEntry, Form, fields_of, walk
from ledger.wire.schema import Path as WirePath
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


def events_document() -> str:
    """Every field of every event, what it may hold and whether the ledger keeps it."""
    shapes: Mapping[str, type] = EVENT_TYPES
    data = {kind: fields_of(shape)["data"].form for kind, shape in shapes.items()}
    sections = [_fields("Every event", Form(shape=Envelope), (), (*EVENT_TYPES,))]
    for form in dict.fromkeys(data.values()):
        kinds = [kind for kind, other in data.items() if other == form]
        title = " and ".join(f"`{kind}`" for kind in kinds)
        sections.append(_fields(title, form, ("data",), kinds))
    about = (
        "CloudEvents in JSON; how batches of them are sent is in [batches.md](batches.md). Null is"
        " the same as nothing. A field that is not kept is read, held to its rule and let go; one"
        " that is not named here is counted by name, and the answer to a batch says so. Which names"
        " of a field are kept that is kept in part, [prices.md](prices.md) says."
    )
    return "\n".join(["# Events", "", about, "", *sections])


DOCUMENTS: Mapping[Path, Callable[[], str]] = {
    DOCS / "settings.md": settings_document,
    DOCS / "routes.md": routes_document,
    DOCS / "events.md": events_document,
}


def is_wanted(path: Path, text: str) -> bool:
    """Whether the file says `text`; written first where golden samples are written anew."""
    if os.environ.get("TOKENLEDGER_WRITE_GOLDEN"):
        path.write_text(text)
    return path.exists() and path.read_text() == text


def _fields(title: str, form: Form, above: WirePath, kinds: Sequence[str]) -> str:
    kept = {column.path for kind in kinds for column in COLUMNS.get(kind, ())}
    is_kept = dict.fromkeys(kept, "yes") | dict.fromkeys(GROUP_PATHS, "some")
    rows = [
        f"| `{'.'.join((*above, *path))}` | {_value(entry)} |"
        f" {is_kept.get((*above, *path), '')} | {entry.about} |"
        for path, entry in walk(form)
    ]
    about = " ".join((form.shape.__doc__ or "").split()) if form.shape else ""
    head = ["| field | value | kept | what it is |", "| --- | --- | --- | --- |"]
    return "\n".join([f"## {title}", "", about, "", *head, *rows, ""])


def _value(entry: FieldEntry) -> str:
    said = _said(entry.form)
    if entry.required:
        return f"{said}; required"
    default = str(entry.default).lower() if isinstance(entry.default, bool) else entry.default
    return said if entry.default is None else f"{said}; else {default}"


def _said(form: Form) -> str:
    if form.inner is not None:
        most = form.rule.high if isinstance(form.rule, SizeRule) else None
        bound = f" of at most {most:,}" if most else ""
        inner = "objects" if form.inner.shape else _said(form.inner)
        return f"{'object' if form.names else 'list'}{bound}: {inner}"
    if form.shape is not None:
        return "object"
    if form.literal:
        return ", ".join(f"`{value}`" for value in form.literal)
    return _rule(form.rule)


def _rule(rule: Rule | None) -> str:
    if isinstance(rule, WholeRule):
        return f"whole number, {rule.low:,} to {rule.high:,}"
    if isinstance(rule, TextRule) and rule.pattern:
        return f"text like `{rule.pattern}`"
    if isinstance(rule, TextRule):
        return f"text, {rule.low} to {rule.high:,} characters" if rule.high else "text"
    if isinstance(rule, DecimalRule):
        return "decimal as text"
    return "RFC 3339" if isinstance(rule, TimeRule) else "true or false"


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
