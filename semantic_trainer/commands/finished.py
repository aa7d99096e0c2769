"""A finished run, read again: checked before anything is loaded, then its base, adapters and prompt format."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a wrong folder needs none of them
    from transformers import PretrainedConfig

    from ..answers.decoding import GenerationSettings
    from ..facts.prompts import PromptFormat
    from ..report.summary import RunSummary

logger = logging.getLogger(__name__)
PLACES = {"plain": "plain", "weighted": ""}  # where `run` leaves each adapter, seen from its folder
AGAIN = "Copy the run again, whole, or repeat it with --overwrite."
NEEDED = (
    *("model", "revision", "dtype", "max_new_tokens"),
    *("prompt_format", "prompt_text", "shots", "system_prompt"),
)


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to be asked.

    Attributes:
        model: `PeftModel` with one adapter an arm, whose base answers with the adapters off; or the base itself.
        tuned: arm -> its model, where all weights were tuned.
        targets: prompts and paraphrases of the facts taught -> target.
    """

    model: object
    tokenizer: object
    form: "PromptFormat"
    settings: "GenerationSettings"
    arms: tuple[str, ...]
    targets: Mapping[str, str]
    tuned: Mapping[str, object] = field(default_factory=dict)

    @contextmanager
    def answering(self, arm: str | None) -> Iterator[object]:
        """The model of an arm; of the base for `None`."""
        from ..answers.stage import adapters_off

        if self.tuned:
            yield self.tuned[arm] if arm else self.model
        elif arm:
            self.model.set_adapter(arm)
            yield self.model
        else:
            with adapters_off(self.model):
                yield self.model


def load_run(
    folder: Path, arms: tuple[str, ...], max_new_tokens: int | None = None, base: str | None = None
) -> LoadedRun:
    """Check a finished run's folder, then load its base, adapters and prompt format."""
    from ..answers.decoding import ANSWER_DTYPE, GenerationSettings
    from ..models import choose_dtype, load_model
    from ..tuners.saved import check_saved_adapter

    summary = read_summary(folder)
    config = summary.config
    settings = GenerationSettings(config["max_new_tokens"] if max_new_tokens is None else max_new_tokens, ANSWER_DTYPE)
    full = config.get("method") == "full"
    for arm in arms:
        if full:
            check_model(folder / PLACES[arm], arm)
        else:
            check_saved_adapter(folder / PLACES[arm], None, f"{arm} adapter", AGAIN)
    revision = config["revision"] or (None if base else (summary.environment.get("base") or {}).get("commit"))
    source, base_config = find_base(base or config["model"], revision)
    for arm in () if full else arms:
        check_saved_adapter(folder / PLACES[arm], base_config, f"{arm} adapter", AGAIN)
    check_weights(summary, base or config["model"], revision)
    if settings.max_new_tokens != config["max_new_tokens"]:
        logger.warning(
            "max_new_tokens is %d here and was %d in the run: these answers follow another protocol than its scores",
            settings.max_new_tokens,
            config["max_new_tokens"],
        )
    dtype = choose_dtype(config["dtype"], base_frozen=True)
    model, tokenizer = load_model(source, dtype, revision, config.get("load_in"))
    said = (tokenizer, run_format(config, tokenizer), settings, arms, read_targets(folder))
    use_cpu = bool(config.get("use_cpu"))
    if full:
        return LoadedRun(to_device(model, use_cpu), *said, read_models(folder, arms, use_cpu))
    return LoadedRun(add_adapters(model, folder, arms, use_cpu), *said)


