"""Files that README and docs tell people to write are files that commands can read."""

import re
from pathlib import Path

import pytest

from ledger.commands.data.rows import read_rows

ROOT = Path(__file__).parents[2]
WRITTEN = [
    pytest.param(name, text, id=f"{page.name}: {name}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for name, text in re.findall(
        r"^cat > (\S+) +<<'E'\n(.*?)^E$", page.read_text(encoding="utf-8"), re.M | re.S
    )
]


@pytest.mark.parametrize(("name", "text"), WRITTEN)
def test_a_file_that_is_shown_can_be_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_rows(path)


def test_every_page_asks_at_the_port_that_is_served() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")]
    assert {port for text in pages for port in re.findall(r"localhost:(\d+)/v1", text)} == {"8787"}
