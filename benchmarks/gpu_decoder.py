"""A decoder of the shape of an 8B model with random weights, and the cache of its sequences.

Run by a Python that has torch and triton. What it computes is of no use; that it computes it costs
the energy that a real model of its size would: an answer's word reads all weights, whatever the
batch, and the keys and values of its own sequence, whatever the length of others.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch.nn import functional

# Sizes of batch that a step is recorded for: it is replayed with one launch, as servers do it.
BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64)
# Rows that a matrix unit takes at least.
ROWS = 16
BLOCK = 64


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with grouped queries; its cache holds `sequences` of `tokens` at most."""

    layers: int = 32
    width: int = 4_096
    heads: int = 32
    kept_heads: int = 8
    inner: int = 14_336
    words: int = 128_256
    tokens: int = 8_192
    sequences: int = BATCHES[-1]

    @property
    def head(self) -> int:
        """Numbers of a head."""
        return self.width // self.heads


def _attend(  # noqa: PLR0913, PLR0917
    mixed: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    lengths: tl.tensor,
    seen: tl.tensor,
    HEADS: tl.constexpr,  # noqa: N803
    KEPT: tl.constexpr,  # noqa: N803
    HEAD: tl.constexpr,  # noqa: N803
    TOKENS: tl.constexpr,  # noqa: N803
    ROWS: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    """Attention of one sequence's new word in one kept head, whose key and value it keeps."""
    row, kept = tl.program_id(0), tl.program_id(1)
    length = tl.load(lengths + row)
    if length >= 0:
        group: tl.constexpr = HEADS // KEPT
        numbers, heads = tl.arange(0, HEAD), tl.arange(0, ROWS)
        at = mixed + row * (HEADS + 2 * KEPT) * HEAD
        places = (kept * group + heads[:, None]) * HEAD + numbers[None, :]
        is_head = (heads < group)[:, None]
        q = tl.load(at + places, mask=is_head, other=0.0)
        k = tl.load(at + (HEADS + kept) * HEAD + numbers)
        v = tl.load(at + (HEADS + KEPT + kept) * HEAD + numbers)
        base = (row * KEPT + kept).to(tl.int64) * TOKENS * HEAD
        tl.store(keys + base + length * HEAD + numbers, k)
        tl.store(values + base + length * HEAD + numbers, v)
        scale = HEAD**-0.5
        most = tl.sum(q.to(tl.float32) * k[None, :].to(tl.float32), axis=1) * scale
        total = tl.full((ROWS,), 1.0, tl.float32)
        summed = tl.zeros((ROWS, HEAD), tl.float32) + v[None, :].to(tl.float32)
        for since in range(0, length, BLOCK):
            column = since + tl.arange(0, BLOCK)
            is_past = column < length
            past = base + column[:, None] * HEAD + numbers[None, :]
            held = tl.load(keys + past, mask=is_past[:, None], other=0.0)
            scores = tl.dot(q, tl.trans(held)) * scale
            scores = tl.where(is_past[None, :], scores, float("-inf"))
            higher = tl.maximum(most, tl.max(scores, axis=1))
            parts = tl.exp(scores - higher[:, None])
            fade = tl.exp(most - higher)
            held = tl.load(values + past, mask=is_past[:, None], other=0.0)
            summed = summed * fade[:, None] + tl.dot(parts.to(held.dtype), held)
            total = total * fade + tl.sum(parts, axis=1)
            most = higher
        out = summed / total[:, None]
        tl.store(seen + row * HEADS * HEAD + places, out.to(v.dtype), mask=is_head)


look_back = triton.jit(_attend)


class Decoder:
    """Weights and cache on one device; `prefill` and `decode` are steps of an engine."""

    def __init__(self, device: str, shape: Shape = Shape()) -> None:
        self.shape, self.device = shape, device
        kind = torch.bfloat16 if device == "cuda" else torch.float32

        def weights(*size: int) -> torch.Tensor:
            return torch.randn(*size, device=device, dtype=kind).mul_(0.02)

        self.embedding = weights(shape.words, shape.width)
        mixed = (shape.heads + 2 * shape.kept_heads) * shape.head
        sizes = {
            "qkv": (shape.width, mixed),
            "out": (shape.width, shape.width),
            "gate": (shape.width, shape.inner),
            "up": (shape.width, shape.inner),
            "down": (shape.inner, shape.width),
        }
        self.blocks = [
            {name: weights(*size) for name, size in sizes.items()} for _ in range(shape.layers)
        ]
        held = (shape.layers, 2, shape.sequences, shape.kept_heads, shape.tokens, shape.head)
        self.cache = torch.zeros(held, device=device, dtype=kind)
        self.words = torch.zeros(shape.sequences, device=device, dtype=torch.int64)
        # Of sequences in use, what each has in the cache; -1 of places that are free.
        self.written = torch.full((shape.sequences,), -1, device=device, dtype=torch.int32)
        self.lengths: list[int] = []
        self.steps = {size: self._recorded(size) for size in BATCHES if size <= shape.sequences}

    @property
    def is_full(self) -> bool:
        """Whether no sequence more finds a place."""
        return len(self.lengths) == self.shape.sequences

    def prefill(self, length: int) -> None:
        """Read a prompt of so many words into a new place."""
        shape, place = self.shape, len(self.lengths)
        x = self.embedding[torch.randint(shape.words, (length,), device=self.device)]
        sizes = [n * shape.head for n in (shape.heads, shape.kept_heads, shape.kept_heads)]
        for block, cache in zip(self.blocks, self.cache, strict=True):
            parts = (self._normal(x) @ block["qkv"]).split(sizes, dim=-1)
            q, k, v = (part.reshape(1, length, -1, shape.head).transpose(1, 2) for part in parts)
            cache[0, place, :, :length] = k[0]
            cache[1, place, :, :length] = v[0]
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            x = self._after(x, seen[0].transpose(0, 1).reshape(length, shape.width), block)
        self.lengths.append(length)
        self._finish()

    def decode(self) -> None:
        """Write a word more of every sequence."""
        count = len(self.lengths)
        free = [-1] * (self.shape.sequences - count)
        self.written.copy_(torch.tensor(self.lengths + free, dtype=torch.int32))
        self.steps[min(size for size in self.steps if size >= count)]()
        self.lengths = [length + 1 for length in self.lengths]
        self._finish()

    def drop(self, place: int) -> None:
        """End a sequence; the last one takes its place."""
        last = len(self.lengths) - 1
        if place != last:
            length = self.lengths[last]
            self.cache[:, :, place, :, :length] = self.cache[:, :, last, :, :length]
            self.lengths[place] = length
        self.lengths.pop()

    def _recorded(self, size: int) -> Callable[[], None]:
        """A step of so many sequences; of a GPU, recorded once and replayed."""
        if self.device != "cuda":
            return lambda: self._step(size)
        self._step(size)
        self._finish()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(size)
        replay: Callable[[], None] = graph.replay
        return replay

    def _step(self, size: int) -> None:
        shape = self.shape
        x = self.embedding[self.words[:size]]
        for block, cache in zip(self.blocks, self.cache, strict=True):
            mixed = self._normal(x) @ block["qkv"]
            seen = torch.zeros((size, shape.width), device=self.device, dtype=x.dtype)
            look_back[size, shape.kept_heads](
                mixed, cache[0], cache[1], self.written, seen,
                HEADS=shape.heads, KEPT=shape.kept_heads, HEAD=shape.head, TOKENS=shape.tokens,
                ROWS=ROWS, BLOCK=BLOCK,
            )  # fmt: skip
            x = self._after(x, seen, block)
        self.words[:size] = (x @ self.embedding.T).argmax(dim=-1)

    def _finish(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x, (self.shape.width,))

    def _after(
        self, x: torch.Tensor, seen: torch.Tensor, block: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        x = x + seen @ block["out"]
        inner = self._normal(x)
        gate = functional.silu(inner @ block["gate"])
        return x + (gate * (inner @ block["up"])) @ block["down"]
