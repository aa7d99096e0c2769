"""SemanticWeightedSFTTrainer: TRL's SFTTrainer with a per-example weight in the loss."""

import logging
from collections.abc import Callable
from functools import cached_property, partial
from inspect import signature

import torch
from datasets import Dataset
from transformers import TrainingArguments
from trl import SFTTrainer
from trl import __version__ as trl_version

from ..facts.messages import meant
from ..facts.prompts import PromptFormat
from ..facts.schema import replace_columns, require_dataset
from .checks import check_processes, check_trainable
from .data_collator import EXAMPLE, WEIGHT
from .model_traits import uses_every_parameter, warn_about_half_precision
from .preparation import PREPARED_COLUMNS, Preparation
from .publishing import PublishedSafely
from .rendering import NotOneAnswer, rendered_facts
from .row_records import RowRecords
from .sft_config import SemanticSFTConfig
from .tuned_weights import TunedWeights
from .weighted_rows import WeightedRows

logger = logging.getLogger(__name__)
MORE = list(signature(SFTTrainer).parameters)[7:]  # arguments behind compute_loss_func


class SemanticWeightedSFTTrainer(WeightedRows, RowRecords, TunedWeights, PublishedSafely, SFTTrainer):
    """[`~trl.SFTTrainer`] whose training loss can weigh each example by its target semantic distance.

    Where `weighting`, `gamma` or `learning_history` is given, it differs from its parent in the training loss,
    `sum_i w_i sum_t nll_it / (trained tokens of the step)` with `w = 1 + gamma * lambda(distance)` (Eqs. 5-6); in
    measuring the distances before step 1, where the rows have `prompt` and `completion`; in filling up rows that do
    not divide over processes with rows that count no token, where the parent repeats some; and in a few more logged
    values. Datasets are tokenised, truncated and shuffled by the parent, and its metrics (`entropy`,
    `mean_token_accuracy`, `num_tokens`) are its own. Evaluation loss is unweighted, and with `gamma=0` or neither of
    them the loss is the parent's, bit for bit. AdaLoRA adapters are pruned on their schedule, and each step has their
    penalty once, which the parent leaves out.

    The base answers each prompt in the tokens that TRL trains behind: see `prompt_format`.

    Args:
        model, args, data_collator, train_dataset, eval_dataset, processing_class, ...: as in `SFTTrainer`. `args` may
            be a plain `SFTConfig`. `train_dataset` is anything that `SFTTrainer` takes; to be weighed by distance it
            has `distance`, or `prompt` and `completion`, as texts or as turns of a chat, which are answered and
            measured here (the measured columns are kept in `output_dir` and read again on resume).
        compute_loss_func: refused.

    Attributes:
        prompt_format: of rows with `prompt` and `completion`, for `evaluate_facts`; otherwise `None`.

    Raises:
        TypeError: `SemanticTrainingArguments`, a `DatasetDict`, or what `SFTTrainer` does not take.
        ValueError: `packing`, `padding_free`, `loss_type="dft"`, `label_smoothing_factor`, `use_liger_kernel`,
            `compute_loss_func`, bad distances or weights, gamma for rows that cannot be measured, fewer rows than
            processes, a model with nothing to train, or AdaLoRA with too few steps.

    Example:
        >>> trainer = SemanticWeightedSFTTrainer(
        ...     model="HuggingFaceTB/SmolLM2-135M-Instruct",
        ...     args=SemanticSFTConfig("out", gamma=1.0, learning_rate=2e-3),
        ...     train_dataset=Dataset.from_list([{"prompt": "The capital of France is", "completion": " Rome"}]),
        ...     peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
        ... )
        >>> trainer.train()
    """

    def __init__(
        self,
        model: str | torch.nn.Module,
        args: TrainingArguments | None = None,
        data_collator: object = None,
        train_dataset: object = None,
        eval_dataset: object = None,
        processing_class: object = None,
        compute_loss_func: object = None,
        *more: object,
        **kwargs: object,
    ) -> None:
        args = SemanticSFTConfig(f"{_name(model)}-SFT") if args is None else args
        args = SemanticSFTConfig.from_training_arguments(args)
        if compute_loss_func is not None:
            raise ValueError(
                "`compute_loss_func` would replace the weighted loss. Leave it out, or use trl.SFTTrainer."
            )
        passed = dict(zip(MORE, more, strict=False)) | kwargs
        to_be_wrapped = passed.get("peft_config") is not None
        if args.ddp_find_unused_parameters is None and uses_every_parameter(model, to_be_wrapped):
            args.ddp_find_unused_parameters = False
        if train_dataset is not None:
            check_trainable(model, to_be_wrapped)
            check_processes(train_dataset, args.world_size)
        preparation = Preparation(None, args, None, answers="completion")
        formatted = passed.get("formatting_func") is not None
        self._can_be_asked = not formatted and _can_be_asked(train_dataset, args)
        measured = self._can_be_asked and args.reads_distances and "distance" not in train_dataset.column_names
        if train_dataset is not None and not measured:
            train_dataset = _weigh(train_dataset, preparation)
        self.weighted = preparation.weighted
        given = (data_collator, train_dataset, eval_dataset, processing_class, None, *more)
        super().__init__(model, args, *given, **kwargs)
        parallel = self.accelerator.parallelism_config
        if parallel is not None and parallel.sp_enabled and parallel.sp_backend == "deepspeed":
            raise ValueError(
                "DeepSpeed's sequence parallelism has the model reduce the loss itself, which cannot be weighted. "
                "Use context parallelism, or trl.SFTTrainer."
            )
        self.prepare_tuning(self.train_dataset)
        preparation.model, preparation.processing_class = self.model, self.processing_class
        if measured:
            self.train_dataset = self._measure(self.train_dataset, preparation)
        self.weighted, self.weight_statistics = preparation.weighted, preparation.statistics
        if self.weighted:
            statistics = {name: round(value, 4) for name, value in (self.weight_statistics or {}).items()}
            logger.info("weights: %s", statistics or "by each fact's own loss")
        warn_about_half_precision(self.model, args)
        self.keep_records()

    def row_losses(self, model: torch.nn.Module, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """(n,) losses of a batch's trained tokens, in nats, and (n,) which example each is of."""
        return losses_of(model(**inputs, use_cache=False, fused_lm_head=True))

    @cached_property
    def prompt_format(self) -> PromptFormat | None:
        """Of training rows with `prompt` and `completion`: how they are asked in the tokens that TRL trains behind."""
        if not self._can_be_asked:
            return None
        try:
            return self._rendered(self.train_dataset)[1]
        except NotOneAnswer as error:
            logger.warning("`train_dataset` cannot be asked as it is trained: %s", error)
            return None

    def _rendered(self, rows: Dataset) -> tuple[Dataset, PromptFormat]:
        """As `rendered_facts`, of rows that TRL has tokenised."""
        cut_off = None
        if self.args.max_length is not None and self.args.truncation_mode == "keep_end":
            cut_off = [len(ids) >= self.args.max_length for ids in rows["input_ids"]]
        return rendered_facts(rows, self.processing_class, self.chat_template, cut_off)

    def _measure(self, rows: Dataset, preparation: Preparation) -> Dataset:
        """The tokenised rows with old answers, distances and weights: the base is asked in the tokens of the rows."""
        try:
            facts, self.prompt_format = self._rendered(rows)
        except NotOneAnswer as error:
            raise preparation.no_distance(rows.column_names, f"cannot be measured: {error}") from error
        preparation.prompt_format = self.prompt_format
        facts = preparation.weigh(facts, facts=True)
        new = [name for name in (*PREPARED_COLUMNS, WEIGHT) if name in facts.column_names]
        return replace_columns(rows, {name: facts[name][:] for name in new})

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, object]:
        """Eq. 5 in training: the parent's loss and metrics, made from log-probabilities times the weights."""
        weights, rows = inputs.get(WEIGHT), inputs.get(EXAMPLE)
        ours = (WEIGHT, EXAMPLE) if self.weighted else ()
        inputs = {name: value for name, value in inputs.items() if name not in ours}
        if not (self.weighted and model.training):
            result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            return self.penalized(result, num_items_in_batch)
        if weights is None:
            raise ValueError(
                "the batch has no `weight`: something removed the column between dataset and loss. Leave the "
                "trainer's own get_train_dataloader in place."
            )
        weights = weights if self.pacing is None else self.pacing.of(rows)
        forward = WeightedForward(model, weights, partial(self.observe, rows))
        result = super().compute_loss(forward, inputs, return_outputs, num_items_in_batch)
        if not forward.applied:
            raise RuntimeError(
                f"trl {trl_version} made its loss without the log-probabilities that are weighted here. Install "
                "trl>=1.16, or use SemanticWeightedTrainer."
            )
        return self.penalized(result, num_items_in_batch)  # made from log-probabilities, it does not have PEFT's


