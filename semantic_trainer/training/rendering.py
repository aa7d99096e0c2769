"""Rows as TRL renders them: the facts in them, and the prompt format that gives TRL's own prompt tokens."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datasets import Dataset

from ..batching.positions import IGNORED
from ..facts.conversations import read_prompt_completion
from ..facts.cutting import cut
from ..facts.prompts import RENDERED, PromptFormat
from ..facts.schema import replace_columns


@dataclass(frozen=True)
class RenderedFormat(PromptFormat):
    """Prompts that are whole texts already, with a chat template's words in them: nothing is added or stripped."""

    def prompt_text(self, prompt: str) -> str:
        """The prompt itself."""
        return prompt


class NotOneAnswer(ValueError):
    """A row that cannot be asked: why, to be put behind the name of the dataset."""


def rendered_facts(
    rows: Dataset, tokenizer: object, chat_template: str | None = None, skip: Sequence[bool] | None = None
) -> tuple[Dataset, PromptFormat]:
    """`(facts, format)` of `prompt`/`completion` rows that TRL has tokenised.

    The format is one that facts of these questions can be asked in: the chat template around a user's turn, or the
    prompt as it stands. Where the prompts differ in more than the question (earlier turns, tools, system messages of
    their own, blanks at their ends), the facts' prompts are the rendered texts, and the format adds nothing to them.

    Args:
        rows: `prompt`, `completion` as strings or as turns of a chat, `input_ids`, `labels`, after TRL's preparation.
        chat_template: TRL's, where it uses another than the tokenizer's own.
        skip: rows whose first tokens TRL has cut off, so that they cannot be compared.

    Returns:
        The rows with `prompt` and `target` as texts, and the format: the prompt's ids under it are, row by row, the
        first ids of what is trained, and the labels begin behind them.

    Raises:
        NotOneAnswer: a completion that is not one answer in words, or a tokenizer that merges it with its prompt.

    Example:
        >>> facts, form = rendered_facts(trainer.train_dataset, tokenizer)
        >>> facts[0]["target"], form.kind
        ('Paris', 'chat')
    """
    targets = [_target(i, value, tokenizer) for i, value in enumerate(rows["completion"])]
    for prompts, form in _candidates(rows, tokenizer, chat_template):
        wrong = first_mismatch(rows, form.prompt_ids(tokenizer, prompts), skip)
        if wrong is None:
            return replace_columns(rows, {"prompt": prompts, "target": targets}), form
    raise NotOneAnswer(
        f"row {wrong} is tokenised otherwise with its completion than without: the model would be asked in other "
        "tokens than it is trained in (let the prompt end, or the completion begin, at a token's boundary)"
    )


def first_mismatch(rows: Dataset, prompts: Sequence[list[int]], skip: Sequence[bool] | None = None) -> int | None:
    """The first row that does not begin with its prompt's ids, or whose labels begin elsewhere than behind them."""
    for i, (ids, labels, head) in enumerate(zip(rows["input_ids"], rows["labels"], prompts, strict=True)):
        if skip is not None and skip[i]:
            continue
        n = len(head)
        everywhere = labels[0] != IGNORED  # completion_only_loss=False
        if ids[:n] != head or not (everywhere or all(x == IGNORED for x in labels[:n])):
            return i
        if n >= len(ids) or labels[n] == IGNORED:
            return i
    return None


def _target(row: int, completion: object, tokenizer: object) -> str:
    """The one answer of a completion, without the EOS that TRL has put behind it."""
    if isinstance(completion, str):
        text = completion.removesuffix(tokenizer.eos_token or "")
    else:
        turns = completion or []
        content = turns[0].get("content") if len(turns) == 1 and turns[0].get("role") == "assistant" else None
        text = content if isinstance(content, str) else ""
    if not cut(text):
        raise NotOneAnswer(f"the completion of row {row} is not one answer in words")
    return text


def _candidates(
    rows: Dataset, tokenizer: object, chat_template: str | None
) -> Iterator[tuple[list[str], PromptFormat]]:
    """Prompts and a format that may give TRL's ids, the most useful one first."""
    first = rows["prompt"][0]
    if isinstance(first, str):
        prompts = rows["prompt"][:]
        completions = [text.removesuffix(tokenizer.eos_token or "") for text in rows["completion"]]
        before = os.path.commonprefix([text[: len(text) - len(text.lstrip())] for text in completions])
        behind = {text[len(text.rstrip()) :] for text in prompts}
        if len(behind) == 1:
            yield prompts, PromptFormat("cloze", "", behind.pop(), before)
        yield prompts, RenderedFormat(RENDERED, separator=before)
        return
    try:
        facts = [read_prompt_completion(row) for row in rows.select_columns(["prompt", "completion"])]
        systems = {fact.get("system") for fact in facts}
        if len(systems) == 1:
            yield [fact["prompt"] for fact in facts], PromptFormat.chat(tokenizer, systems.pop())
    except ValueError:
        pass  # more than one question, or a template that changes it
    yield list(_rendered(rows, tokenizer, chat_template)), RenderedFormat(RENDERED, special_tokens=False)


def _rendered(rows: Dataset, tokenizer: object, chat_template: str | None) -> Iterator[str]:
    for row in rows.select_columns([c for c in ("prompt", "tools", "chat_template_kwargs") if c in rows.column_names]):
        tools = row.get("tools")
        yield tokenizer.apply_chat_template(
            row["prompt"],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=chat_template,
            tools=json.loads(tools) if isinstance(tools, str) else tools,
            **(row.get("chat_template_kwargs") or {}),
        )
