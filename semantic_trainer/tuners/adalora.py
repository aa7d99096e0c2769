"""AdaLoRA in a training loop: the schedule, the pruning and the penalty that PEFT leaves to whoever trains.

Zhang et al., 2023, "Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning", arXiv:2303.10512.
"""

import logging
from math import ceil

import torch
from peft import AdaLoraConfig, AdaLoraModel
from peft.tuners.adalora import AdaLoraLayer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

logger = logging.getLogger(__name__)
# AdaLoRA wants the number of optimizer steps, which only a trainer knows: until it begins, a schedule without end.
UNKNOWN_STEPS = 2**31 - 1
SCHEDULE = {"tinit": 0, "tfinal": 0, "deltaT": 1}  # as PEFT sets them


def trainable_adalora(model: object) -> AdaLoraModel | None:
    """The tuner of a `PeftModel` with an AdaLoRA adapter that is trained, else `None`."""
    tuner = getattr(model, "base_model", None)
    return tuner if isinstance(tuner, AdaLoraModel) and hasattr(tuner, "rankallocator") else None


def trained_config(tuner: AdaLoraModel) -> AdaLoraConfig:
    """The config of the adapter that is trained; PEFT allows one such."""
    return tuner.peft_config[tuner.trainable_adapter_name]


def _layers(tuner: AdaLoraModel) -> list[AdaLoraLayer]:
    name = tuner.trainable_adapter_name
    return [m for m in tuner.model.modules() if isinstance(m, AdaLoraLayer) and name in m.lora_A]


def orthogonality(model: torch.nn.Module) -> torch.Tensor:
    """How far the singular vectors are from orthonormal: `mean ||A A^T - I||_F, ||B^T B - I||_F` over the layers.

    Eq. 4 of the paper as PEFT computes it, without the square. Scalar in float32, also under autocast.

    Args:
        model: a `PeftModel` with a trainable AdaLoRA adapter.
    """
    tuner = trainable_adalora(model)
    name, norms = tuner.trainable_adapter_name, []
    for layer in _layers(tuner):
        for vectors in (layer.lora_A[name], layer.lora_B[name].T):  # (r, d)
            with torch.autocast(vectors.device.type, enabled=False):
                gram = vectors.float() @ vectors.float().T  # (r, r)
                norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)))
    return torch.stack(norms).mean()


def orthogonality_penalty(model: torch.nn.Module) -> torch.Tensor | float:
    """What an optimizer step's loss is to be increased by: the adapter's `orth_reg_weight` times `orthogonality`.

    Args:
        model: any model; 0 where it has no trainable AdaLoRA adapter.
    """
    tuner = trainable_adalora(model)
    if tuner is None or not trained_config(tuner).orth_reg_weight:
        return 0.0
    return trained_config(tuner).orth_reg_weight * orthogonality(model)


