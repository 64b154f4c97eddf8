"""Extras: what few attempts count beside their five leaves, a line here each.

A part is of the tokens of a leaf, and priced as these are where no price is for it; all others are
counted beside tokens and cost nothing without a price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

# Of one record, in its own unit: nine million of these fit into 64 bits.
QUANTITY_MAX = 10**12 - 1


@dataclass(frozen=True, slots=True)
class Extra:
    """A meter that few attempts use: which meter it is a part of, if of one, and where it is said.

    `said` are fields of `data.usage` with how many units one of each is; `less` is one of which the
    same tokens are counted by another part. `same_as` is the meter of the tokens that the same
    content is: of the two one is asked for.
    """

    of: str | None
    said: Mapping[str, int]
    less: str | None = None
    same_as: str | None = None


_EXTRAS: Mapping[str, Extra] = {
    "input_cache_write_1h": Extra("input_cache_write", {"input.cache_write_1h": 1}),
    **{
        f"input_{kind}": Extra(
            "input_uncached", {f"modality.input.{kind}": 1}, f"modality.cache_read.{kind}"
        )
        for kind in ("audio", "image", "video")
    },
    "input_cache_read_audio": Extra("input_cache_read", {"modality.cache_read.audio": 1}),
    "output_rejected_prediction": Extra("output_visible", {"output.rejected_prediction": 1}),
    "output_audio": Extra("output_visible", {"modality.output.audio": 1}),
    "output_image": Extra("output_visible", {"modality.output.image": 1}),
    "web_search_calls": Extra(None, {"other.web_search.requests": 1}),
    **{
        f"web_search_{size}_calls": Extra(None, {f"other.web_search_{size}.requests": 1})
        for size in ("low", "medium", "high")
    },
    "web_fetch_calls": Extra(None, {"other.web_fetch.requests": 1}),
    "tool_calls": Extra(None, {"other.tool.calls": 1}),
    "file_search_calls": Extra(None, {"other.file_search.calls": 1}),
    "code_interpreter_sessions": Extra(None, {"other.code_interpreter.sessions": 1}),
    "storage_mb_days": Extra(None, {"other.storage.gb_days": 1_000, "other.storage.mb_days": 1}),
    "input_pages": Extra(None, {"other.pages.input": 1}, same_as="input_uncached"),
    "input_characters": Extra(None, {"other.characters.input": 1}, same_as="input_uncached"),
    "input_images": Extra(None, {"other.images.input": 1}, same_as="input_image"),
    "output_images": Extra(None, {"other.images.output": 1}, same_as="output_image"),
    "input_audio_ms": Extra(
        None, {"other.audio.seconds": 1_000, "other.audio.milliseconds": 1}, same_as="input_audio"
    ),
    "output_audio_ms": Extra(
        None,
        {"other.audio.output.seconds": 1_000, "other.audio.output.milliseconds": 1},
        same_as="output_audio",
    ),
    "input_video_ms": Extra(
        None, {"other.video.seconds": 1_000, "other.video.milliseconds": 1}, same_as="input_video"
    ),
    "output_video_ms": Extra(
        None, {"other.video.output.seconds": 1_000, "other.video.output.milliseconds": 1}
    ),
    "gpu_ms": Extra(None, {"other.gpu.seconds": 1_000, "other.gpu.milliseconds": 1}),
}
EXTRAS: Mapping[str, Extra] = MappingProxyType(_EXTRAS)
# Meters of parts, and the meter that each is a part of.
PART_OF: Mapping[str, str] = MappingProxyType(
    {name: extra.of for name, extra in EXTRAS.items() if extra.of is not None}
)
# Meters beside tokens, and the meter of the tokens that count the same.
SAME_AS: Mapping[str, str] = MappingProxyType(
    {name: extra.same_as for name, extra in EXTRAS.items() if extra.same_as is not None}
)
# The mappings of `data.usage` that hold counts by names, and of each the names that are read.
GROUPS = ("modality", "other")
SIDES = ("input", "cache_read", "output")
NAMES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        group: frozenset(
            field.removeprefix(f"{group}.")
            for extra in EXTRAS.values()
            for field in (*extra.said, extra.less or "")
            if field.startswith(f"{group}.")
        )
        for group in GROUPS
    }
)
# What is read of each side of `modality`: kinds of content, of which a token is one at most.
KINDS_OF: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        side: sorted(name for name in NAMES["modality"] if name.startswith(f"{side}."))
        for side in SIDES
    }
)
