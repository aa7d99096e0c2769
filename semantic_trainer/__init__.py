"""Teach facts to language models with adapters: which will stick, what was learnt, disturbed, moved away.

The import is light: every public name loads its module, and with it torch and transformers, on first use.

Example:
    >>> import semantic_trainer
    >>> float(semantic_trainer.semantic_weight([0.5], gamma=1.0)[0])
    1.0
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0.dev0"

_HOMES = {
    "EmbeddingTable": "distance.embedding",
    "Endpoint": "answers",
    "EvaluateFactsCallback": "evaluation.callback",
    "Evaluation": "evaluation.evaluator",
    "FilterPlan": "distance.filter_plan",
    "HoulsbyConfig": "tuners",
    "PromptFormat": "facts.prompts",
    "RandomFilter": "distance.random_filter",
    "SemanticFilter": "distance.filtering",
    "SemanticFilterCollator": "training.filter_collator",
    "SemanticSFTConfig": "training.sft_config",
    "SemanticTrainingArguments": "training.training_args",
    "SemanticWeightedSFTTrainer": "training.sft_trainer",
    "SemanticWeightedTrainer": "training.trainer",
    "add_distances": "distance.embedding",
    "add_known_labels": "answers.known",
    "add_old_answers": "answers",
    "add_weights": "distance.weighting",
    "evaluate_facts": "evaluation.evaluator",
    "load_facts": "facts.readers",
    "push_facts": "report.publishing",
    "record_base": "evaluation.record",
    "semantic_distance": "distance.embedding",
    "semantic_weight": "distance.weighting",
    "tokenize_facts": "facts.prompts",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


if TYPE_CHECKING:
    from .answers import Endpoint as Endpoint
    from .answers import add_old_answers as add_old_answers
    from .answers.known import add_known_labels as add_known_labels
    from .distance.embedding import EmbeddingTable as EmbeddingTable
    from .distance.embedding import add_distances as add_distances
    from .distance.embedding import semantic_distance as semantic_distance
    from .distance.filter_plan import FilterPlan as FilterPlan
    from .distance.filtering import SemanticFilter as SemanticFilter
    from .distance.random_filter import RandomFilter as RandomFilter
    from .distance.weighting import add_weights as add_weights
    from .distance.weighting import semantic_weight as semantic_weight
    from .evaluation.callback import EvaluateFactsCallback as EvaluateFactsCallback
    from .evaluation.evaluator import Evaluation as Evaluation
    from .evaluation.evaluator import evaluate_facts as evaluate_facts
    from .evaluation.record import record_base as record_base
    from .facts.prompts import PromptFormat as PromptFormat
    from .facts.prompts import tokenize_facts as tokenize_facts
    from .facts.readers import load_facts as load_facts
    from .report.publishing import push_facts as push_facts
    from .training.filter_collator import SemanticFilterCollator as SemanticFilterCollator
    from .training.sft_config import SemanticSFTConfig as SemanticSFTConfig
    from .training.sft_trainer import SemanticWeightedSFTTrainer as SemanticWeightedSFTTrainer
    from .training.trainer import SemanticWeightedTrainer as SemanticWeightedTrainer
    from .training.training_args import SemanticTrainingArguments as SemanticTrainingArguments
    from .tuners import HoulsbyConfig as HoulsbyConfig