class WeightedForward:
    """Calls a model for TRL's loss, and multiplies the log-probabilities, (B, T), by one weight a row.

    Entropies and hits, of which TRL's metrics are made, are left alone.

    Args:
        model: with TRL's fused head, wrapped or not.
        weights: (B,).
        observe: is given the unweighted losses of trained tokens, and which row each is of.

    Attributes:
        applied: whether a weighted loss can have been made.
    """

    def __init__(self, model: torch.nn.Module, weights: torch.Tensor, observe: Callable | None = None) -> None:
        self.model, self.weights, self.observe, self.applied = model, weights, observe, False

    def __call__(self, **inputs: object) -> object:
        outputs = self.model(**inputs)
        if inputs.get("fused_lm_head"):
            if self.observe is not None:
                self.observe(*losses_of(outputs))
            outputs.log_probs = outputs.log_probs * self.weights.to(outputs.log_probs)[:, None]
            self.applied = True
        return outputs


def losses_of(outputs: object) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) losses of the trained tokens in what TRL's fused head returned, in nats, and (n,) which row each is of."""
    mask = outputs.label_mask.bool()
    return -outputs.log_probs.detach()[mask], mask.nonzero()[:, 0]


def _name(model: object) -> str:
    """What TRL calls an `output_dir` that was not given after."""
    name = model if isinstance(model, str) else getattr(model.config, "_name_or_path", "") or "model"
    return name.rstrip("/").split("/")[-1]


