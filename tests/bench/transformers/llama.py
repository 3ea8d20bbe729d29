"""A language model of the LLaMA family in any size: RMSNorm, rotary positions, grouped queries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Shape:
    """Sizes of a network: a vocabulary, and blocks of ``width`` channels."""

    words: int
    width: int
    heads: int
    groups: int
    inner: int
    blocks: int
    base: float = 1e4
    longest: int = 64

    @property
    def head(self) -> int:
        """Channels of a head."""
        return self.width // self.heads


class _Norm(nn.Module):
    """RMSNorm (B. Zhang and R. Sennrich 2019, DOI 10.48550/arXiv.1910.07467)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Any) -> Any:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def _turned(x: Any, cos: Any, sin: Any) -> Any:
    """Rotary positions (J. Su et al. 2021, DOI 10.48550/arXiv.2104.09864)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class _Block(nn.Module):
    """Attention with grouped queries, then a gated layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, few = shape.width, shape.groups * shape.head
        self.q, self.out = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, few, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, shape.inner, bias=False) for _ in range(2))
        self.down = nn.Linear(shape.inner, width, bias=False)
        self.first, self.second = _Norm(width), _Norm(width)

    def forward(self, x: Any, cos: Any, sin: Any, mask: Any) -> Any:
        batch, length, width = x.shape
        heads, groups, head = self.shape.heads, self.shape.groups, self.shape.head
        h = self.first(x)
        q, k, v = (
            part(h).view(batch, length, count, head).transpose(1, 2)
            for part, count in ((self.q, heads), (self.k, groups), (self.v, groups))
        )
        many = (batch, groups, heads // groups, length, head)
        k, v = (
            part[:, :, None].expand(many).reshape(batch, heads, length, head)
            for part in (_turned(k, cos, sin), v)
        )
        scores = _turned(q, cos, sin) @ k.transpose(2, 3) * head**-0.5 + mask
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(mixed)
        h = self.second(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    """Token numbers (windows, tokens) to logits (windows, tokens, words)."""

    cos: torch.Tensor
    sin: torch.Tensor
    later: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.words, shape.width)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.blocks))
        self.norm = _Norm(shape.width)
        self.head = nn.Linear(shape.width, shape.words, bias=False)
        rates = shape.base ** -(torch.arange(0, shape.head, 2) / shape.head)
        angles = torch.outer(torch.arange(shape.longest).float(), rates).repeat(1, 2)
        later = torch.full((shape.longest, shape.longest), -1e4).triu(1)
        for name, table in (("cos", angles.cos()), ("sin", angles.sin()), ("later", later)):
            self.register_buffer(name, table, persistent=False)

    def forward(self, ids: Any) -> Any:
        length = ids.shape[1]
        tables = self.cos[:length], self.sin[:length], self.later[:length, :length]
        x = self.words(ids)
        for block in self.blocks:
            x = block(x, *tables)
        return self.head(self.norm(x))
