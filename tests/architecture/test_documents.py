"""Settings and routes are documented, all of them, as they are."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from collectors.settings import CollectSettings
from tests.architecture.documents import DOCS, DOCUMENTS, is_wanted


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_says_what_is(path: Path) -> None:
    assert is_wanted(path, DOCUMENTS[path]()), (
        f"{path.name} is not what is: `make golden` writes it"
    )


def test_document_that_says_less_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENLEDGER_WRITE_GOLDEN", raising=False)
    (tmp_path / "settings.md").write_text("# Settings\n")
    assert not is_wanted(tmp_path / "settings.md", "# Settings\n\nmore\n")
    assert not is_wanted(tmp_path / "absent.md", "# Settings\n")


def test_collector_document_names_every_setting() -> None:
    said = (DOCS / "collector.md").read_text()
    assert [name for name in names(CollectSettings) if f"`{name}`" not in said] == []


def names(table: object) -> Iterator[str]:
    """Names of settings, those of its tables included."""
    assert isinstance(table, type)
    assert is_dataclass(table)
    for name, hint in get_type_hints(table).items():
        yield name
        for inner in (hint, *get_args(hint)):
            if is_dataclass(inner):
                yield from names(inner)