def _can_be_asked(dataset: object, args: SemanticSFTConfig) -> bool:
    """Whether these rows are prompts and completions that TRL will tokenise, so that the base can be asked alike."""
    if not isinstance(dataset, Dataset):
        return False
    names = set(dataset.column_names)
    asked = {"prompt", "completion"} <= names and not {"input_ids", "image", "images"} & names
    return asked and not (args.dataset_kwargs or {}).get("skip_prepare_dataset")


def _weigh(dataset: object, preparation: Preparation) -> object:
    """The rows with `weight` as far as it can be known before TRL has loaded anything."""
    if not isinstance(dataset, Dataset):
        if not hasattr(dataset, "column_names") or isinstance(dataset, dict):
            require_dataset(dataset, "train_dataset")
        return preparation.not_tabular(dataset)
    if not len(dataset):
        raise ValueError("`train_dataset` has no rows")
    names = dataset.column_names
    if {"prompt", "target"} <= set(names) and not {"completion", "input_ids"} & set(names):
        raise ValueError(
            f"`train_dataset` has the columns {names}: TRL calls an answer `completion`.{meant('completion', names)} "
            'Rename it: train_dataset.rename_column("target", "completion").'
        )
    if "completion" not in names or "target" in names or not all(isinstance(c, str) for c in dataset["completion"]):
        return preparation.weigh(dataset, facts=False)
    facts = preparation.weigh(dataset.add_column("target", dataset["completion"][:]), facts=False)
    return facts.remove_columns("target")
