"""Presets of backfill: published logs whose rows need more than naming their columns."""

from collections.abc import Mapping
from types import MappingProxyType

from ledger.commands.data.presets.aider import AIDER
from ledger.commands.data.presets.mooncake import MOONCAKE
from ledger.commands.data.presets.preset import Preset

PRESETS: Mapping[str, Preset] = MappingProxyType({"aider": AIDER, "mooncake": MOONCAKE})
