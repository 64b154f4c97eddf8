"""A decoder with random weights through prefill and decode; a JSON line for each phase.

Run by a Python that has torch. What it computes is of no use; that it computes it costs the energy
that a real model of its size would.
"""

import json
import time
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Cache = list[tuple[Tensor, Tensor]]

LAYERS, WIDTH, HEADS, WORDS = 24, 2_048, 16, 32_000
PROMPT, BATCHES, PHASE_S = 1_024, (1, 8, 32), 15.0
CONTEXT_MAX = 4_096


@dataclass
class Model:
    """Weights and a cache of keys and values, on one device."""

    torch: ModuleType
    device: str
    layers: int = LAYERS
    width: int = WIDTH
    heads: int = HEADS
    words: int = WORDS

    def __post_init__(self) -> None:
        kind = self.torch.bfloat16 if self.device == "cuda" else self.torch.float32

        def weights(*shape: int) -> "Tensor":
            return self.torch.randn(*shape, device=self.device, dtype=kind) * 0.02

        self.embedding = weights(self.words, self.width)
        self.blocks = [
            {
                "qkv": weights(self.width, 3 * self.width),
                "out": weights(self.width, self.width),
                "up": weights(self.width, 4 * self.width),
                "down": weights(4 * self.width, self.width),
            }
            for _ in range(self.layers)
        ]

    def forward(self, words: "Tensor", cache: "Cache | None") -> "tuple[Tensor, Cache]":
        """The next word of each sequence, and the cache with these words in it."""
        functional = self.torch.nn.functional
        x, kept = self.embedding[words], []
        batch, length = words.shape
        for number, block in enumerate(self.blocks):
            mixed = functional.layer_norm(x, (self.width,)) @ block["qkv"]
            q, k, v = (self._by_head(part, batch, length) for part in mixed.chunk(3, dim=-1))
            if cache is not None:
                k = self.torch.cat((cache[number][0], k), dim=2)
                v = self.torch.cat((cache[number][1], v), dim=2)
            kept.append((k, v))
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
            x = x + seen.transpose(1, 2).reshape(batch, length, self.width) @ block["out"]
            inner = functional.layer_norm(x, (self.width,)) @ block["up"]
            x = x + functional.gelu(inner) @ block["down"]
        return (x[:, -1] @ self.embedding.T).argmax(dim=-1, keepdim=True), kept

    def _by_head(self, part: "Tensor", batch: int, length: int) -> "Tensor":
        return part.view(batch, length, self.heads, -1).transpose(1, 2)

    def prompt(self, batch: int, length: int) -> "Tensor":
        """Words of no meaning."""
        return self.torch.randint(self.words, (batch, length), device=self.device)

    def finish(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()


Marks = dict[str, float | int]


def prefill(model: Model, batch: int, seconds: float, length: int = PROMPT) -> Marks:
    """Read prompts for so long: from when to when, and the tokens that were read."""
    words, tokens = model.prompt(batch, length), 0
    model.finish()
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        model.forward(words, None)
        model.finish()
        tokens += batch * length
    return {"tokens": tokens, "began_s": began, "ended_s": time.monotonic()}


def decode(model: Model, batch: int, seconds: float, length: int = PROMPT) -> Marks:
    """Write words for so long, or until the context is full; its prompt is read before."""
    words, cache = model.forward(model.prompt(batch, length), None)
    model.finish()
    began, tokens = time.monotonic(), 0
    while time.monotonic() < began + seconds and cache[0][0].shape[2] < CONTEXT_MAX:
        words, cache = model.forward(words, cache)
        model.finish()
        tokens += batch
    return {"tokens": tokens, "began_s": began, "ended_s": time.monotonic()}


def main() -> None:
    """Every phase at every batch size, each after a short one that warms up."""
    import torch

    model = Model(torch, "cuda")
    with torch.inference_mode():
        for batch in BATCHES:
            for name, phase in (("prefill", prefill), ("decode", decode)):
                phase(model, batch, 1.0)
                marks = phase(model, batch, PHASE_S)
                print(json.dumps({"name": name, "batch": batch} | marks), flush=True)


if __name__ == "__main__":
    main()