def check_folder(folder: Path) -> None:
    """Raise where there is no folder; said before anything heavy is imported."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"RUN_DIR {str(folder)!r} is a file. Give the folder that `run` wrote to.")
    if not folder.exists():
        raise FileNotFoundError(f"RUN_DIR {str(folder)!r} does not exist. Give the output_dir of a finished run.")


def read_summary(folder: Path) -> "RunSummary":
    """The summary of a finished run, with everything that asking again needs.

    Raises:
        ValueError: the run has not ended, or its summary is torn, of another schema, or lacks an option.
    """
    from ..report.summary import SUMMARY_FILE, RunSummary
    from .output import CONFIG_FILE

    if not (folder / SUMMARY_FILE).exists():
        hint = "its run has not ended: repeat the `semantic-trainer run` command that began it, with --resume"
        if not (folder / CONFIG_FILE).exists():
            hint = "no run has written there: give the output_dir of a finished run"
        raise ValueError(f"RUN_DIR {str(folder)!r} holds no {SUMMARY_FILE}; {hint}.")
    summary = RunSummary.load(folder)
    missing = [name for name in NEEDED if name not in summary.config]
    if missing:
        raise ValueError(f"{folder / SUMMARY_FILE} does not say how the run asked: its config lacks {missing}.")
    return summary


def check_model(folder: Path, arm: str) -> None:
    """Raise where the files of a model tuned as a whole are missing or torn."""
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("model*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        lacking = "config.json" if files else "model.safetensors"
        raise FileNotFoundError(f"the {arm} model lacks its file {str(folder / lacking)!r}. {AGAIN}")
    for file in files:
        try:
            with safe_open(file, "np"):
                pass
        except SafetensorError as error:
            raise ValueError(f"the {arm} model in {str(folder)!r} is torn ({error}). {AGAIN}") from error


def find_base(model: str, revision: str | None) -> tuple[str, "PretrainedConfig"]:
    """The folder or Hub id to load the base from, and its config; its weights are not read yet.

    Raises:
        FileNotFoundError: it is not there, or no longer.
    """
    from transformers import AutoConfig

    from ..models import resolve_model

    try:
        source = resolve_model(model)
        return source, AutoConfig.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"the run's base model {model!r} cannot be found ({reason}) A relative path counts from the folder you "
            "are in: ask from where the run was started, or say where the model is with --model DIR."
        ) from error


def check_weights(summary: "RunSummary", model: str, revision: str | None) -> None:
    """Raise a `ValueError` where a local base model is of the run's structure, but has not the run's weights.

    What comes from the Hub is pinned by its revision, or the commit that the run had; runs that do not say which
    weights they had are let through.
    """
    from ..answers.checkpoint import checkpoint_sha256

    recorded = (summary.environment.get("base") or {}).get("sha256")
    if not recorded or not Path(model).expanduser().exists():
        return
    found = checkpoint_sha256(model, revision)
    if found != recorded:
        raise ValueError(
            f"the base model {model!r} is another one than the run's {summary.config['model']!r}: the sha256 of its "
            f"weights is {(found or 'none')[:12]}..., the run's was {recorded[:12]}.... Say where that one is with "
            "--model DIR."
        )


def read_targets(folder: Path) -> dict[str, str]:
    """Prompts and paraphrases of the facts taught -> target; without facts.parquet none, and a warning."""
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(folder / "facts.parquet").to_pylist()
    except (OSError, ValueError) as error:
        logger.warning("facts.parquet cannot be read, so no targets are shown: %s", error)
        return {}
    asked = {text.strip(): row["target"] for row in rows for text in row.get("paraphrases") or ()}
    return asked | {row["prompt"].strip(): row["target"] for row in rows}


def to_device(model: object, use_cpu: bool) -> object:
    """A model on the device that training would take."""
    from accelerate import PartialState

    from ..models import place

    return place(model, PartialState(cpu=use_cpu).device)


def read_models(folder: Path, arms: tuple[str, ...], use_cpu: bool) -> dict[str, object]:
    """Each arm's own model, where all weights were tuned."""
    import torch
    from transformers import AutoModelForCausalLM

    read = AutoModelForCausalLM.from_pretrained
    return {arm: to_device(read(folder / PLACES[arm], dtype=torch.float32), use_cpu) for arm in arms}


def add_adapters(model: object, folder: Path, arms: tuple[str, ...], use_cpu: bool) -> object:
    """The base on the device that training would take, with one adapter an arm."""
    from peft import PeftModel

    from .. import tuners  # noqa: F401  (PEFT then knows Houlsby adapters)

    to_device(model, use_cpu)
    tuned = PeftModel.from_pretrained(model, folder / PLACES[arms[0]], adapter_name=arms[0])
    for arm in arms[1:]:
        tuned.load_adapter(folder / PLACES[arm], adapter_name=arm)
    return tuned


def run_format(config: Mapping[str, object], tokenizer: object) -> "PromptFormat":
    """The run's prompt format. Its text is the one written down: a chat template may have changed, or hold a date."""
    from ..facts.prompts import PromptFormat
    from ..facts.shots import parse_shots

    shots = parse_shots(config["shots"])
    form = PromptFormat.resolve(config["prompt_format"], (), tokenizer, config["system_prompt"], shots)
    prefix, _, suffix = config["prompt_text"].rpartition("{prompt}")
    return replace(form, prefix=prefix, suffix=suffix)