def default_schedule(steps: int) -> dict[str, int]:
    """`tinit`, `tfinal` and `deltaT` for so many optimizer steps.

    The first tenth trains at full rank, the last half at the final one; what is pruned is chosen again some hundred
    times in between. The paper's own settings keep about these shares.

    Example:
        >>> default_schedule(80)
        {'tinit': 8, 'tfinal': 40, 'deltaT': 1}
    """
    return {"tinit": steps // 10, "tfinal": max(0, min(steps // 2, steps - 2)), "deltaT": max(1, steps // 200)}


def schedule(config: AdaLoraConfig, steps: int) -> dict[str, int]:
    """The config's schedule for so many optimizer steps, checked; the default one where it was left to the trainer.

    It was where `total_step` is `UNKNOWN_STEPS` and the rest is as PEFT sets it.

    Raises:
        ValueError: there are too few steps for it.
    """
    found = {name: getattr(config, name) for name in SCHEDULE}
    if config.total_step == UNKNOWN_STEPS and found == SCHEDULE:
        found = default_schedule(steps)
    check_schedule(steps, **found)
    return found


def check_schedule(steps: int, tinit: int, tfinal: int, deltaT: int = 1) -> None:
    """Raise a `ValueError` where the rank cannot fall to its target in so many optimizer steps."""
    for name, value in (("tinit", tinit), ("tfinal", tfinal), ("deltaT", deltaT)):
        if isinstance(value, bool) or not isinstance(value, int) or value < (name == "deltaT"):
            raise ValueError(f"`{name}` must be an integer of at least {int(name == 'deltaT')}, but is {value!r}")
    last = steps - tfinal
    if last <= max(tinit, 1):  # importance is first measured in step 1
        raise ValueError(
            f"AdaLoRA has too few steps: the rank falls after step `tinit` = {tinit} and until step {last}, {steps} "
            f"optimizer steps less `tfinal` = {tfinal}; that must be at least step {max(tinit, 1) + 1}. Train for "
            f"{tfinal + max(tinit, 1) + 1} steps or more, or lower `tinit` and `tfinal`."
        )


def check_ranks(init_r: int, target_r: int) -> None:
    """Raise a `ValueError` where AdaLoRA would have nothing to prune; PEFT fails only in the midst of training."""
    if init_r <= target_r:
        raise ValueError(
            f"`init_r` must be above `r` (`target_r` in PEFT's config), the rank AdaLoRA prunes down to, but {init_r} "
            f"and {target_r} were passed. Give for example init_r={ceil(1.5 * target_r)}, or use lora."
        )


def is_pruned(tuner: AdaLoraModel) -> bool:
    """Whether the adapter was loaded pruned: its ranks were cut to its pattern, and it trains on without pruning.

    Raises:
        ValueError: it was saved in the midst of its pruning, which only its checkpoint can go on with.
    """
    config, name = trained_config(tuner), tuner.trainable_adapter_name
    ranks, layers = sum(len(layer.lora_A[name]) for layer in _layers(tuner)), len(_layers(tuner))
    if ranks == config.init_r * layers:
        return False
    if ranks > config.target_r * layers:
        raise ValueError(
            f"the AdaLoRA adapter was saved in the midst of its pruning, at {ranks} of {config.init_r * layers} "
            f"singular values, {config.target_r * layers} being its target. Go on from its checkpoint with "
            "`resume_from_checkpoint`, or start anew."
        )
    return True


def check_adalora(model: object, steps: int | None = None) -> None:
    """Refuse what a trainable AdaLoRA adapter cannot be trained with; nothing where there is none.

    Raises:
        ValueError: `init_r` not above `target_r`, too few steps, or an adapter saved in the midst of its pruning.
    """
    tuner = trainable_adalora(model)
    if tuner is None or is_pruned(tuner):
        return
    config = trained_config(tuner)
    check_ranks(config.init_r, config.target_r)
    if steps is not None:
        schedule(config, steps)


def kept_triplets(tuner: AdaLoraModel) -> dict[str, list[bool]] | None:
    """The rank pattern with which PEFT saves exactly what is in memory, or `None` before any pruning.

    Between two prunings (`deltaT`) singular values outside the pattern grow again; PEFT would leave them out.
    """
    pattern, name = trained_config(tuner).rank_pattern, tuner.trainable_adapter_name
    if not pattern:
        return None
    kept = {}
    for full, values in tuner.model.named_parameters():
        if f"lora_E.{name}" in full:
            short = full.replace(f".{name}", "")  # saving cuts the adapter's name off
            kept[full] = chosen = pattern[full] if full in pattern else pattern[short]
            if len(chosen) == len(values):  # else it was loaded pruned, and the pattern says from what
                kept[full] = [a or b for a, b in zip(chosen, (values != 0).view(-1).tolist(), strict=True)]
    return kept


class AdaLoraCallback(TrainerCallback):
    """Prunes a model's trainable AdaLoRA adapter as it trains, which neither PEFT nor `Trainer` does by itself.

    `total_step` becomes the training's number of optimizer steps; after each of them the importance of every singular
    value is measured and the rank budget follows its schedule down to `target_r` a layer. An adapter that was loaded
    pruned trains on as it is. This library's trainers have one already; give it to any other trainer:

    Raises:
        ValueError: when training begins, as `check_adalora`.

    Example:
        >>> trainer = Trainer(model, args, train_dataset=train, callbacks=[AdaLoraCallback()])
    """

    def __init__(self) -> None:
        self.prunes = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **kwargs: object,
    ) -> None:
        tuner = trainable_adalora(model)
        self.prunes = tuner is not None and not is_pruned(tuner)
        if not self.prunes:
            return
        check_adalora(model, state.max_steps)
        config = trained_config(tuner)
        given = config.total_step
        for name, value in schedule(config, state.max_steps).items():
            setattr(config, name, value)
        tuner.rankallocator.set_total_step(state.max_steps)
        if given not in (UNKNOWN_STEPS, state.max_steps):
            logger.warning("AdaLoRA's `total_step` is %d, the number of steps, and not %d", state.max_steps, given)
        logger.info("AdaLoRA: tinit %d, tfinal %d, deltaT %d", config.tinit, config.tfinal, config.deltaT)
        if state.global_step == 0:
            tuner.rankallocator.reset_ipt()
            config.rank_pattern = None

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        optimizer: object = None,
        **kwargs: object,
    ) -> None:
        """Between the optimizer's step and `zero_grad`; `global_step` has not been counted up yet."""
        if not self.prunes:
            return
        tuner, step = trainable_adalora(model), state.global_step + 1
        config = trained_config(tuner)
        last = config.total_step - config.tfinal
        if getattr(optimizer, "step_was_skipped", False) and step < last:
            return  # gradients that overflowed would stay in the averages; the last pruning does without any
        tuner.update_and_allocate(step)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **kwargs: object,
    ) -> None:
        """From here on `model.save_pretrained` saves what is in memory, wherever training has stopped."""
        if not self.prunes:
            return
        tuner = trainable_adalora(model)
        config = trained_config(tuner)
        config.rank_pattern = kept_triplets(tuner)
        if config.rank_pattern is None or state.global_step < config.total_step - config.tfinal:
            logger.warning("AdaLoRA: training ended in step %d, before its pruning did", state.global_step)
