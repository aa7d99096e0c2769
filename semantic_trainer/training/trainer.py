"""SemanticWeightedTrainer: transformers' Trainer with a per-example weight in the loss."""

import logging
from collections.abc import Callable

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from ..batching.block_attention import blockwise, in_blocks
from ..batching.chunked_head import LOGITS_AT_ONCE, chunked_head, is_plain_head, output_head
from ..batching.positions import (
    IGNORED,
    forward_inputs,
    keeps_positions,
    predicted_tokens,
    predicting_positions,
)
from ..batching.probe import exact_in_blocks
from ..batching.shared_prefix import model_inputs
from ..batching.token_nll import token_nll
from ..facts.prompts import PromptFormat
from ..tuners.fused_lora import fused_lora
from .checks import check_processes, check_trainable, check_whole_rows
from .data_collator import EXAMPLE, WEIGHT, FactCollator, SharedPrefixCollator, has_label_lists
from .filter_collator import evaluating
from .losses import stock_token_nll, weighted_sum
from .model_traits import uses_every_parameter, warn_about_half_precision, warn_about_lost_losses
from .preparation import Preparation
from .publishing import PublishedSafely
from .row_records import RowRecords
from .training_args import SemanticTrainingArguments
from .tuned_weights import TunedWeights
from .weighted_rows import WeightedRows

logger = logging.getLogger(__name__)


