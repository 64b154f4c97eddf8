"""llama.cpp's /metrics to canonical counters: one model a process, no labels, six digits printed.

Its prompt counter holds evaluated tokens only, so it is `prompt_tokens_computed`, and cancelled
requests add no output: a cross-check, never a bill.
"""

from collectors.engines.counters import EngineMap, EngineReading, Rule, read_counters
from collectors.exposition import Exposition

RULES = {
    "prompt_tokens": (Rule("prompt_tokens_computed"),),
    "prompt_tokens_cached": (Rule("prompt_tokens_cached"),),
    "tokens_predicted": (Rule("generation_tokens"),),
    "spec_decode_num_draft_tokens": (Rule("draft_tokens"),),
    "spec_decode_num_accepted_tokens": (Rule("accepted_tokens"),),
}


def read(exposition: Exposition) -> EngineReading:
    """The counters of one scrape; a value in exponent form was rounded by the server."""
    return read_counters(
        exposition,
        prefixes=("llamacpp:", "llamacpp_"),
        rules=RULES,
        anchor="prompt_tokens",
        six_digits=True,
    )


ENGINE = EngineMap(name="llamacpp", path="/metrics", read=read)
