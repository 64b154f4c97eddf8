"""The forms of per-request usage that can be read; a new one is a file here and a line below."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from collectors.gateways import (
    anthropic,
    bedrock,
    cohere,
    gemini,
    llamacpp,
    ollama,
    openai,
    otel,
)
from collectors.gateways.fields import RawUsage, UsageBody


class ReadUsage(Protocol):
    """A provider's usage object to `data.usage` of a usage event."""

    def __call__(self, usage: RawUsage, *, complete: bool = True) -> UsageBody: ...


GATEWAYS: Mapping[str, ReadUsage] = MappingProxyType(
    {
        "openai": openai.read_usage,
        "anthropic": anthropic.read_usage,
        "gemini": gemini.read_usage,
        "bedrock": bedrock.read_usage,
        "cohere": cohere.read_usage,
        "ollama": ollama.read_usage,
        "llamacpp": llamacpp.read_usage,
        "otel": otel.read_usage,
    }
)
