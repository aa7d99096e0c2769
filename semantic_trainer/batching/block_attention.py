"""Attention in shared-prefix rows, example by example: each against the head and itself, not against a whole row.

A row of several examples under one (T, T) mask computes every example's scores with every other's, and then masks
them. Here an example's L queries meet H + L keys: for short examples a small share of the row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .shared_prefix import HEAD

NAME = "shared_prefix"


@dataclass(frozen=True)
class Blocks:
    """Where the F examples of R rows of T tokens lie.

    Attributes:
        rows: (R, T), the shape it was made for.
        head: H, tokens of the head.
        row: (F,) the row of each example.
        own: (F, L) the flat position `r * T + t` of each example's tokens; behind its end any position.
        mask: (F, 1, L, H + L) float32, 0 where a query sees a key, -inf elsewhere.
        place: (R * T,) for each position of the rows, where it lies in the R * H head positions and the F * L of `own`
            behind them; for padding any place.
    """

    rows: tuple[int, int]
    head: int
    row: torch.Tensor
    own: torch.Tensor
    mask: torch.Tensor
    place: torch.Tensor

    @classmethod
    def of(cls, segment_ids: torch.Tensor) -> "Blocks":
        """The blocks of (R, T) segment ids as `SharedPrefixRows` has them.

        Example:
            >>> blocks = Blocks.of(torch.tensor([[0, 1, 1, 2]]))
            >>> blocks.head, blocks.own.tolist(), blocks.place.tolist()
            (1, [[1, 2], [3, 0]], [0, 1, 2, 3])
        """
        rows, length = segment_ids.shape
        head = int((segment_ids[0] == HEAD).sum())
        flat = segment_ids.flatten()
        found = [(flat == i).nonzero()[:, 0] for i in range(1, int(flat.max()) + 1)]  # F positions each
        own = pad_sequence(found, batch_first=True)
        lengths, longest = torch.tensor([len(part) for part in found]), own.shape[1]
        keys = torch.arange(head + longest)
        seen = keys[None, :] <= head + torch.arange(longest)[:, None]  # (L, H + L)
        inside = keys[None, :] < head + lengths[:, None]  # (F, H + L)
        mask = torch.zeros(len(found), longest, head + longest).masked_fill(~(seen & inside[:, None]), -torch.inf)
        place = torch.zeros(rows * length, dtype=torch.long)
        place[(flat == HEAD).nonzero()[:, 0]] = torch.arange(rows * head)
        for i, part in enumerate(found):
            place[part] = rows * head + i * longest + torch.arange(len(part))
        return cls((rows, length), head, own[:, 0] // length, own, mask[:, None], place)


def block_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, blocks: Blocks, scaling: float
) -> torch.Tensor:
    """What masked attention gives over such rows: (R, T, N, D) from (R, N, T, D) queries.

    Scores, weights and sums are in float32. Keys and values, (R, G, T, D), may be of fewer heads, each for N / G
    queries' heads. Positions of padding hold what another position does.
    """
    rows, heads, length, width = query.shape
    head, (examples, longest), first = blocks.head, blocks.own.shape, (slice(None), slice(None), slice(blocks.head))
    chosen = blocks.own.flatten()

    def own(states: torch.Tensor) -> torch.Tensor:  # (F, heads, L, D)
        flat = states.transpose(1, 2).reshape(rows * length, -1).index_select(0, chosen).float()
        return flat.view(examples, longest, -1, width).transpose(1, 2)

    def with_head(states: torch.Tensor) -> torch.Tensor:  # (F, heads, H + L, D)
        return torch.cat([states[first].float().index_select(0, blocks.row), own(states)], dim=2)

    parts = [_attend(own(query), with_head(key), with_head(value), blocks.mask, scaling)]
    if head:
        causal = torch.full((head, head), -torch.inf).triu(1).expand(rows, 1, head, head)
        parts.insert(0, _attend(query[first].float(), key[first].float(), value[first].float(), causal, scaling))
    out = torch.cat([part.reshape(-1, heads * width) for part in parts]).to(query.dtype)
    return out.index_select(0, blocks.place).view(rows, length, heads, width)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """(B, Q, N, D) from (B, N, Q, D) queries and (B, G, K, D) keys and values; mask (B, 1, Q, K) of what is added."""
    (batch, heads, queries, width), (groups, keys) = query.shape, key.shape[1:3]
    each = heads // groups
    grouped = query.reshape(batch * groups, each * queries, width)
    added = mask[:, :, None].expand(batch, groups, each, queries, keys).reshape(batch * groups, each * queries, keys)
    key, value = key.reshape(batch * groups, keys, width), value.reshape(batch * groups, keys, width)
    weights = torch.baddbmm(added, grouped, key.transpose(1, 2), alpha=scaling).softmax(-1)
    return torch.bmm(weights, value).view(batch, heads, queries, width).transpose(1, 2)


class _Current:
    """The rows that are in a model now, their backward pass included: their mask, (R, 1, T, T), and their blocks."""

    in_use: bool = False
    mask: torch.Tensor | None = None
    blocks: Blocks | None = None


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: object,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function of the name "shared_prefix": that of "sdpa" under any other mask."""
    ours = _Current.mask is not None and attention_mask is not None and attention_mask.shape == _Current.mask.shape
    ours = ours and attention_mask.data_ptr() == _Current.mask.data_ptr() and query.shape[2] == key.shape[2]
    plain = not dropout and more.get("position_bias") is None and more.get("softcap") is None
    if not (ours and plain and query.shape[-1] == value.shape[-1]):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **more)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return block_attention(query, key, value, _Current.blocks, scaling), None


@contextmanager
def blockwise(model: torch.nn.Module, enabled: bool = True) -> Iterator[bool]:
    """Let a model's attention go by the blocks of `in_blocks` while the context lasts.

    Only on a CPU, and only in place of "sdpa": accelerators are quicker with one large masked product, and any other
    attention was chosen for a reason.

    Yields:
        Whether it does.

    Example:
        >>> with blockwise(model):
        ...     model(**in_blocks(model_inputs(rows, model), rows.segment_ids)).logits.sum().backward()
    """
    config = model.config.get_text_config() if hasattr(model, "config") else None
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if not (enabled and on_cpu and getattr(config, "_attn_implementation", None) == "sdpa"):
        yield False
        return
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    config._attn_implementation, _Current.in_use = NAME, True
    try:
        yield True
    finally:
        config._attn_implementation, _Current.in_use = "sdpa", False
        _Current.mask = _Current.blocks = None


def in_blocks(inputs: dict[str, torch.Tensor], segment_ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same inputs; inside `blockwise`, attention under their mask goes by the blocks of (R, T) segment ids."""
    if _Current.in_use:
        _Current.mask, _Current.blocks = inputs["attention_mask"], Blocks.of(segment_ids)
    return inputs
