"""What a usage object is counted as is shown without sending it, and what is wrong in one line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from collectors.errors import GatewayUsageError
from ledger.commands.review.usage import usage

ANSWER = {
    "id": "chatcmpl-1",
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 5},
        "video_tokens": 3,
    },
}


def explain(text: str, *options: str, form: str = "openai") -> str:
    arguments = ["explain", "-", "--form", form, *options]
    return CliRunner().invoke(usage, arguments, input=text, catch_exceptions=False).stdout


def test_an_answer_is_explained_leaf_by_leaf() -> None:
    shown = explain(json.dumps(ANSWER))
    for leaf, tokens in (("uncached", "36"), ("cache_read", "64"), ("unread.video_tokens", "3")):
        (row,) = [line for line in shown.splitlines() if f"│ {leaf} " in line]
        assert f" {tokens} " in row
    (row,) = [line for line in shown.splitlines() if "│ reasoning " in line]
    assert " – " in row


def test_json_is_the_usage_of_an_event(tmp_path: Path) -> None:
    found = json.loads(explain(json.dumps(ANSWER["usage"]), "--json"))
    assert found["input"] == {"uncached": 36, "cache_read": 64, "cache_write": 0}
    assert found["source"] == "provider_final"


@pytest.mark.parametrize(
    "text", ["", "[]", "nonsense", '{"usage": {"prompt_tokens": 1}}', "[" * 9999]
)
def test_what_is_no_usage_is_refused(text: str) -> None:
    with pytest.raises(GatewayUsageError):
        explain(text)
