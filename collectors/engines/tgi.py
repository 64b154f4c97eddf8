"""Text Generation Inference's /metrics to canonical counters: histogram sums, no labels, no run.

Input is counted when a request is accepted and output only when it ends well, so a dropped request
leaves input without output.
"""

from collectors.engines.counters import EngineMap, EngineReading, Rule, read_counters
from collectors.exposition import Exposition

RULES = {
    "request_input_length_sum": (Rule("prompt_tokens"),),
    "request_generated_tokens_sum": (Rule("generation_tokens"),),
    "request_success": (Rule("requests_finished"),),
}


def read(exposition: Exposition) -> EngineReading:
    """The counters of one scrape."""
    return read_counters(exposition, prefixes=("tgi_",), rules=RULES, anchor="request_input_length")


ENGINE = EngineMap(name="tgi", path="/metrics", read=read)
