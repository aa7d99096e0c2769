"""Four further ways to teach more facts or to disturb less, each with one strength.

They are to be tried on the dev half, and are no part of the package until they have proved themselves.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from semantic_trainer import SemanticTrainingArguments, SemanticWeightedTrainer
from semantic_trainer.answers.stage import answer_prompts
from semantic_trainer.batching.positions import IGNORED
from semantic_trainer.distance.embedding import semantic_distance
from semantic_trainer.distance.weighting import compute_weights, known_answers
from semantic_trainer.facts.schema import replace_columns
from semantic_trainer.study.pool import Pool
from semantic_trainer.training.training_args import optimizer_steps


class SoftDistanceTrainer(SemanticWeightedTrainer):
    """Adds `strength * (1 - cos)` between the mean expected embedding of the answer tokens and the target's.

    The expectation is over the model's own softmax at each target position, the end of the answer left out: Eq. 1 with
    probabilities in place of tokens, and so with a gradient. The mean over a batch's facts, which is a step's where
    none is accumulated.

    Args:
        strength: nats a unit of distance.
        table: (V, E) base embeddings.
    """

    def __init__(self, *args: object, strength: float, table: torch.Tensor, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.strength, self.table = strength, table

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict, return_outputs: bool = False, num_items_in_batch: object = None
    ) -> object:
        self.extra = None
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return result if self.extra is None or return_outputs else result + self.strength * self.extra

    def _token_losses(self, model: torch.nn.Module, inputs: dict, with_outputs: bool = False) -> tuple:
        targets = inputs["shift_labels"][inputs["shift_labels"] != IGNORED]
        nll, examples, keep, outputs = super()._token_losses(model, inputs, with_outputs=True)
        if model.training:
            self.extra = self._distance(outputs.logits[:, -keep.shape[1] :][keep], targets, examples)
        return nll, examples, keep, outputs

    def _distance(self, logits: torch.Tensor, targets: torch.Tensor, examples: torch.Tensor) -> torch.Tensor:
        kept = targets != self.processing_class.eos_token_id
        logits, targets, examples = logits[kept], targets[kept], examples[kept]
        table = self.table.to(logits.device, torch.float32)
        facts = int(examples.max()) + 1
        counts = torch.bincount(examples, minlength=facts).clamp(min=1)[:, None]
        expected = torch.softmax(logits.float(), -1) @ table  # (n, E)
        means = [
            torch.zeros(facts, table.shape[1], device=table.device).index_add(0, examples, rows) / counts
            for rows in (expected, table[targets])
        ]
        return (1 - torch.nn.functional.cosine_similarity(*means)).mean()


class RefreshedDistances(TrainerCallback):
    """In place of pacing: from the second epoch on, Eqs. 5-6 with the distance of what the model says now."""

    def __init__(self, trainer: SemanticWeightedTrainer, pool: Pool, facts: Dataset, gamma: float) -> None:
        self.trainer, self.pool, self.facts, self.gamma, self.epoch = trainer, pool, facts, gamma, 0
        self.weights = self._weights(facts["distance"][:], facts["old_answer"][:])

    def _weights(self, distances: Sequence[float], answers: Sequence[str]) -> np.ndarray:
        args = self.trainer.args
        known = known_answers(answers, self.facts["target"][:], self.facts["aliases"][:])
        how = {"known": known, "known_lambda": args.known_lambda, "clip": args.clip_distance}
        return compute_weights(distances, self.gamma, **how)

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.weights[rows.long().cpu().numpy()], dtype=torch.float32, device=rows.device)

    def observe(self, *seen: object) -> None:
        pass

    def to_log(self) -> dict[str, float]:
        """The weights' extremes, as self-paced weights log theirs."""
        return {f"weight/{name}": float(getattr(self.weights, name)()) for name in ("min", "max")}

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        epoch = int((state.epoch or 0) + 1e-6)
        if epoch > self.epoch:
            self.epoch, pool, model = epoch, self.pool, self.trainer.model
            prompts, targets, training = self.facts["prompt"][:], self.facts["target"][:], model.training
            how = {"adapters": True, "keep": False, "drafts": dict(zip(prompts, targets, strict=True))}
            tokenizer = pool.base.tokenizer
            with own_attention(model):
                found = answer_prompts(model.eval(), tokenizer, prompts, pool.form, pool.settings, **how)
            answers = [found[prompt].text for prompt in prompts]
            distances = semantic_distance(answers, targets, pool.table, tokenizer, pool.form)
            self.weights = self._weights(distances, answers)
            model.train(training)


def refreshed(pool: Pool, facts: Dataset, gamma: float, *args: object, **kwargs: object) -> SemanticWeightedTrainer:
    """A trainer that weighs by the distances of its own current answers."""
    trainer = SemanticWeightedTrainer(*args, **kwargs)
    trainer.pacing = RefreshedDistances(trainer, pool, facts, gamma)
    trainer.add_callback(trainer.pacing)
    return trainer


@contextmanager
def own_attention(model: torch.nn.Module) -> Iterator[None]:
    """The model's attention outside of training, with which answers are verified against drafts."""
    config = model.config.get_text_config()
    training, config._attn_implementation = config._attn_implementation, "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = training


def with_rehearsal(
    pool: Pool, facts: Dataset, share: float, args: SemanticTrainingArguments, grow: bool
) -> tuple[Dataset, SemanticTrainingArguments]:
    """So many more rows in a hundred facts: unrelated prompts of other facts, with what the base says.

    There are as many steps as without them. None of the prompts is asked of these facts in the evaluation, or names
    one of their subjects.

    Args:
        grow: batches grow with them, so that each fact is seen as often, and rows are as many more; else batches and
            rows are as many as without them, and each fact is seen less often.

    Raises:
        ValueError: the pool has too few other prompts.
    """
    prompts = rehearsed_prompts(pool, facts, share, args.seed)
    wanted = len(prompts)
    rows = facts.select(np.arange(wanted) % len(facts))
    answers = [pool.answers[prompt].text for prompt in prompts]
    rows = replace_columns(rows, {"prompt": prompts, "target": answers, "old_answer": answers}).cast(facts.features)
    size = round(args.per_device_train_batch_size * (1 + share * grow))
    more = replace(args, max_steps=optimizer_steps(args, facts), per_device_train_batch_size=size)
    return concatenate_datasets([facts, rows]), more


def rehearsed_prompts(pool: Pool, facts: Dataset, share: float, seed: int) -> list[str]:
    """Unrelated prompts of other facts that are rehearsed beside these, so many in a hundred facts.

    Raises:
        ValueError: the pool has too few other prompts.
    """
    asked = {prompt for prompts in facts["locality_prompts"] for prompt in prompts} | set(facts["prompt"][:])
    taught = [subject.casefold() for subject in facts["subject"][:] if subject]
    others = dict.fromkeys(p for prompts in pool.facts["locality_prompts"] for p in prompts if p not in asked)
    others = [prompt for prompt in others if not any(subject in prompt.casefold() for subject in taught)]
    order, wanted = np.random.default_rng(seed).permutation(len(others)), round(share * len(facts))
    prompts: list[str] = []
    for start in range(0, len(order), wanted):
        part = [others[i] for i in order[start : start + wanted - len(prompts)]]
        pool.ask(part, "rehearsal")
        prompts += [prompt for prompt in part if pool.answers[prompt].text and not pool.answers[prompt].truncated]
    if len(prompts) < wanted:
        raise ValueError(f"{len(prompts)} of {wanted} prompts to rehearse: give `unrelated`, or a smaller share.")
    return prompts
