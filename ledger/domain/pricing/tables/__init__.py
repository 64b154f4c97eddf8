"""Price tables: what others publish of prices, each shape read in a file of its own."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

from ledger.domain.pricing.tables.litellm import read_litellm
from ledger.domain.pricing.tables.modelsdev import read_modelsdev
from ledger.domain.pricing.tables.row import TableRow

TableReader: TypeAlias = Callable[[Mapping[str, object]], Iterator[TableRow]]
# tokencost takes over LiteLLM's table, in its shape.
TABLE_READERS: Mapping[str, TableReader] = MappingProxyType(
    {"litellm": read_litellm, "modelsdev": read_modelsdev, "tokencost": read_litellm}
)
