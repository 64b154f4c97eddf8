"""What is known of joules a token holds, and what is off by a unit does not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.plausible import LESS, MORE, WorkHour, find_implausible

HOUR = datetime(2026, 8, 6, 11, tzinfo=UTC)
# Published joules of an output token by ML.ENERGY: model, GPUs, in batches of 8, in large ones.
PUBLISHED = (
    ("Llama-3.1-8B-Instruct", 1, 0.455, 0.071),
    ("Llama-3.1-8B-Instruct", 1, 0.391, 0.047),
    ("Qwen3-8B", 1, 0.444, 0.072),
    ("Qwen3-14B", 1, 0.706, 0.112),
    ("gemma-3-27b-it", 2, 1.549, 0.290),
    ("Qwen3-32B", 2, 1.627, 0.228),
    ("Llama-3.1-70B-Instruct", 4, 3.759, 0.373),
    ("Llama-3.1-70B-Instruct", 2, 3.569, 0.189),
    ("Llama-3.1-405B-Instruct-FP8", 8, 13.98, 2.06),
    ("Qwen3-30B-A3B", 2, 0.823, 0.089),
    ("Qwen3-235B-A22B-FP8", 8, 11.39, 0.741),
    ("DeepSeek-V3.1", 8, 8.57, 0.606),
    ("gpt-oss-120b", 2, 0.782, 0.086),
    ("gpt-oss-20b", 1, 0.356, 0.044),
    ("DeepSeek-R1", 8, 9.87, 2.38),
)
# By the batch law fitted to them: joules of a token by itself and of a step.
LAWS = (
    ("llama-3.1-8b", 1, 0.0665, 3.16),
    ("qwen3-14b", 1, 0.0910, 4.90),
    ("qwen3-32b", 2, 0.1889, 11.47),
    ("llama-3.1-70b", 4, 0.3596, 27.43),
    ("llama-3.1-405b", 8, 1.680, 96.06),
    ("qwen3-235b-a22b", 8, 0.595, 92.8),
)


def hour(model: str, gpus: int, joules: float, output: int = 100_000) -> WorkHour:
    """An hour in which an output token took so many joules, prompts left out."""
    return WorkHour("chat", model, gpus, HOUR, round(joules * output * 1_000), 0, 0, 0, output)


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda row: f"{row[0]} {row[3]}")
def test_what_was_published_is_plausible_and_not_in_another_unit(
    published: tuple[str, int, float, float],
) -> None:
    model, gpus, *joules = published
    assert [find_implausible([hour(model, gpus, each)]) for each in joules] == [[], []]
    (more,) = find_implausible([hour(model, gpus, joules[0] * 1_000)])
    assert more.reason == MORE
    less = [find_implausible([hour(model, gpus, each / 1_000)])[0].reason for each in joules]
    assert less == [LESS, LESS]


@given(
    law=st.sampled_from(LAWS),
    batch=st.integers(1, 256),
    prompt=st.integers(0, 20_000),
    cached=st.integers(0, 20_000),
    length=st.integers(10, 2_000),
)
def test_no_batch_and_no_prompt_of_a_known_model_is_implausible(
    law: tuple[str, int, float, float], batch: int, prompt: int, cached: int, length: int
) -> None:
    model, gpus, token, step = law
    output = 1_000 * length
    # A token of a prompt takes less than one of an answer does by itself; of context a little.
    answers = output * (token + step / batch)
    joules = answers + 1_000 * (prompt * token / 3 + cached * token / 300)
    work = hour(model, gpus, 1, output)
    work = replace(
        work, device_mj=round(joules * 1_000), uncached=1_000 * prompt, cache_read=1_000 * cached
    )
    assert find_implausible([work]) == []
    # Nor where engines counted their steps, of all that was written or of nearly all.
    for counted in (output, output * 4 // 5):
        stepped = replace(work, steps=-(-counted // batch), stepped_output=counted)
        assert find_implausible([stepped]) == []


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law[0])
def test_with_a_known_batch_less_is_possible(
    law: tuple[str, int, float, float],
) -> None:
    model, gpus, token, step = law
    # What answers of 64 take, ten times; alone they might.
    work = hour(model, gpus, 10 * (token + step / 64))
    by_64 = replace(work, steps=100_000 // 64, stepped_output=100_000)
    assert [each.reason for each in find_implausible([by_64])] == [MORE]
    # Engines that counted half of it say little of the rest, nor do more steps than tokens.
    for steps, counted in ((500, 50_000), (200_000, 100_000), (0, 0)):
        assert find_implausible([replace(work, steps=steps, stepped_output=counted)]) == []


def test_hours_are_put_together_and_few_tokens_say_nothing() -> None:
    wrong = hour("llama-8b", 1, 400)
    later = replace(wrong, hour_start=HOUR.replace(hour=15))
    few = replace(hour("llama-8b", 1, 400, 999), hour_start=HOUR.replace(hour=16))
    unread = hour("llama-8b", 1, 0)
    (seen,) = find_implausible([later, few, wrong, unread])
    assert (seen.hours, seen.first_hour, seen.last_hour) == (2, HOUR, later.hour_start)
    assert (seen.device_mj, seen.output) == (2 * wrong.device_mj, 200_000)
    assert seen.low_mj < seen.high_mj < seen.device_mj


@pytest.mark.parametrize("model", ["mixtral-8x7b", "deepseek-v3-r1", "claude", "v3.1b2"])
def test_a_name_without_a_size_may_be_any_model(model: str) -> None:
    assert find_implausible([hour(model, 8, 98), hour(model, 1, 0.03)]) == []
    assert len(find_implausible([hour(model, 8, 0.001)])) == 1
