"""Triton with the TensorRT-LLM backend: token histograms' sums to canonical counters.

Requests are left out: an ensemble counts one once for itself and once for each model inside it.
"""

from collectors.engines.counters import EngineMap, EngineReading, Rule, read_counters
from collectors.exposition import Exposition

_KIND = "response_metric_type"

RULES = {
    "input_token_len_sum": (Rule("prompt_tokens", where={_KIND: "total_input_tokens"}),),
    "output_token_len_sum": (Rule("generation_tokens", where={_KIND: "total_output_tokens"}),),
}


def read(exposition: Exposition) -> EngineReading:
    """The counters of one scrape."""
    return read_counters(exposition, prefixes=("nv_llm_",), rules=RULES, anchor="input_token_len")


ENGINE = EngineMap(name="triton", path="/metrics", read=read)
