"""The inference servers whose counters can be read; a new one is a file here and a line below."""

from collections.abc import Mapping
from types import MappingProxyType

from collectors.engines import dynamo, llamacpp, lmdeploy, nim, sglang, tgi, triton, trtllm, vllm
from collectors.engines.counters import EngineMap

ENGINES: Mapping[str, EngineMap] = MappingProxyType(
    {
        "dynamo": dynamo.ENGINE,
        "llamacpp": llamacpp.ENGINE,
        "lmdeploy": lmdeploy.ENGINE,
        "nim": nim.ENGINE,
        "sglang": sglang.ENGINE,
        "tgi": tgi.ENGINE,
        "triton": triton.ENGINE,
        "trtllm": trtllm.ENGINE,
        "vllm": vllm.ENGINE,
    }
)
