"""A file of a price table into what its reader takes: JSON, or packed folders of models.dev."""

import io
import tarfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path, PurePosixPath

from ledger.commands.data.rows import read_bytes
from ledger.domain.errors import InvalidInputError
from ledger.wire.strict_json import load_json

_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
FILE_BYTES_MAX = 1024 * 1024


def read_price_table(path: Path) -> Mapping[str, object]:
    """The object that a file holds; InvalidInputError says what is wrong with it."""
    raw = read_bytes(path)
    if raw[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        return _read_folders(path, raw)
    try:
        # Fractions stay the text they are: no price passes through a float.
        table = load_json(raw, parse_float=str)
    except (ValueError, RecursionError) as error:
        said = f"{path.name} is not JSON: {error}."
        raise InvalidInputError(said, "Name a price table.") from error
    if not isinstance(table, dict):
        raise InvalidInputError(f"{path.name} is no object by model.", "Name a price table.")
    return table


def only_providers(
    path: Path, table: Mapping[str, object], providers: Iterable[str]
) -> Mapping[str, object]:
    """The table of some providers, or of all where none is named."""
    chosen = list(providers)
    unknown = [name for name in chosen if name not in table]
    if unknown:
        known = ", ".join(sorted(table)[:20])
        raise InvalidInputError(
            f"{path.name} has no provider {unknown[0]}.", f"It has {known}.", "provider"
        )
    return {name: table[name] for name in chosen} if chosen else table


def _read_folders(path: Path, raw: bytes) -> Mapping[str, object]:
    """`providers/PROVIDER/models/MODEL.toml` as models.dev's JSON has it: provider to models."""
    table: dict[str, dict[str, dict[str, object]]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as packed:
            for name, text in _texts(packed):
                parts = PurePosixPath(name).parts
                provider, model = parts[1], "/".join(parts[3:]).removesuffix(".toml")
                models = table.setdefault(provider, {"models": {}})["models"]
                models[model] = tomllib.loads(text, parse_float=Decimal)
    except (tarfile.TarError, EOFError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInputError(
            f"{path.name} cannot be read: {error}.", "Pack it again."
        ) from error
    if not table:
        raise InvalidInputError(
            f"{path.name} has no file providers/PROVIDER/models/MODEL.toml.", "Pack it again."
        )
    return table


def _texts(packed: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    for member in packed:
        parts = PurePosixPath(member.name).parts
        is_model = len(parts) > 3 and (parts[0], parts[2]) == ("providers", "models")
        if not (member.isfile() and is_model and member.name.endswith(".toml")):
            continue
        if member.size > FILE_BYTES_MAX:
            raise InvalidInputError(f"{member.name} is no file of a model.", "Pack it again.")
        held = packed.extractfile(member)
        assert held is not None
        yield str(PurePosixPath(*parts)), held.read().decode()
