"""Answers of a model, by this project's greedy_answers or by `generate`, and how far two sets of answers agree."""

from collections.abc import Callable, Iterable

import torch
from side_by_side import Side, alternate
from transformers import GenerationConfig, StoppingCriteriaList

from semantic_trainer import PromptFormat
from semantic_trainer.answers.decoder import NewlineAfterText
from semantic_trainer.answers.decoding import GenerationSettings, answering, greedy_answers
from semantic_trainer.answers.drafts import CLOSE, left_pad
from semantic_trainer.answers.reading import Answer, end_ids, read_answer

LIMIT = 32  # new tokens
SWEEP = (16, 32, 64)
Answers = dict[str, Answer]


def ours(
    model: object, tokenizer: object, prompts: list[str], form: PromptFormat, size: int, drafts: dict | None = None
) -> Answers:
    """`greedy_answers` in the model's own dtype."""
    found = greedy_answers(model, tokenizer, prompts, form, GenerationSettings(LIMIT, "model"), size, drafts=drafts)
    return {prompt: answer for batch in found for prompt, answer in batch}


def by_generate(
    model: object,
    tokenizer: object,
    prompts: list[str],
    form: PromptFormat,
    size: int,
    use_cache: bool = True,
) -> Answers:
    """`model.generate` in left-padded batches in the order given, with the same end of an answer."""
    ends, answers = end_ids(model, tokenizer), {}
    rows = form.prompt_ids(tokenizer, prompts)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=LIMIT,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=use_cache,
    )
    with torch.no_grad(), answering(model, "model"):
        for start in range(0, len(rows), size):
            ids, mask = left_pad(rows[start : start + size], tokenizer.pad_token_id)
            stop = StoppingCriteriaList([NewlineAfterText(tokenizer, ids.shape[1])])
            out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config, stopping_criteria=stop)
            new = out[:, ids.shape[1] :].tolist()
            answers |= zip(
                prompts[start : start + size], (read_answer(row, ends, tokenizer) for row in new), strict=True
            )
    return answers


def smallest_margin(model: object, tokenizer: object, prompt: str, form: PromptFormat) -> float:
    """The least difference of the two largest logits over a prompt's greedy answer, decoded alone."""
    ids, ends = torch.tensor(form.prompt_ids(tokenizer, [prompt])), end_ids(model, tokenizer)
    more = {"output_logits": True, "return_dict_in_generate": True, "pad_token_id": tokenizer.pad_token_id}
    config = GenerationConfig(do_sample=False, max_new_tokens=LIMIT, eos_token_id=ends, **more)
    with torch.no_grad(), answering(model, "model"):
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    best = torch.stack(out.logits).float().topk(2, dim=-1).values  # (T, 1, 2)
    return float((best[..., 0] - best[..., 1]).min())


def agreement(
    a: Answers, b: Answers, margin: Callable[[str], float], read: Callable[[str, Answer], object] | None = None
) -> dict[str, object]:
    """How many answers of two sides differ, and how many of those were decided by less than 1e-4.

    Args:
        margin: prompt -> the smallest top-2 margin of its answer; asked only where answers differ.
        read: what of an answer is compared; its text up to the end as generated unless told otherwise.
    """
    read = read or (lambda prompt, answer: answer.raw)
    other = [prompt for prompt in a.keys() & b.keys() if read(prompt, a[prompt]) != read(prompt, b[prompt])]
    close = sum(margin(prompt) < CLOSE for prompt in other)
    return {"compared": len(a.keys() & b.keys()), "different": len(other), "decided by less than 1e-4": close}


def best_size(side: Callable[[int], Answers], sizes: Iterable[int]) -> tuple[int, dict[str, float]]:
    """The batch size of a sweep with one timing each, which is the warm-up too, that is fastest."""
    seconds: dict[str, Side] = {str(size): (lambda size=size: lambda: side(size)) for size in sizes}
    found = {size: values[0] for size, values in alternate(seconds, 1, warm_up=0)[0].items()}
    return int(min(found, key=found.get)), found
