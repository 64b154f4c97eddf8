"""Spans of OpenTelemetry become leaves, in whatever spelling; kinds of content."""

from collections.abc import Mapping
from typing import Any

import pytest

from collectors.errors import GatewayUsageError
from collectors.gateways import GATEWAYS


@pytest.mark.parametrize("operation", [["chat"], {"name": "chat"}, 5, None])
def test_a_span_whose_operation_is_no_text_is_read(operation: Any) -> None:
    usage = {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 3}
    read = GATEWAYS["otel"]({**usage, "gen_ai.operation.name": operation})
    assert (read["input_total"], read["output_total"]) == (5, 3)


@pytest.mark.parametrize(
    "said",
    [
        {
            **{"gen_ai.usage.input_tokens.cached": 60, "gen_ai.usage.input_tokens.cache_write": 9},
            "gen_ai.usage.output_tokens.reasoning": 4,
        },
        {
            **{"gen_ai.usage.cache_read_tokens": 60, "gen_ai.usage.cache_write_tokens": 9},
            "gen_ai.usage.reasoning_tokens": 4,
        },
        {
            **{"ai.usage.cachedInputTokens": 60, "ai.usage.reasoningTokens": 4},
            **{"ai.usage.inputTokenDetails.cacheWriteTokens": 9, "ai.usage.inputTokens": 100},
            "ai.model.provider": "openai.chat",
        },
        {
            **{"ai.usage.cachedInputTokens": 60, "ai.model.provider": "anthropic.messages"},
            **{"ai.usage.inputTokenDetails.cacheReadTokens": 60},
            **{"ai.usage.inputTokenDetails.cacheWriteTokens": 9},
            **{"ai.usage.inputTokenDetails.noCacheTokens": 31},
            "ai.usage.outputTokenDetails.reasoningTokens": 4,
        },
    ],
)
def test_a_span_is_read_in_its_librarys_own_spelling(said: dict[str, Any]) -> None:
    totals = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7}
    usage = GATEWAYS["otel"]({**totals, **said})
    assert usage["input"] == {"uncached": 31, "cache_read": 60, "cache_write": 9}
    assert usage["output"] == {"visible": 3, "reasoning": 4}
    assert "other" not in usage


def test_a_span_whose_cached_tokens_may_lie_beside_its_input_is_refused() -> None:
    totals = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 7}
    said = {"ai.usage.cachedInputTokens": 60, "ai.model.provider": "anthropic.messages"}
    with pytest.raises(GatewayUsageError, match="noCacheTokens"):
        GATEWAYS["otel"]({**totals, **said})
    nothing = GATEWAYS["otel"]({**totals, **said, "ai.usage.cachedInputTokens": 0})
    assert nothing["input"]["cache_read"] == 0


@pytest.mark.parametrize("operation", ["embeddings", "rerank"])
def test_a_span_of_an_operation_without_output_may_say_nothing_of_it(operation: str) -> None:
    said = {"gen_ai.usage.input_tokens": 5}
    usage = GATEWAYS["otel"]({**said, "gen_ai.operation.name": operation})
    assert (usage["input_total"], usage["output_total"], usage["complete"]) == (5, 0, True)
    with pytest.raises(GatewayUsageError, match="output_tokens"):
        GATEWAYS["otel"]({**said, "gen_ai.operation.name": "chat"})


@pytest.mark.parametrize(
    ("gateway", "usage"),
    [
        (
            "openai",
            {
                **{"prompt_tokens": 10, "completion_tokens": 5},
                "prompt_tokens_details": {"audio_tokens": 6, "image_tokens": 5},
            },
        ),
        (
            "gemini",
            {
                **{"promptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 5},
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
        ),
        (
            "otel",
            {
                **{"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 1},
                "gen_ai.usage.audio.input_tokens": 6,
            },
        ),
    ],
)
def test_kinds_of_content_beyond_their_side_are_refused_where_they_are_read(
    gateway: str, usage: dict[str, Any]
) -> None:
    with pytest.raises(GatewayUsageError, match="by kind of content"):
        GATEWAYS[gateway](usage)


def inference(counts: Mapping[str, int], kind: str = "LLM") -> dict[str, object]:
    """A span by OpenInference's names."""
    said = {f"llm.token_count.{name}": number for name, number in counts.items()}
    return {"openinference.span.kind": kind, **said}


@pytest.mark.parametrize(
    ("counts", "prompt"),
    [
        ({"prompt": 2_255, "total": 2_260}, 2_255),
        ({"prompt": 2_255}, 2_255),
        # Of Anthropic's, older versions left out what was cached; their total tells.
        ({"prompt": 10, "total": 2_260}, 2_255),
    ],
)
def test_spans_of_openinference_are_read(counts: dict[str, int], prompt: int) -> None:
    details = {
        "prompt_details.cache_read": 512,
        "prompt_details.cache_write": 1_733,
        "completion_details.reasoning": 2,
    }
    read = GATEWAYS["otel"](inference({**counts, "completion": 5, **details}))
    assert read["input"] == {"uncached": 10, "cache_read": 512, "cache_write": 1_733}
    assert read["output"] == {"visible": 3, "reasoning": 2}
    assert read["input_total"] == prompt
    assert "other" not in read


def test_a_kind_of_openinference_that_repeats_its_calls_is_refused() -> None:
    for kind in ("AGENT", "CHAIN", "TOOL"):
        with pytest.raises(GatewayUsageError, match="repeats the model calls"):
            GATEWAYS["otel"](inference({"prompt": 5, "completion": 1}, kind))
    assert GATEWAYS["otel"](inference({"prompt": 5}, "EMBEDDING"))["output_total"] == 0
