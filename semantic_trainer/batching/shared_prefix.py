"""Shared-prefix rows: the common head of the prompts once, then several examples that each see it and themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .positions import IGNORED

ROW_TOKENS = 512
TAKES_BOOLEANS = ("sdpa", "shared_prefix")  # attention that takes a mask as it is
HEAD, PADDING = 0, -1  # segment ids; example i of a batch has the id i + 1


@dataclass(frozen=True)
class SharedPrefixRows:
    """Examples laid out in R rows of T tokens.

    Attributes:
        input_ids: (R, T) the head, then examples without it, then padding.
        position_ids: (R, T) restarting behind the head in every example, as if it stood alone.
        segment_ids: (R, T) 0 in the head, `i + 1` in example i, -1 in the padding.
        shift_labels: (R, T) the token behind each position, -100 where none is to be predicted. The head is shorter
            than every prompt, so that each target's predecessor lies in its own example; an example's last token
            precedes nothing, and is left out.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segment_ids: torch.Tensor
    shift_labels: torch.Tensor


def common_head(prompts: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix, shorter than the shortest prompt.

    Example:
        >>> common_head([[7, 8, 1, 2], [7, 8, 3]]), common_head([[7, 8]])
        (2, 1)
    """
    first, last = min(prompts), max(prompts)  # what these two share, all share
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return max(0, min(shared, min(map(len, prompts)) - 1))


def prompt_length(labels: Sequence[int]) -> int:
    """Tokens before the first target; all of them where there is none."""
    return next((i for i, label in enumerate(labels) if label != IGNORED), len(labels))


def deal(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the examples of each row: as few rows as `room` tokens allow, about equally long.

    The longest examples are dealt out first, each to the shortest row so far; a row may come out a little longer than
    `room`, and one longer example has a row of its own.

    Example:
        >>> deal([5, 3, 3, 4], room=8)
        [[0, 1], [2, 3]]
    """
    rows: list[list[int]] = [[] for _ in range(min(len(lengths), -(-sum(lengths) // room)))]
    filled = [0] * len(rows)
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        shortest = filled.index(min(filled))
        rows[shortest].append(i)
        filled[shortest] += lengths[i]
    return [sorted(row) for row in rows]


def shared_prefix_rows(
    input_ids: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    pad_token_id: int = 0,
    row_tokens: int = ROW_TOKENS,
) -> SharedPrefixRows:
    """Lay B examples out in rows of about `row_tokens` tokens, or twice the head where that is longer.

    Args:
        input_ids: B lists of token ids, prompt and target; at least one.
        labels: B lists as long, -100 over the prompt; at least two tokens an example.

    Example:
        >>> rows = shared_prefix_rows([[7, 8, 1, 2], [7, 8, 3, 4]], [[-100, -100, -100, 2], [-100, -100, -100, 4]])
        >>> rows.input_ids.tolist(), rows.position_ids.tolist(), rows.segment_ids.tolist()
        ([[7, 8, 1, 3]], [[0, 1, 2, 2]], [[0, 0, 1, 2]])
        >>> rows.shift_labels.tolist()
        [[-100, -100, 2, 4]]
    """
    lengths = map(prompt_length, labels)
    input_ids, labels = [ids[:-1] for ids in input_ids], [row[1:] for row in labels]
    head = common_head([ids[:n] for ids, n in zip(input_ids, lengths, strict=True)])
    room = max(row_tokens - head, head, 1)
    rows = deal([len(ids) - head for ids in input_ids], room)
    length = head + max(sum(len(input_ids[i]) - head for i in row) for row in rows)
    out = {name: [] for name in SharedPrefixRows.__annotations__}
    for row in rows:
        parts = {
            "input_ids": [*input_ids[row[0]][:head], *(token for i in row for token in input_ids[i][head:])],
            "position_ids": [*range(head), *(k for i in row for k in range(head, len(input_ids[i])))],
            "segment_ids": [HEAD] * head + [i + 1 for i in row for _ in input_ids[i][head:]],
            "shift_labels": [IGNORED] * head + [label for i in row for label in labels[i][head:]],
        }
        fill = {"input_ids": pad_token_id, "position_ids": 0, "segment_ids": PADDING, "shift_labels": IGNORED}
        for name, values in parts.items():
            out[name].append(values + [fill[name]] * (length - len(values)))
    return SharedPrefixRows(**{name: torch.tensor(values) for name, values in out.items()})


def shared_prefix_mask(segment_ids: torch.Tensor) -> torch.Tensor:
    """(R, 1, T, T) bool: a token sees itself, what is before it in its own segment, and the head."""
    same = segment_ids[:, :, None] == segment_ids[:, None, :]  # (R, T, T)
    seen = (same | (segment_ids == HEAD)[:, None, :]).tril()
    return seen[:, None]


def model_inputs(rows: SharedPrefixRows | dict, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a forward pass takes of such rows: ids, positions and the mask in the form that its attention adds or uses.

    Scaled-dot-product attention uses the mask as it is; others add zeros and large negative numbers to their scores.
    """
    if isinstance(rows, SharedPrefixRows):
        rows = vars(rows)
    config = model.config.get_text_config()
    mask = shared_prefix_mask(rows["segment_ids"])
    if getattr(config, "_attn_implementation", None) not in TAKES_BOOLEANS:
        dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())  # not that of packed weights
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
    return {"input_ids": rows["input_ids"], "position_ids": rows["position_ids"], "attention_mask": mask}
