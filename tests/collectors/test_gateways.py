"""Each provider's usage object becomes leaves that the ledger accepts and that add up."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import collectors.gateways
from collectors.errors import GatewayUsageError
from collectors.gateways import GATEWAYS
from ledger.wire.events import UsageEvent
from ledger.wire.parse import parse_event
from tests.wire.samples import usage_event

GOLDEN = Path(__file__).parents[1] / "golden" / "gateways"
CASES = [
    pytest.param(name, case, id=f"{name}: {case['case']}")
    for name in GATEWAYS
    for case in json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
]
COUNTS = st.integers(0, 10_000)
# What each gateway needs at least, as one object.
LEAST = {
    **{"input_tokens": 5, "output_tokens": 1},
    **{"promptTokenCount": 5, "candidatesTokenCount": 1},
    **{"inputTokens": 5, "outputTokens": 1, "prompt_eval_count": 5, "eval_count": 1},
    "billed_units": {"input_tokens": 5, "output_tokens": 1},
    **{"prompt_n": 5, "predicted_n": 1},
    **{"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 1},
}
# Attributes of a span that are not of its usage are no counts.
UNREAD = {"otel": "gen_ai.usage.cached_video_tokens"}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_known_usage_object_gives_the_known_leaves(name: str, case: dict[str, Any]) -> None:
    usage = GATEWAYS[name](case["usage"])
    assert (usage["input"], usage["output"]) == (case["input"], case["output"])
    event = parse_event(usage_event(usage=usage))
    assert isinstance(event, UsageEvent)
    assert event.data.usage.leaves().split_unknown is case["split_unknown"]


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_openai_leaves_always_add_up_to_the_totals(
    uncached: int, cached: int, written: int, visible: int, reasoning: int
) -> None:
    raw = {
        "prompt_tokens": uncached + cached + written,
        "completion_tokens": visible + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    usage = GATEWAYS["openai"](raw)
    assert usage["input_total"] == raw["prompt_tokens"]
    assert usage["output_total"] == raw["completion_tokens"]
    assert usage["input"]["uncached"] == uncached
    assert usage["output"]["visible"] == visible


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": 5.5, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": -5, "completion_tokens": 1},
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 6},
        },
        {"prompt_tokens": 5, "completion_tokens": 1, "reasoning_tokens": 2},
        {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 7},
        {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 5},
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_cache_hit_tokens": 4,
            "prompt_cache_miss_tokens": 4,
        },
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "cached_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 2},
            "input_tokens_details": {"cached_tokens": 3},
        },
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "prompt_tokens_details": [{"cached_tokens": 2}],
        },
        {"prompt_tokens": 5, "completion_tokens": 1, "input_tokens": 7},
        {"prompt_tokens": 5, "total_tokens": 7},
        {"input_tokens": 30, "output_tokens": 1, "cache_read_input_tokens": 12},
        {"input_tokens": 5, "output_tokens": 1, "input_uncached_tokens": 4},
    ],
)
def test_a_usage_object_that_contradicts_itself_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(GatewayUsageError, match="usage"):
        GATEWAYS["openai"](raw)


@given(COUNTS, COUNTS, COUNTS)
def test_anthropic_writes_are_all_counted_whatever_the_split_says(
    plain: int, five: int, hour: int
) -> None:
    usage = GATEWAYS["anthropic"](
        {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_creation_input_tokens": plain + five + hour,
            "cache_creation": {
                "ephemeral_5m_input_tokens": five,
                "ephemeral_1h_input_tokens": hour,
            },
        }
    )
    assert usage["input_total"] == 1 + plain + five + hour


LISTS = (
    ("anthropic", "iterations", {"input_tokens": 25, "output_tokens": 1}),
    ("bedrock", "cacheDetails", {"inputTokens": 30, "outputTokens": 6}),
    ("gemini", "promptTokensDetails", {"promptTokenCount": 10, "candidatesTokenCount": 2}),
)


@pytest.mark.parametrize(("gateway", "name", "usage"), LISTS)
@pytest.mark.parametrize("odd", [5, True, "ab", {"a": 1}, [5], [None]])
def test_what_should_be_a_list_of_counts_and_is_none_is_refused(
    gateway: str, name: str, usage: dict[str, Any], odd: Any
) -> None:
    with pytest.raises(GatewayUsageError):
        GATEWAYS[gateway]({**usage, name: odd})


@pytest.mark.parametrize("hits", [{"prompt_cache_hit_tokens": 0}, {}])
def test_hits_and_misses_that_a_relay_left_unfilled_say_nothing(hits: dict[str, int]) -> None:
    unfilled = {**hits, "prompt_cache_miss_tokens": 0}
    read = GATEWAYS["openai"]({"prompt_tokens": 4000, "completion_tokens": 50, **unfilled})
    assert read["input"] == {"uncached": 4000, "cache_read": None, "cache_write": None}
    all_hit = {"prompt_cache_hit_tokens": 4000, "prompt_cache_miss_tokens": 0}
    read = GATEWAYS["openai"]({"prompt_tokens": 4000, "completion_tokens": 50, **all_hit})
    assert (read["input"]["uncached"], read["input"]["cache_read"]) == (0, 4000)
    nothing = GATEWAYS["openai"]({"prompt_tokens": 0, "completion_tokens": 0, **unfilled})
    assert nothing["input"]["cache_read"] == 0


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("usage", [None, [], "", 5])
def test_an_answer_without_a_usage_object_is_refused(gateway: str, usage: Any) -> None:
    with pytest.raises(GatewayUsageError, match="ask the server for final usage"):
        GATEWAYS[gateway](usage)


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([{"model": "m"}, {"model": "n"}], "of m, n"),
        ([{"type": "message"}, {"type": "advisor_message", "model": "n"}], "of n, the answer's"),
        ([{"input_tokens": 1, "output_tokens": 9}], "less than the 5 beside them"),
        ([None], "found None"),
    ],
)
def test_turns_that_are_not_all_of_one_model_are_refused(turns: list[Any], said: str) -> None:
    with pytest.raises(GatewayUsageError, match=said):
        GATEWAYS["anthropic"]({"input_tokens": 5, "output_tokens": 1, "iterations": turns})


def test_turns_hand_on_only_what_nobody_reads_of_them() -> None:
    turn = {"input_tokens": 9, "output_tokens": 1, "cache_creation": {"ephemeral_2h_tokens": 4}}
    usage = GATEWAYS["anthropic"]({**turn, "iterations": [{**turn, "new_tokens": 3}, turn]})
    assert (usage["input_total"], usage["output_total"]) == (18, 2)
    assert usage["other"] == {
        "unread.iterations.cache_creation.ephemeral_2h_tokens": 8,
        "unread.iterations.new_tokens": 3,
    }


def test_a_context_is_the_largest_turn_and_not_the_sum_of_all() -> None:
    turns = [
        {"input_tokens": 90_000, "output_tokens": 5, "cache_read_input_tokens": 60_000},
        {"input_tokens": 1_000, "output_tokens": 7, "cache_creation_input_tokens": 120_000},
    ]
    usage = GATEWAYS["anthropic"]({**turns[1], "iterations": turns})
    assert (usage["input_total"], usage["context_tokens"]) == (271_000, 150_000)
    assert "context_tokens" not in GATEWAYS["anthropic"](turns[0])


def test_a_context_of_gemini_is_its_prompt_without_what_tools_put_beside_it() -> None:
    raw = {"promptTokenCount": 190_000, "cachedContentTokenCount": 100_000}
    usage = GATEWAYS["gemini"]({**raw, "toolUsePromptTokenCount": 20_000})
    assert (usage["input_total"], usage["context_tokens"]) == (210_000, 190_000)
    assert "context_tokens" not in GATEWAYS["gemini"](raw)


def test_a_modality_of_gemini_given_in_parts_is_their_sum() -> None:
    parts = [{"modality": "TEXT", "tokenCount": 4}, {"modality": "TEXT", "tokenCount": 6}]
    raw = {"promptTokenCount": 10, "promptTokensDetails": parts}
    assert GATEWAYS["gemini"](raw)["modality"] == {"input.text": 10}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_counter_in_an_object_that_nobody_reads_is_handed_on_by_its_name(gateway: str) -> None:
    raw = {
        **LEAST,
        "cache": {"read": {"tokens": 3}, "ratio": 0.5},
        "gen_ai.usage.cache": {"read": {"tokens": 3}},
    }
    name = "gen_ai.usage.cache" if gateway == "otel" else "cache"
    assert GATEWAYS[gateway](raw)["other"][f"unread.{name}.read.tokens"] == 3


@pytest.mark.parametrize(
    ("gateway", "raw"),
    [
        ("bedrock", {"inputTokens": 5}),
        ("bedrock", {"inputTokens": 5, "outputTokens": 1, "totalTokens": 9}),
        ("bedrock", {"inputTokens": 5, "outputTokens": 1.5}),
        (
            "bedrock",
            {
                **{"inputTokens": 5, "outputTokens": 1, "cacheWriteInputTokens": 2},
                "cacheDetails": [{"ttl": "5m", "inputTokens": 3}],
            },
        ),
        ("gemini", {"candidatesTokenCount": 4}),
        ("gemini", {"candidatesTokenCount": 4, "totalTokenCount": 9}),
        ("otel", {**LEAST, "gen_ai.operation.name": "invoke_agent"}),
        ("otel", {**LEAST, "gen_ai.usage.cache_read.input_tokens": 6}),
        ("llamacpp", {"prompt_n": 5}),
        ("openai", {"type": "duration", "seconds": -1}),
        ("openai", {"type": "duration"}),
        ("ollama", {"done": False}),
        ("ollama", {"eval_count": -1}),
        ("cohere", {"billed_units": {"search_units": 0}}),
        ("cohere", {"billed_units": 5}),
    ],
)
def test_counts_that_are_none_or_contradict_one_another_are_refused(
    gateway: str, raw: dict[str, Any]
) -> None:
    with pytest.raises(GatewayUsageError, match="usage"):
        GATEWAYS[gateway](raw)


def test_what_was_heard_is_counted_in_its_own_unit() -> None:
    heard = {"type": "duration", "seconds": 27.5}
    assert GATEWAYS["openai"](heard)["other"] == {"audio.milliseconds": 27_500}
    spoken = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_audio_seconds": 3}
    assert GATEWAYS["openai"](spoken)["other"] == {"audio.seconds": 3}


def test_searches_that_a_relay_counts_in_details_are_counted() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    inside = {"prompt_tokens_details": {"cached_tokens": 0, "web_search_requests": 2}}
    for beside in ({}, {"server_tool_use": {"web_search_requests": 2}}):
        assert GATEWAYS["openai"]({**usage, **inside, **beside})["other"] == {
            "web_search.requests": 2
        }
    assert "other" not in GATEWAYS["openai"]({**usage, "prompt_tokens_details": {}})


def test_silence_that_is_charged_by_its_length_is_nothing() -> None:
    for nothing in (0, 0.0):
        usage = GATEWAYS["openai"]({"type": "duration", "seconds": nothing})
        assert (usage["input_total"], usage["output_total"]) == (0, 0)
        assert "other" not in usage


@pytest.mark.parametrize(
    ("gateway", "raw"),
    [
        ("openai", {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}),
        ("anthropic", {"input_tokens": 12, "output_tokens": 3, "cache_read_input_tokens": 4}),
        ("gemini", {"promptTokenCount": 12, "candidatesTokenCount": 3, "totalTokenCount": 15}),
        ("bedrock", {"inputTokens": 12, "outputTokens": 3}),
        ("cohere", {"billed_units": {"input_tokens": 12, "output_tokens": 3, "search_units": 2}}),
        ("otel", {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3}),
    ],
)
def test_counts_that_a_library_has_as_doubles_are_the_same_counts(
    gateway: str, raw: dict[str, Any]
) -> None:
    doubled = json.loads(json.dumps(raw), parse_int=float)
    assert GATEWAYS[gateway](doubled) == GATEWAYS[gateway](raw)
    with pytest.raises(GatewayUsageError, match="whole number"):
        GATEWAYS["openai"]({"prompt_tokens": 2.0**60, "completion_tokens": 1})


@pytest.mark.parametrize("gateway", ["openai", "anthropic", "gemini", "bedrock", "otel"])
def test_counts_that_json_of_protobuf_writes_as_digits_are_the_same_counts(gateway: str) -> None:
    cases = json.loads((GOLDEN / f"{gateway}.json").read_text(encoding="utf-8"))
    for usage in (case["usage"] for case in cases):
        assert GATEWAYS[gateway](_as_digits(usage)) == GATEWAYS[gateway](usage)


def _as_digits(value: Any) -> Any:
    """Whole numbers below as JSON of protobuf writes those of 64 bits."""
    if isinstance(value, dict):
        return {name: _as_digits(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_digits(each) for each in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("odd", ["", "5.0", "-5", " 5", "٥", "1e3", "9" * 20, 10**15 + 1, 2**63])
def test_digits_of_another_form_and_counts_that_no_ledger_takes_are_refused(odd: Any) -> None:
    with pytest.raises(GatewayUsageError, match=r"usage\.prompt_tokens.*whole number"):
        GATEWAYS["openai"]({"prompt_tokens": odd, "completion_tokens": 1})


def test_details_of_gemini_tell_a_count_that_stands_nowhere_else() -> None:
    cached = [{"modality": "TEXT", "tokenCount": 60}]
    raw = {"promptTokenCount": 100, "candidatesTokenCount": 5, "totalTokenCount": 105}
    read = GATEWAYS["gemini"]({**raw, "cacheTokensDetails": cached})
    assert (read["input"]["uncached"], read["input"]["cache_read"]) == (40, 60)
    drawn = [{"modality": "IMAGE", "tokenCount": 1290}]
    read = GATEWAYS["gemini"]({"promptTokenCount": 100, "candidatesTokensDetails": drawn})
    assert (read["output_total"], read["modality"]) == (1290, {"output.image": 1290})
    heard = [{"modality": "AUDIO", "tokenCount": 6}]
    live = {"promptTokenCount": 100, "responseTokenCount": 7, "responseTokensDetails": heard}
    assert GATEWAYS["gemini"](live)["output_total"] == 7


def test_reasoning_of_research_is_beside_the_answer_and_in_no_total() -> None:
    raw = {"prompt_tokens": 108, "completion_tokens": 3256, "total_tokens": 3364}
    research = {"citation_tokens": 7299, "num_search_queries": 74, "reasoning_tokens": 73248}
    read = GATEWAYS["openai"](raw | research)
    assert read["output"] == {"visible": 3256, "reasoning": 73248}
    assert read["other"]["unread.citation_tokens"] == 7299
    with pytest.raises(GatewayUsageError, match="send counts of one answer"):
        GATEWAYS["openai"]({**raw, "reasoning_tokens": 73248})


def test_details_under_the_names_of_langchain_are_the_same_details() -> None:
    totals = {"input_tokens": 100, "output_tokens": 9, "total_tokens": 109}
    theirs = {
        "input_token_details": {"cache_read": 40, "cache_creation": 20, "audio": 7},
        "output_token_details": {"reasoning": 4},
    }
    read = GATEWAYS["openai"](totals | theirs)
    assert read["input"] == {"uncached": 40, "cache_read": 40, "cache_write": 20}
    assert read["output"] == {"visible": 5, "reasoning": 4}
    assert (read["modality"], "other" in read) == ({"input.audio": 7}, False)
    lasting = {"cache_read": 40, "cache_creation": 0, "ephemeral_1h_input_tokens": 20}
    read = GATEWAYS["openai"]({**totals, "input_token_details": lasting})
    assert (read["input"]["uncached"], read["input"]["cache_write_1h"]) == (40, 20)
    assert (read["input_total"], "other" in read) == (100, False)


@pytest.mark.parametrize("written", [{}, {"cache_creation_input_tokens": 0}])
def test_a_split_of_writes_without_their_total_is_taken_from_the_prompt_that_it_is_in(
    written: dict[str, int],
) -> None:
    split = {"cache_creation": {"ephemeral_5m_input_tokens": 40}, "cached_tokens": 10, **written}
    raw = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": split}
    read = GATEWAYS["openai"](raw)
    assert (read["input_total"], read["input"]["uncached"]) == (100, 50)


def test_details_of_nothing_are_written_as_a_list_by_some() -> None:
    raw = {"prompt_tokens": 9, "completion_tokens": 5}
    assert GATEWAYS["openai"]({**raw, "prompt_tokens_details": []}) == GATEWAYS["openai"](raw)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_what_nobody_reads_is_handed_on_whatever_form_it_has(gateway: str) -> None:
    name = "gen_ai.usage.new_tokens" if gateway == "otel" else "new_tokens"
    for new in (12.0, "12", [{"n": 5}, {"n": 7}, None]):
        other = GATEWAYS[gateway]({**LEAST, name: new, "request": "12"})["other"]
        assert [n for key, n in other.items() if key.startswith(f"unread.{name}")] == [12]
    huge = {**LEAST, name: 10**15 + 1}
    assert f"unread.{name}" not in GATEWAYS[gateway](huge).get("other", {})


def test_video_is_a_kind_of_its_own_wherever_its_tokens_stand() -> None:
    usage = GATEWAYS["openai"](
        {
            **{"prompt_tokens": 900, "completion_tokens": 5},
            "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 20, "video_tokens": 880},
        }
    )
    assert usage["modality"] == {"input.text": 20, "input.video": 880}
    assert "other" not in usage


def test_a_reranking_is_charged_by_its_searches() -> None:
    usage = GATEWAYS["cohere"]({"billed_units": {"search_units": 2}})
    assert usage["other"] == {"billed_units.search_units": 2}
    assert (usage["input_total"], usage["output_total"]) == (0, 0)


def test_an_answer_of_ollama_that_is_not_done_is_not_final() -> None:
    usage = GATEWAYS["ollama"]({"eval_count": 3, "done": False})
    assert (usage["source"], usage["complete"]) == ("provider_running", False)


def test_a_total_of_gemini_that_its_parts_do_not_make_is_refused() -> None:
    raw = {"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 9}
    with pytest.raises(GatewayUsageError, match="totalTokenCount"):
        GATEWAYS["gemini"](raw)


def test_a_split_of_more_than_its_total_is_refused() -> None:
    raw = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 6},
    }
    with pytest.raises(GatewayUsageError, match="cache_creation_input_tokens"):
        GATEWAYS["anthropic"](raw)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_counter_that_nobody_reads_is_handed_on_by_its_name(gateway: str) -> None:
    raw = {
        **LEAST,
        UNREAD.get(gateway, "cached_video_tokens"): 3,
        "cost": 0.1,
    }
    name = UNREAD.get(gateway, "cached_video_tokens")
    assert GATEWAYS[gateway](raw)["other"][f"unread.{name}"] == 3


@pytest.mark.parametrize(
    ("gateway", "name"),
    [
        *(("openai", name) for name in ("input_cached_tokens", "cached_prompt_text_tokens")),
        *(("openai", name) for name in ("cache_read_input_token_count", "cache_hit_tokens")),
        *(
            ("otel", f"gen_ai.usage.{name}")
            for name in (
                "details.cached_tokens",
                "details.cache_read_tokens",
                "input_tokens.cached",
            )
        ),
    ],
)
def test_cached_tokens_are_found_wherever_they_are_said(gateway: str, name: str) -> None:
    usage = GATEWAYS[gateway](LEAST | {name: 3})
    assert (usage["input"]["uncached"], usage["input"]["cache_read"]) == (2, 3)


def test_a_split_of_writes_without_their_total_is_counted() -> None:
    split = [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}]
    usage = GATEWAYS["bedrock"]({"inputTokens": 5, "outputTokens": 1, "cacheDetails": split})
    assert usage["input"]["cache_write_1h"] == 60
    assert usage["input_total"] == 105
    unheard = [{"ttl": "24h", "inputTokens": 7}]
    usage = GATEWAYS["bedrock"]({"inputTokens": 5, "outputTokens": 1, "cacheDetails": unheard})
    assert (usage["input"]["cache_write"], usage["input_total"]) == (7, 12)


def test_what_nobody_reads_of_input_and_output_is_told_apart() -> None:
    raw = {
        **{"prompt_tokens": 9, "completion_tokens": 5},
        "prompt_tokens_details": {"provisioned_tokens": 3},
        "completion_tokens_details": {"provisioned_tokens": 1},
    }
    assert GATEWAYS["openai"](raw)["other"] == {
        "unread.provisioned_tokens.input": 3,
        "unread.provisioned_tokens.output": 1,
    }


@pytest.mark.parametrize("total", [7, 59])
def test_a_span_whose_total_no_reading_of_its_parts_makes_is_refused(total: int) -> None:
    raw = {
        **{"gen_ai.usage.input_tokens": 30, "gen_ai.usage.output_tokens": 9},
        **{"gen_ai.usage.cache_read_input_tokens": 20, "gen_ai.usage.reasoning_tokens": 20},
        "llm.usage.total_tokens": total,
    }
    with pytest.raises(GatewayUsageError, match="total_tokens"):
        GATEWAYS["otel"](raw)


def test_a_count_seen_before_a_break_is_never_final() -> None:
    usage = GATEWAYS["openai"]({"prompt_tokens": 5, "completion_tokens": 1}, complete=False)
    assert (usage["source"], usage["complete"]) == ("provider_running", False)


def test_every_file_of_the_folder_is_in_the_table() -> None:
    folder = Path(collectors.gateways.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "fields"}
    assert files == set(GATEWAYS)
