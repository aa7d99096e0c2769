"""SemanticTrainingArguments: transformers' TrainingArguments and what the weighting needs."""

import math
import os
from dataclasses import dataclass, field, fields
from functools import cache

from transformers import TrainingArguments

from ..distance.weighting import WEIGHTINGS, check_gamma
from ..distribution import without_accelerator, world_size
from ..facts.messages import suggest
from ..facts.prompts import KINDS
from ..facts.shots import parse_shots

ANNEALINGS = ("linear", "none")  # of self-paced weights
BATCHINGS = ("shared_prefix", "padded")


@dataclass
class WeightingArguments:
    """What the weighting of Eqs. 5-6 needs, for a dataclass that inherits from this and from `TrainingArguments`.

    `label_smoothing_factor` and `use_liger_kernel` are refused; what is checked is checked after the other parent.
    """

    # Weighting (Eqs. 5-6)
    gamma: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the semantic term, at least 0; where it is given, facts are weighed. None means 1.0 "
            "where `weighting` asks for weights; 0 is transformers.Trainer exactly."
        },
    )
    weighting: str | None = field(
        default=None,
        metadata={
            "help": "How a distance becomes a weight: paper, none (all ones), a control (constant, shuffled, "
            "inverse), self_paced (by each fact's own loss, with pacing_temperature and pacing_annealing), or column "
            "(read the dataset's own column `weight`). None is paper where gamma is given, else none."
        },
    )
    pacing_temperature: float = field(
        default=1.0, metadata={"help": "Of self_paced: weights are as exp(-loss / temperature), in nats a token."}
    )
    pacing_annealing: str = field(
        default="linear", metadata={"help": "Of self_paced: linear to equal weights in the last step, or none."}
    )
    learning_history: bool = field(
        default=False,
        metadata={"help": "Keep each fact's loss in each epoch: when it was learnt, at no cost."},
    )
    known_lambda: float = field(
        default=1.0, metadata={"help": "Lambda of facts the base model knows already: 1.0 (the formula) or 0.0."}
    )
    clip_distance: bool = field(default=True, metadata={"help": "Clip distances to [0, 1] inside lambda."})
    # The base's answers, where the trainer asks for them
    max_new_tokens: int = field(
        default=32, metadata={"help": "Longest answer in tokens, one number for a whole study."}
    )
    answer_batch_size: int = field(default=64, metadata={"help": "Prompts answered at a time."})

    def __post_init__(self) -> None:
        self.use_cpu = self.use_cpu or (world_size() > 1 and without_accelerator())
        launched = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")
        if (self.fsdp or launched) and (self.use_cpu or without_accelerator()):
            raise ValueError(
                "`fsdp` was asked for, but on a CPU accelerate would silently run plain DDP and shard nothing. Leave "
                "`fsdp` (and `--use_fsdp` of `accelerate launch`) out, or launch on GPUs."
            )
        super().__post_init__()
        if self.gamma is not None:
            self.gamma = check_gamma(self.gamma)
        if self.weighting is not None:
            check_choice("weighting", self.weighting, WEIGHTINGS)
        check_choice("pacing_annealing", self.pacing_annealing, ANNEALINGS)
        if self.weighting == "column" and self.gamma is not None:
            raise ValueError('`gamma` has no effect with weighting="column": the weights are given. Leave gamma out.')
        if self.weighting == "self_paced" and self.gamma == 0.0:
            raise ValueError(
                "`gamma=0` is transformers.Trainer exactly, which paces nothing. Leave out one of the two."
            )
        temperature = self.pacing_temperature
        if not (isinstance(temperature, (int, float)) and math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"`pacing_temperature` must be finite and above 0, but is {self.pacing_temperature!r}")
        if self.max_new_tokens < 1 or self.answer_batch_size < 1:
            raise ValueError("`max_new_tokens` and `answer_batch_size` must be at least 1")
        if self.known_lambda < 0:
            raise ValueError(f"`known_lambda` must be at least 0, but {self.known_lambda} was passed")
        if self.label_smoothing_factor:
            raise ValueError("`label_smoothing_factor` would be lost in the weighted loss. Set it to 0.")
        if self.use_liger_kernel:
            raise ValueError("`use_liger_kernel` returns one reduced loss, which cannot be weighted. Set it to False.")

    @property
    def resolved_weighting(self) -> str:
        """`weighting`; where it is `None`, `paper` with a gamma and `none` without."""
        return self.weighting or ("none" if self.gamma is None else "paper")

    @property
    def reads_distances(self) -> bool:
        """Whether weights are made of distances: a weighting that needs them, and a gamma that is not 0."""
        return self.gamma != 0.0 and self.resolved_weighting not in ("none", "self_paced", "column")

    def idle_options(self) -> list[str]:
        """Options of a weighting that are not at their default, and have no effect on the one there is."""
        read = {name: self.reads_distances for name in ("known_lambda", "clip_distance")}
        read |= {name: self.resolved_weighting == "self_paced" for name in ("pacing_temperature", "pacing_annealing")}
        defaults = {f.name: f.default for f in fields(WeightingArguments)}
        idle = [name for name, is_read in read.items() if not is_read and getattr(self, name) != defaults[name]]
        return ["gamma", *idle] if self.gamma and not self.reads_distances else idle

    @classmethod
    def from_training_arguments(cls, args: TrainingArguments | None) -> "WeightingArguments":
        """Plain arguments with our defaults added; our own are returned as they are.

        Arguments of a user's own class stay of that class too.

        Raises:
            ValueError: it has a field of its own that is called as one of ours.
        """
        if args is None:
            return cls(output_dir="trainer_output")
        if isinstance(args, cls):
            return args
        theirs = type(args)
        if not issubclass(cls, theirs):
            bases = [base for base in cls.__mro__ if issubclass(theirs, base) and base is not object]
            shared = {f.name for base in bases for f in fields(base)}
            clash = [f.name for f in fields(args) if f.name in cls.__dataclass_fields__ and f.name not in shared]
            if clash:
                raise ValueError(
                    f"`args` is a {theirs.__name__}, whose field `{clash[0]}` is called as one of {cls.__name__}'s. "
                    f"Rename it, or pass a {cls.__name__}."
                )
            cls = _joined(cls, theirs)
        return cls(**{f.name: getattr(args, f.name) for f in fields(args) if f.init})


