"""Facts evaluated by generation while any Trainer trains: its logs, its best model, its early stopping."""

import logging

from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..answers.decoding import GenerationSettings
from ..distance.embedding import EmbeddingTable
from ..facts.prompts import RENDERED, PromptFormat, as_prompt_format
from ..facts.schema import require_columns, require_dataset, require_strings
from .evaluator import evaluate_facts
from .record import BaseRecord

logger = logging.getLogger(__name__)
LOGGED = ("knowledge_accuracy", "generality", "locality", "deviation")


class EvaluateFactsCallback(TrainerCallback):
    """Asks the model its facts at every evaluation and logs knowledge accuracy, generality, locality and deviation.

    The four are logged as `eval_knowledge_accuracy`, ... through the trainer's `report_to`, and stand among the
    metrics of the evaluation, so that `metric_for_best_model="eval_knowledge_accuracy"`, `load_best_model_at_end` and
    [`~transformers.EarlyStoppingCallback`] work with them, in whatever order the callbacks were given.

    Args:
        trainer: any `transformers.Trainer`, also TRL's; its `PeftModel` is compared with its own base. A model without
            adapters counts as the base itself, unless `base` is given: locality and deviation are then left out.
        facts: as in `evaluate_facts`.
        every_n_steps: also evaluate after every so many optimizer steps, without the trainer's own evaluation; such
            values are logged but do not choose the best model. Default: only at the trainer's evaluations
            (`eval_strategy`, `eval_steps`).
        prompt_format: `None` takes the trainer's, where it has one, else `auto`.
        max_new_tokens, batch_size, dtype: as in `evaluate_facts`.
        prefix: put before each name; default `eval`.
        base: what `record_base` took down of a model whose weights are all tuned.

    Raises:
        TypeError: `facts` is no `datasets.Dataset`.
        ValueError: missing column, blank cell, `every_n_steps` below 1, or a trainer without tokenizer.

    Example:
        >>> trainer = Trainer(model, args, train_dataset=train, eval_dataset=dev, processing_class=tokenizer)
        >>> trainer.add_callback(EvaluateFactsCallback(trainer, facts))
        >>> trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
        >>> trainer.train()
    """

    def __init__(
        self,
        trainer: Trainer,
        facts: Dataset,
        every_n_steps: int | None = None,
        prompt_format: PromptFormat | str | None = None,
        max_new_tokens: int = 32,
        batch_size: int = 64,
        dtype: str = "auto",
        prefix: str = "eval",
        base: BaseRecord | None = None,
    ) -> None:
        require_dataset(facts)
        require_columns(facts, ("prompt", "target"))
        require_strings(facts, ("prompt", "target"))
        if not isinstance(trainer, Trainer):
            raise TypeError(f"`trainer` must be a transformers.Trainer, but {type(trainer).__name__} was passed")
        if not len(facts):
            raise ValueError("`facts` has no rows")
        if every_n_steps is not None and (not isinstance(every_n_steps, int) or every_n_steps < 1):
            raise ValueError(f"`every_n_steps` must be an integer of at least 1, but {every_n_steps} was passed")
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1, but {batch_size} was passed")
        GenerationSettings(max_new_tokens, dtype)  # refuses what it cannot do
        if trainer.processing_class is None:
            raise ValueError(
                "`trainer` has no tokenizer to ask the facts with. Pass it: Trainer(processing_class=...)."
            )
        self.trainer, self.facts, self.every_n_steps, self.prefix = trainer, facts, every_n_steps, prefix
        form = prompt_format or getattr(trainer, "prompt_format", None)
        if prompt_format is None and getattr(form, "kind", None) == RENDERED and not form.special_tokens:
            logger.warning(
                "the prompts of `train_dataset` differ in more than their question (earlier turns, system messages): "
                "`facts` are asked as prompt_format='auto'. Pass a `prompt_format` to ask them otherwise."
            )
            form = None
        self.prompt_format = as_prompt_format(form, facts["prompt"][:], trainer.processing_class)
        self.settings = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "dtype": dtype}
        self.base, self.table = base, base.table if base else EmbeddingTable.from_model(trainer.model)
        self.last: tuple[int, dict[str, float]] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Goes before every callback that reads the metrics; those behind it keep their places."""
        callbacks = self.trainer.callback_handler.callbacks
        callbacks.remove(self)
        callbacks.insert(0, self)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        self.last = None  # the best model may have been loaded: the same step is another model now

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Adds to the metrics of the trainer's evaluation what it has logged without them."""
        values = self._evaluate(state.global_step)
        if metrics is not None:
            metrics.update(values)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if self.every_n_steps and state.global_step % self.every_n_steps == 0:
            self._evaluate(state.global_step)

    def _evaluate(self, step: int) -> dict[str, float]:
        """The four by name, logged; once a step."""
        if self.last is not None and self.last[0] == step and self.trainer.is_in_train:
            return self.last[1]
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        # The adapter changes until the next time: its answers are not worth keeping.
        asked = (self.trainer.processing_class, self.facts, self.prompt_format, self.table)
        found = evaluate_facts(model, *asked, keep=False, base=self.base, **self.settings).summary
        tuned = self.base is not None or hasattr(model, "disable_adapter")
        names = [name for name in LOGGED if found[name]["value"] is not None and (tuned or name != "locality")]
        values = {f"{self.prefix}_{name}": found[name]["value"] for name in names}
        self.last = (step, values)
        self.trainer.log(dict(values))
        return values
