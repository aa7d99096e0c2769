"""What the trainer does to its datasets before step 1: answer, measure, weigh and tokenise what is not there yet."""

import hashlib
import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, DatasetDict

from ..answers import add_old_answers
from ..answers.answerer import answerer
from ..answers.decoding import GenerationSettings, context_length
from ..answers.store import model_key
from ..batching.probe import unsuited
from ..distance.embedding import EmbeddingTable, add_distances
from ..distance.weighting import add_weights, check_numbers, known_facts
from ..distribution import on_first
from ..facts.answered import ANSWERED_BY, differing_parts, require_own_answers, without_answers
from ..facts.checks import check_facts
from ..facts.messages import meant
from ..facts.prompts import PromptFormat, as_prompt_format, check_tokenizer, tokenize_facts
from ..facts.schema import formatted_as, replace_columns, require_dataset, require_strings
from ..facts.shots import check_shots, parse_shots
from .model_traits import check_reads_facts, takes
from .prepared import read_prepared, write_prepared
from .training_args import WeightingArguments

logger = logging.getLogger(__name__)
PREPARED_FILE = "prepared_facts.parquet"
PREPARED_COLUMNS = ("old_answer", "old_answer_truncated", "distance")


@dataclass
class Preparation:
    """Prepares datasets for one trainer.

    Attributes:
        prompt_format: the format used, resolved from the training prompts where the trainer was given none.
        weighted: whether the training loss is ours; decided by `train`.
        statistics: weighting statistics for the logs; filled by `train`.
        shares_prefixes: whether the training batches are shared-prefix rows; decided by `train`.
        answers: for messages, the column of a fact's answer.
    """

    model: object
    args: WeightingArguments
    processing_class: object
    prompt_format: PromptFormat | None = None
    own_collator: bool = False
    weighted: bool = False
    statistics: dict[str, float] | None = None
    shares_prefixes: bool = False
    answers: str = "target"

    def train(self, dataset: object) -> object:
        """The training set with `input_ids`, `labels` and, where the loss is weighted, `weight`."""
        if isinstance(dataset, DatasetDict):
            require_dataset(dataset, "train_dataset")
        if not isinstance(dataset, Dataset):
            return self.not_tabular(dataset)
        if not len(dataset):
            raise ValueError("`train_dataset` has no rows")
        if dataset.format["type"] == "custom":
            return self.transformed(dataset)
        given, dataset = dataset, dataset.with_format(None)
        names = set(dataset.column_names)
        facts = {"prompt", "target"} <= names and not {"input_ids", "labels"} <= names
        if facts:
            dataset = self._tokenize(dataset, "train_dataset")
        elif self.args.remove_unused_columns and not names & takes(self.model):
            near = "".join(meant(name, names) for name in ("prompt", "target", "input_ids") if name not in names)
            raise ValueError(
                f"`train_dataset` has the columns {dataset.column_names}, which cannot be trained on.{near} Give it "
                "`prompt` and `target` (tokenised, and for weights answered and measured for you), `prompt`, `target` "
                "and `distance`, or `input_ids`, `labels` and `distance`. load_facts(..., columns={'prompt': "
                "'your_column'}) renames."
            )
        dataset = self.weigh(dataset, facts)
        self.shares_prefixes = facts and self.weighted and not self.own_collator and self._may_share(dataset)
        return dataset if facts else formatted_as(given, dataset)

    def _may_share(self, dataset: Dataset) -> bool:
        """Whether training batches may be shared-prefix rows; says why where they were asked for and may not."""
        if self.args.batching != "shared_prefix":
            return False
        reason = unsuited(self.model, max(map(len, dataset["input_ids"][:])))
        if self.args.accelerator_config.dispatch_batches:
            reason = "`dispatch_batches` deals rows out, not facts"
        if reason:
            logger.info("batching: padded, since %s", reason)
            return False
        dropouts = [m.p for m in self.model.modules() if isinstance(m, torch.nn.Dropout) and m.p > 0]
        if dropouts:
            logger.info("batching: the facts of a row share the dropout of their common head")
        return True

    def transformed(self, dataset: Dataset) -> Dataset:
        """A dataset whose rows are made as they are read: the parent's own path, without weights."""
        args = self.args
        if args.reads_distances or args.learning_history or args.weighting in ("self_paced", "column"):
            raise ValueError(
                "`train_dataset` has a transform, which makes its rows as they are read: no weight would be among "
                "them. Apply it beforehand: dataset.reset_format().map(transform, batched=True)."
            )
        self._warn_of_unread(dataset.column_names)
        return dataset

    def not_tabular(self, dataset: object) -> object:
        """A dataset without columns to read: trained as it is, its weights only with `weighting="column"`."""
        if self.args.weighting == "column":
            self.weighted = True  # the collator carries the weights of any dataset
            return dataset
        names = set(getattr(dataset, "column_names", None) or ())
        if isinstance(dataset, (list, tuple)) and dataset and isinstance(dataset[0], dict):
            names = set(dataset[0])
        if self.args.reads_distances or self.args.weighting == "self_paced":
            raise ValueError(
                f"`train_dataset` is a {type(dataset).__name__}, whose columns cannot be measured beforehand. "
                'Pass a datasets.Dataset, or give every row a `weight` and set weighting="column".'
            )
        if {"prompt", "target"} <= names and not ("input_ids" in names or self.own_collator):
            instead = "Pass a datasets.Dataset, or tokenise them."
            if self.answers != "target":
                instead = f'TRL calls an answer `{self.answers}`: rename_column("target", "{self.answers}").'
            raise ValueError(
                f"`train_dataset` is a {type(dataset).__name__}, whose facts cannot be tokenised beforehand. {instead}"
            )
        self._warn_of_unread(names, "pass a datasets.Dataset and ")
        return dataset

    def eval(self, dataset: object) -> object:
        """An evaluation set, or a dict of them, tokenised where it holds facts; it needs no distance."""
        if isinstance(dataset, dict):
            return {name: self.eval(part) for name, part in dataset.items()}
        if not isinstance(dataset, Dataset) or not {"prompt", "target"} <= set(dataset.column_names):
            return dataset
        if "input_ids" in dataset.column_names or dataset.format["type"] == "custom":
            return dataset
        return self._tokenize(dataset, "eval_dataset")

    def _resolve(self, facts: Dataset) -> None:
        args = self.args
        if self.prompt_format is not None:
            self.prompt_format = as_prompt_format(self.prompt_format, facts["prompt"][:], self.processing_class)
        else:
            shots = parse_shots(args.shots)
            self.prompt_format = PromptFormat.resolve(
                args.prompt_format, facts["prompt"][:], self.processing_class, args.system_prompt, shots
            )

    def _tokenize(self, facts: Dataset, argument: str) -> Dataset:
        """Token columns, after everything that can be known to be wrong before the first forward pass."""
        check_tokenizer(self.processing_class)
        check_reads_facts(self.model, argument)
        require_strings(facts, ("prompt", "target"), argument)
        for fault in check_facts(facts.select_columns(["prompt", "target"])).describe():
            logger.warning("%s: %s", argument, fault)
        self._resolve(facts)
        check_shots(self.prompt_format.shots, facts)
        return tokenize_facts(facts, self.processing_class, self.prompt_format, context_length(self.model))

    def weigh(self, dataset: Dataset, facts: bool) -> Dataset:
        """The training set with `weight`, where its loss is weighted; `facts` can be asked and measured for it."""
        args, weighting = self.args, self.args.resolved_weighting
        dataset = self.own_answers(dataset) if args.reads_distances else dataset
        names = dataset.column_names
        self._warn_of_unread(names)
        if weighting == "column":
            if "weight" not in names:
                raise ValueError(
                    f'`weighting="column"` reads the column `weight`, but `train_dataset` has {names}. Add it, or '
                    "choose another weighting."
                )
            check_numbers(dataset["weight"][:], "weight")
        elif weighting == "self_paced":
            self.weighted = True
            return replace_columns(dataset, {"weight": np.ones(len(dataset))})  # the trainer's own follow the losses
        elif weighting == "none":
            if args.weighting is None and not (facts or args.learning_history):
                return dataset  # no facts, and nothing asked of them: the parent's own path
            dataset = replace_columns(dataset, {"weight": np.ones(len(dataset))})
        elif not args.reads_distances:
            return dataset
        elif "distance" in names or facts:
            dataset = dataset if "distance" in names else self._measure(dataset)
            gamma = 1.0 if args.gamma is None else args.gamma
            dataset = add_weights(dataset, gamma, weighting, args.known_lambda, args.clip_distance, args.seed)
        else:
            raise self.no_distance(names)
        self.weighted = True
        self.statistics = weight_statistics(dataset, args.reads_distances)
        return dataset

    def own_answers(self, dataset: Dataset) -> Dataset:
        """The training set without the old answers and distances that came with it, where another model gave any.

        Raises:
            ValueError: it cannot be told here whose they are.
        """
        if ANSWERED_BY not in dataset.column_names:
            return dataset
        if self.model is None or "prompt" not in dataset.column_names:
            require_own_answers(dataset, "train_dataset")
        if self.prompt_format is None:
            self._resolve(dataset)
        settings = GenerationSettings(self.args.max_new_tokens)
        own, found = answerer(self.model, self.processing_class, self.prompt_format, settings), dataset[ANSWERED_BY][:]
        if set(found) <= {own}:
            return dataset.remove_columns(ANSWERED_BY)
        logger.warning(
            "the old answers and distances that came with `train_dataset` are another %s's: they are not used",
            " and another ".join(differing_parts(found, own)),
        )
        return without_answers(dataset)

    def no_distance(self, found: object, why: str = "has no column `distance`") -> ValueError:
        """The error of a weighting that has no distances to read."""
        args = self.args
        asked = f"gamma={args.gamma}" if args.gamma else f"weighting={args.weighting!r}"
        return ValueError(
            f"`{asked}` needs distances, but `train_dataset` {why}; it has {found}. Add the column `distance` with "
            f"add_old_answers and add_distances, or pass a dataset with `prompt` and `{self.answers}`."
        )

    def _warn_of_unread(self, names: Collection[str], first: str = "") -> None:
        """Say which columns and options decide nothing, where somebody may think that they do.

        Args:
            first: what else is needed to have them read.
        """
        args = self.args
        idle = args.idle_options()
        if idle:
            logger.warning("`%s` has no effect on weighting=%r", idle[0], args.resolved_weighting)
        if args.weighting is None and args.gamma is None:
            unread = [name for name in ("distance", "weight") if name in names]
            if unread:
                logger.warning(
                    "`train_dataset` has %s, but every weight is 1. To weigh facts, %ssay weighting=%r.",
                    " and ".join(f"`{name}`" for name in unread),
                    first if "distance" in unread else "",
                    "paper" if "distance" in unread else "column",
                )
        elif "weight" in names and args.weighting != "column":
            logger.info("the column `weight` is not read (weighting=%r)", args.resolved_weighting)

    def _measure(self, facts: Dataset) -> Dataset:
        """Old answers and distances, read from `output_dir` where this run has prepared them before."""
        if "old_answer" in facts.column_names:  # the user's own, from a server perhaps
            table = EmbeddingTable.from_model(self.model)
            return add_distances(facts, table, self.processing_class, self.prompt_format)
        args, path = self.args, Path(self.args.output_dir) / PREPARED_FILE
        columns = on_first(read_prepared, path, partial(self._key, facts))
        if columns is None:
            table = EmbeddingTable.from_model(self.model)  # before any forward pass: there may be none
            form, length, size = self.prompt_format, args.max_new_tokens, args.answer_batch_size
            measured = add_old_answers(facts, self.model, self.processing_class, form, length, size)
            measured = add_distances(measured, table, self.processing_class, form)
            columns = {name: measured[name][:] for name in PREPARED_COLUMNS}
            on_first(lambda: write_prepared(path, columns, self._key(facts)))
        return replace_columns(facts, columns)

    def _key(self, facts: Dataset) -> dict[str, object]:
        pairs = json.dumps([facts["prompt"][:], facts["target"][:]], ensure_ascii=False)
        return {
            "facts": hashlib.sha256(pairs.encode()).hexdigest(),
            "model": model_key(self.model)["weights"],
            "prompt format": json.loads(json.dumps(self.prompt_format.to_dict())),
            "max_new_tokens": self.args.max_new_tokens,
        }


def weight_statistics(dataset: Dataset, measured: bool = True) -> dict[str, float]:
    """Mean, extremes and shares of a `weight` column, named for Trainer's logs.

    Args:
        measured: whether the weights are made of the columns `distance` and `old_answer`; they are not read otherwise.
    """
    weights = np.asarray(dataset["weight"][:], dtype=float)
    out = {"weight/mean": weights.mean(), "weight/min": weights.min(), "weight/max": weights.max()}
    if measured and "distance" in dataset.column_names:
        distance = np.asarray(dataset["distance"][:])
        out |= {"distance/mean": distance.mean(), "distance/share_above_1": (distance > 1).mean()}
    if measured and {"old_answer", "target"} <= set(dataset.column_names):
        out["distance/share_known"] = known_facts(dataset).mean()
    return {name: float(value) for name, value in out.items()}