@cache
def _joined(ours: type, theirs: type) -> type:
    """Arguments that are of both classes; pickled as two classes, since this one is of no module."""

    def reduce(self: object) -> tuple:
        return _restored, (ours, theirs, vars(self))

    return dataclass(type(theirs.__name__, (ours, theirs), {"__reduce__": reduce, "__doc__": theirs.__doc__}))


def _restored(ours: type, theirs: type, values: dict[str, object]) -> object:
    args = object.__new__(_joined(ours, theirs))
    vars(args).update(values)
    return args


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise a `ValueError` where an option is none of those known."""
    if value not in known:
        raise ValueError(f"`{name}` {value!r} is unknown.{suggest(str(value), known)} Use {', '.join(known)}.")


@dataclass
class SemanticTrainingArguments(WeightingArguments, TrainingArguments):
    """`TrainingArguments` with the weighting of Eqs. 5-6 and the way facts are asked.

    Defaults of `TrainingArguments` are unchanged, but for `use_cpu` where several processes were launched on a machine
    without accelerator, each of which would otherwise train by itself. `label_smoothing_factor` and
    `use_liger_kernel` are refused.

    Raises:
        ValueError: negative gamma, unknown weighting or prompt format, gamma together with `weighting="column"`, or
            `fsdp` on a CPU.

    Example:
        >>> args = SemanticTrainingArguments(output_dir="out", gamma=1.0, learning_rate=2e-3)
    """

    # How a training batch lies in the forward pass
    batching: str = field(
        default="shared_prefix",
        metadata={
            "help": "shared_prefix: rows hold the prompts' common head once, where that is exact for the model and "
            "the trainer itself tokenises the facts; padded: one fact a row, the reference."
        },
    )
    fused_lora: bool = field(
        default=True,
        metadata={"help": "With shared_prefix: LoRA's linear layers in one function, where they are plain sums."},
    )
    block_attention: bool = field(
        default=True, metadata={"help": "With shared_prefix, on a CPU: attention example by example."}
    )
    # How facts are asked: the same for old answers, training and evaluation
    prompt_format: str = field(default="auto", metadata={"help": "auto, chat, question_answer or cloze."})
    system_prompt: str | None = field(default=None, metadata={"help": "System message of the chat format."})
    shots: list[str] | None = field(
        default=None, metadata={"help": 'Fixed examples before every question, each "Question? => Answer".'}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("batching", self.batching, BATCHINGS)
        check_choice("prompt_format", self.prompt_format, KINDS)
        parse_shots(self.shots)


def optimizer_steps(args: TrainingArguments, dataset: object) -> int | None:
    """How many optimizer steps a training will have; `None` where that depends on what an iterable dataset yields.

    Args:
        dataset: the rows; only their number counts.

    Example:
        >>> optimizer_steps(TrainingArguments("out", num_train_epochs=2, per_device_train_batch_size=4), range(10))
        6
    """
    if args.max_steps > 0:
        return args.max_steps
    if not hasattr(dataset, "__len__"):
        return None
    divide = math.floor if args.dataloader_drop_last else math.ceil
    batches = divide(divide(len(dataset) / args.train_batch_size) / args.world_size)
    return math.ceil(args.num_train_epochs * max(1, math.ceil(batches / args.gradient_accumulation_steps)))


NOT_DECISIVE = (
    *("output_dir", "run_name", "report_to", "disable_tqdm", "hub_token"),
    *("logging_steps", "logging_strategy", "logging_first_step", "save_total_limit", "learning_history"),
)
ALWAYS_SHOWN = (
    *(f.name for f in fields(SemanticTrainingArguments) if f.name not in TrainingArguments.__dataclass_fields__),
    *("learning_rate", "lr_scheduler_type", "num_train_epochs", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "max_grad_norm", "optim", "seed"),
)


def decisive_options(args: SemanticTrainingArguments) -> dict[str, object]:
    """Every option that decides a training, as plain values; of `TrainingArguments`' own those not at their default.

    Example:
        >>> decisive_options(SemanticTrainingArguments("out", warmup_steps=5))["warmup_steps"]
        5
    """
    defaults = SemanticTrainingArguments(output_dir="").to_dict()
    return {
        name: value
        for name, value in args.to_dict().items()
        if name not in NOT_DECISIVE and (name in ALWAYS_SHOWN or value != defaults[name])
    }
