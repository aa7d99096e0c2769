"""What PEFT leaves to the training loop, AdaLoRA's pruning and penalty, and what `Trainer` loses on resume."""

import torch
from transformers import TrainingArguments

from ..tuners.adalora import AdaLoraCallback, check_adalora, orthogonality_penalty, trainable_adalora
from .checkpoints import load_adalora_state, load_renamed_weights, ranks_as_they_are, save_adalora_state
from .training_args import optimizer_steps


def reentrant(args: TrainingArguments) -> bool:
    """Whether activations are checkpointed in PyTorch's older way, a backward pass within the backward pass."""
    return bool(args.gradient_checkpointing and (args.gradient_checkpointing_kwargs or {}).get("use_reentrant"))


class TunedWeights:
    """Part of a `Trainer` that trains AdaLoRA adapters right, and all others as its parent does.

    Stands before `Trainer` among the parents. An AdaLoRA adapter is pruned by the training's own number of steps, each
    optimizer step has the orthogonality penalty once, and checkpoints hold what the pruning goes on with.
    """

    _unwrapped_from: tuple[object, object] = (None, None)

    def prepare_tuning(self, train_dataset: object) -> None:
        """Have a trainable AdaLoRA adapter pruned; to be called before any long work.

        Raises:
            ValueError: what it cannot be trained with, as `check_adalora`; reentrant activation checkpointing in
                several processes.
        """
        if trainable_adalora(self.model) is None:
            return
        check_adalora(self.model, optimizer_steps(self.args, train_dataset))
        if self.args.world_size > 1 and reentrant(self.args):
            raise ValueError(
                "`activation_checkpointing_kwargs` with use_reentrant=True cannot go with AdaLoRA in several "
                "processes: its penalty is made of the adapter's parameters themselves, and DDP would stop with "
                "'Expected to mark a variable ready only once'. Leave use_reentrant out, or set it to False."
            )
        if not any(isinstance(callback, AdaLoraCallback) for callback in self.callback_handler.callbacks):
            self.add_callback(AdaLoraCallback())

    def penalized(
        self, result: torch.Tensor | tuple, num_items: torch.Tensor | int | None, times: int = 0
    ) -> torch.Tensor | tuple:
        """A micro-batch's loss with AdaLoRA's penalty as often as gives each optimizer step one; as it is elsewhere.

        Args:
            result: the loss, a scalar, or (loss, outputs).
            num_items: target tokens of the step, as `compute_loss` has them.
            times: how often the loss has the penalty already.
        """
        if not self.unwrapped.training or trainable_adalora(self.unwrapped) is None:
            return result
        # DDP averages gradients: no factor for processes. What `Trainer` divides by itself is not divided here.
        scaled = num_items is not None if self.loss_is_scaled_for_ga is None else self.loss_is_scaled_for_ga
        missing = (1 / getattr(self, "current_gradient_accumulation_steps", 1) if scaled else 1) - times
        if not missing:
            return result
        loss, *outputs = result if isinstance(result, tuple) else (result,)
        loss = loss + missing * orthogonality_penalty(self.unwrapped)
        return (loss, *outputs) if outputs else loss

    def penalties_of_parent(self, num_items: torch.Tensor | int | None) -> int:
        """How often `Trainer.compute_loss` counts what PEFT adds to a model's own loss: once for every process."""
        if num_items is None or not self.args.average_tokens_across_devices:
            return 1
        return self.accelerator.num_processes // self.get_tp_size() if self.args.n_gpu <= 1 else self.args.n_gpu

    @property
    def unwrapped(self) -> torch.nn.Module:
        """The model itself. Unwrapping walks through every module, which at each step would cost a few per cent."""
        if self._unwrapped_from[0] is not self.model:
            self._unwrapped_from = self.model, self.accelerator.unwrap_model(self.model)
        return self._unwrapped_from[1]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent; a checkpoint of an AdaLoRA adapter also holds what its pruning goes on with."""
        with ranks_as_they_are(self.model):
            super().save_model(output_dir, _internal_call)
        if _internal_call and output_dir and self.args.should_save:
            save_adalora_state(self.model, output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if not self._restore(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if not self._restore(self.state.best_model_checkpoint):
            super()._load_best_model()

    def _restore(self, checkpoint: str) -> bool:
        """Whether weights were brought back that the parent would have lost."""
        return load_adalora_state(self.model, checkpoint) or load_renamed_weights(self.model, checkpoint)
