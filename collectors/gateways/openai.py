"""An OpenAI-style `usage` object, of chat completions or of responses, to disjoint token leaves.

Totals there include their parts: input contains cached and written tokens, output contains
reasoning and rejected predictions. Servers that leave the details out (vLLM without its switch)
leave the split unknown: null here, never zero. SGLang has `reasoning_tokens` at the top.
"""

from collections.abc import Mapping
from types import MappingProxyType

from collectors.gateways.fields import RawUsage, UsageBody, body, count, details, needed, rest

_MODALITIES: Mapping[str, str] = MappingProxyType(
    {"text_tokens": "text", "audio_tokens": "audio", "image_tokens": "image"}
)


def read_usage(usage: RawUsage, *, complete: bool = True) -> UsageBody:
    """`data.usage` of one answer; `complete` is false for the last count seen before a break."""
    inputs = details(usage, "prompt_tokens_details", "input_tokens_details")
    outputs = details(usage, "completion_tokens_details", "output_tokens_details")
    result = body(
        input_leaves=_input(usage, inputs), output_leaves=_output(usage, outputs), complete=complete
    )
    modality = {**_modality("input", inputs), **_modality("output", outputs)}
    return {**result, "modality": modality} if modality else result


def _input(usage: RawUsage, inner: RawUsage) -> UsageBody:
    total = needed(usage, "prompt_tokens", "input_tokens")
    cached = count(inner, "cached_tokens")
    # Models that charge for writes say how many; silence there means that nothing was written.
    written = count(inner, "cache_write_tokens") or 0
    return {
        "uncached": rest(total, (cached, written), name="prompt_tokens"),
        "cache_read": cached,
        "cache_write": written,
    }


def _output(usage: RawUsage, inner: RawUsage) -> UsageBody:
    total = needed(usage, "completion_tokens", "output_tokens")
    reasoning = count(inner, "reasoning_tokens")
    if reasoning is None:
        reasoning = count(usage, "reasoning_tokens")
    rejected = count(inner, "rejected_prediction_tokens")
    leaves: UsageBody = {
        "visible": rest(total, (reasoning, rejected), name="completion_tokens"),
        "reasoning": reasoning,
    }
    return leaves | ({"rejected_prediction": rejected} if rejected is not None else {})


def _modality(side: str, inner: RawUsage) -> dict[str, int]:
    counts = {f"{side}.{kind}": count(inner, name) for name, kind in _MODALITIES.items()}
    return {key: tokens for key, tokens in counts.items() if tokens is not None}