class SemanticWeightedTrainer(WeightedRows, RowRecords, TunedWeights, PublishedSafely, Trainer):
    """[`~transformers.Trainer`] for facts, whose training loss can weigh each by its target semantic distance.

    It differs from its parent in the training loss of facts, `sum_i w_i sum_t nll_it / (target tokens of the step)`,
    computed from logits at answer positions only, with `w = 1`, or `w = 1 + gamma * lambda(distance)` (Eqs. 5-6) where
    `weighting` or `gamma` says so; in preparing datasets of facts before step 1; in filling up rows that do not divide
    over processes with rows that count no token, where the parent repeats some; and in two more logged values.
    Evaluation loss is always unweighted, and with `gamma=0` the loss is the parent's, bit for bit (AdaLoRA: but for
    its penalty, which the parent counts for each micro-batch).

    Under `torchrun` or `accelerate launch` processes share the answering too, and one step's gradient is that of one
    process with the same rows. DDP looks for unused parameters of a `PeftModel` only where it may have some (experts).

    Args:
        model, args, data_collator, train_dataset, eval_dataset, processing_class, ...: as in `Trainer`. `args` may be
            plain `TrainingArguments`. `train_dataset` has `prompt, target` (tokenised here, and for weights answered
            and measured; the measured columns are kept in `output_dir` and read again on resume), `prompt, target,
            distance`, `input_ids, labels, distance`, or, without weights, what `Trainer` takes, on its own path.
        prompt_format: how facts are asked; `None` takes it from `args`.

    Raises:
        TypeError: a `DatasetDict` was passed.
        ValueError: nothing to train in the columns found, bad distances or weights, gamma without distances,
            `compute_loss_func`, facts that do not fit the context, fewer rows than processes, a model with nothing to
            train (quantized without an adapter, or an adapter loaded for use), or AdaLoRA with too few steps.

    Example:
        >>> trainer = SemanticWeightedTrainer(
        ...     model=peft_model,
        ...     args=SemanticTrainingArguments("out", gamma=1.0, learning_rate=2e-3),
        ...     train_dataset=load_facts("builtin:invented"),
        ...     processing_class=tokenizer,
        ... )
        >>> trainer.train()
    """

    def __init__(
        self,
        model: torch.nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: object = None,
        train_dataset: object = None,
        eval_dataset: object = None,
        processing_class: object = None,
        *more: object,
        prompt_format: PromptFormat | None = None,
        **kwargs: object,
    ) -> None:
        args = SemanticTrainingArguments.from_training_arguments(args)
        if train_dataset is not None:
            check_trainable(model)
            check_processes(train_dataset, args.world_size)
        if args.ddp_find_unused_parameters is None and uses_every_parameter(model):
            args.ddp_find_unused_parameters = False  # Trainer looks for some in whatever is no PreTrainedModel
        super().__init__(model, args, data_collator, train_dataset, eval_dataset, processing_class, *more, **kwargs)
        if self.compute_loss_func is not None:
            raise ValueError("`compute_loss_func` would replace the weighted loss. Leave it out, or use Trainer.")
        self.prepare_tuning(train_dataset)
        self._preparation = Preparation(self.model, args, processing_class, prompt_format, data_collator is not None)
        if train_dataset is not None:
            self.train_dataset = self._preparation.train(train_dataset)
        self.eval_dataset = self._preparation.eval(eval_dataset)
        self.prompt_format = self._preparation.prompt_format
        self.weighted, self.weight_statistics = self._preparation.weighted, self._preparation.statistics
        given = [dataset for dataset in (self.train_dataset, self.eval_dataset) if dataset is not None]
        if data_collator is None and (any(map(has_label_lists, given)) or not given):
            self.data_collator = FactCollator(getattr(processing_class, "pad_token_id", None) or 0, self.data_collator)
        if self.weighted:
            check_whole_rows(self.accelerator.parallelism_config)
            self.loss_is_scaled_for_ga = True
            statistics = {name: round(value, 4) for name, value in (self.weight_statistics or {}).items()}
            logger.info("weights: %s", statistics or "by each fact's own loss")
            warn_about_lost_losses(self.model)
        warn_about_half_precision(self.model, args)
        self._plain_head: bool | None = None  # not tried yet
        self.keep_records()

    def _inner_training_loop(self, *args: object, **kwargs: object) -> object:
        """As the parent; where rows share a prefix, with kernels of this project's own that compute the same."""
        own = self._shares_prefixes and not self.args.torch_compile
        blocks = own and self.args.block_attention and exact_in_blocks(self.model)
        with fused_lora(self.model, own and self.args.fused_lora), blockwise(self.model, blocks):
            return super()._inner_training_loop(*args, **kwargs)

    @property
    def _shares_prefixes(self) -> bool:
        """Whether facts may be laid out so, and no collator of the user's own was put in place since."""
        return self._preparation.shares_prefixes and isinstance(self.data_collator, FactCollator)

    def training_collator(self) -> Callable[[list[dict]], dict]:
        """What training batches are made with: shared-prefix rows where facts may be laid out so."""
        if self._shares_prefixes:
            return SharedPrefixCollator(self.data_collator.pad_token_id)
        return super().training_collator()

    def row_losses(self, model: torch.nn.Module, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """(n,) losses of a batch's target tokens, in nats, and (n,) which example each is of."""
        return self._token_losses(model, inputs)[:2]

    def get_eval_dataloader(self, eval_dataset: object = None) -> DataLoader:
        """As the parent; a dataset of facts is tokenised first."""
        facts = None if isinstance(eval_dataset, str) else eval_dataset
        with evaluating(self):
            return super().get_eval_dataloader(eval_dataset if facts is None else self._preparation.eval(facts))

    def get_test_dataloader(self, test_dataset: object) -> DataLoader:
        """As the parent; a dataset of facts is tokenised first."""
        with evaluating(self):
            return super().get_test_dataloader(self._preparation.eval(test_dataset))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, object]:
        """Eq. 5 in training, divided by the target tokens of the optimizer step; the parent's loss otherwise."""
        weights, rows = inputs.get(WEIGHT), inputs.get(EXAMPLE)
        ours = (WEIGHT, EXAMPLE) if self.weighted else ()
        inputs = {name: value for name, value in inputs.items() if name not in ours}
        if not (self.weighted and model.training):
            result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            return self.penalized(result, num_items_in_batch, self.penalties_of_parent(num_items_in_batch))
        if "labels" not in inputs or inputs["labels"].ndim != 2:
            raise ValueError(
                "`weighting`, `gamma` and `learning_history` need `labels` with one label a token: a causal language "
                "model's."
            )
        if weights is None:
            raise ValueError(
                "the batch has no `weight`: something removed the column between dataset and loss. Leave the "
                "trainer's own get_train_dataloader in place, or return it from there."
            )
        if "segment_ids" not in inputs and len(inputs["labels"]) != len(weights):
            raise ValueError(
                f"the data collator made {len(inputs['labels'])} rows of {len(weights)} examples, whose weights then "
                "cannot be told apart. Use one that keeps a row an example, not DataCollatorWithFlattening."
            )
        nll, examples, keep, outputs = self._token_losses(model, inputs, return_outputs)
        self.observe(rows, nll, examples)
        weights = weights if self.pacing is None else self.pacing.of(rows)
        loss = self._scale(weighted_sum(nll, examples, weights), keep, num_items_in_batch)
        # PEFT adds AdaLoRA's penalty to a loss of the model's own, which is not asked for here.
        loss = self.penalized(loss, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _token_losses(
        self, model: torch.nn.Module, inputs: dict[str, torch.Tensor], with_outputs: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, object]:
        """(n,) losses of a batch's target tokens, in nats; (n,) which example each is of; where they are predicted.

        Args:
            with_outputs: also what the model returned; every position's logits are made then.
        """
        outputs = None
        labels, shifted, segments = (inputs.pop(name, None) for name in ("labels", "shift_labels", "segment_ids"))
        if segments is None:
            keep = predicting_positions(labels)
            targets, examples = predicted_tokens(labels, keep), keep.nonzero()[:, 0]
        else:
            inputs = in_blocks(model_inputs({**inputs, "segment_ids": segments}, self.unwrapped), segments)
            keep = shifted != IGNORED
            targets, examples = shifted[keep], segments[keep] - 1
        if with_outputs or not self._in_chunks(len(targets)):
            outputs = model(**forward_inputs(self.unwrapped, inputs, None if with_outputs else keep))
            logits = outputs.logits
            if logits.ndim == 3:
                logits = logits[:, -keep.shape[1] :][keep]  # prompt tuning puts virtual tokens in front
            # Padded rows as the parent computes them, bit for bit
            nll = stock_token_nll(logits, targets) if segments is None else token_nll(logits, targets)
        else:
            with chunked_head(output_head(self.unwrapped), targets):
                nll = model(**forward_inputs(self.unwrapped, inputs, keep)).logits[:, 0]
        return nll, examples, keep, outputs

    def _in_chunks(self, positions: int) -> bool:
        """Whether so many positions' logits are too large to be there at once, and can be made chunk by chunk."""
        model = self.unwrapped
        vocabulary = getattr(model.config.get_text_config(), "vocab_size", 0)
        if positions * vocabulary <= LOGITS_AT_ONCE or not keeps_positions(model):
            return False
        if self._plain_head is None:
            self._plain_head = is_plain_head(model)
            logger.info("logits: %s", "in chunks" if self._plain_head else "all at once, since the model changes them")
        return self._plain_head

    def _scale(self, total: torch.Tensor, keep: torch.Tensor, num_items: torch.Tensor | int | None) -> torch.Tensor:
        """Divide by the step's target tokens; undo DDP's averaging, which the parent does in its own loss only."""
        if num_items is None:
            return total / keep.sum().clamp(min=1) / self.current_gradient_accumulation_steps
        loss = total / torch.as_tensor(num_items).clamp(min=1)  # all labels of a step may be -100
        if self.args.average_tokens_across_devices:
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return loss
