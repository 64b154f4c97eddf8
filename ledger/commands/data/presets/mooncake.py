"""Mooncake's request traces: hits of a prefix cache without limit, of blocks of 512 tokens.

An id of a block stands for the prompt up to its end, so an id that was seen before is a hit.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from ledger.commands.data.presets.preset import Preset
from ledger.commands.data.usage_file import Cells, open_usage_file
from ledger.domain.errors import InvalidInputError
from ledger.wire.rfc3339 import format_rfc3339

BLOCK_TOKENS = 512
_COLUMNS = ("timestamp", "input_length", "output_length", "hash_ids")
_SPAN_MS_MAX = 366 * 24 * 3_600_000


def read_mooncake(path: Path, start: datetime) -> Iterator[Cells]:
    """(line, time, uncached, cache read, output) of every request of a trace that begins then;
    InvalidInputError names the first line that is none."""
    seen: set[int] = set()
    with open_usage_file(path, _COLUMNS) as rows:
        for line, (at_ms, input_length, output_length, blocks) in rows:
            whole = (at_ms, input_length, output_length)
            if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in whole):
                raise _no_request(path, line, "its times and lengths are no counts")
            if at_ms > _SPAN_MS_MAX:
                raise _no_request(path, line, "it is over a year after the first")
            if not _are_blocks(blocks, input_length):
                raise _no_request(path, line, f"its blocks are not of {BLOCK_TOKENS} tokens each")
            cached = _cached_tokens(blocks, input_length, seen)
            seen.update(blocks)
            at = format_rfc3339(start + timedelta(milliseconds=at_ms))
            yield line, [at, input_length - cached, cached, output_length]


def _are_blocks(blocks: object, input_length: int) -> bool:
    if not isinstance(blocks, list) or not all(isinstance(block, int) for block in blocks):
        return False
    return len(blocks) == -(-input_length // BLOCK_TOKENS)


def _cached_tokens(blocks: Sequence[int], input_length: int, seen: set[int]) -> int:
    """Tokens of the leading blocks that are known; the last may be a part of one."""
    hits = 0
    while hits < len(blocks) and blocks[hits] in seen:
        hits += 1
    return min(hits * BLOCK_TOKENS, input_length)


def _no_request(path: Path, line: int, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path.name} line {line} is no request of a Mooncake trace: {why}.",
        "What came before it is recorded; mend the line and run it again.",
    )


_FIXED: Mapping[str, str] = MappingProxyType({"customer": "mooncake", "model": "mooncake"})
MOONCAKE = Preset(("time", "uncached", "cache_read", "output"), _FIXED, read_mooncake)
