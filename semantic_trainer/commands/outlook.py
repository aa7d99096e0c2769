"""Of facts not taught yet, how many will stick: from what a `budget` search has seen of others on the same model."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..facts.messages import counted
from ..study.predictors import FEATURES, Outlook, fit_outlook
from ..study.results import read_study
from .budget import NAME, SUMMARY

SHOWN = 10
ASKED = ("model", "revision", "prompt_format", "system_prompt", "shots", "max_new_tokens")  # must be alike


def read_search(folder: Path, options: dict[str, object]) -> tuple[dict, list[dict]]:
    """What a search has found, and the results of the best setting's plain runs.

    Args:
        options: of the facts to be judged: their model and prompt format must be the search's.

    Raises:
        FileNotFoundError: there is no finished search.
        ValueError: it was made with another model or prompt format, its summary cannot be read, or its runs are gone.
    """
    path = folder / SUMMARY
    if not path.is_file():
        raise FileNotFoundError(
            f"`budget` {str(folder)!r} holds no finished search (no {SUMMARY}). Make one: semantic-trainer budget "
            f"--config FILE.yaml --output_dir {folder}"
        )
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        arm, _ = found["arm"], [found["best"][name] for name in ("epochs", "learning_rate")] + [found["facts_per_run"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is no summary of a search ({error}). Make the search again.") from error
    made = read_study(folder, NAME).get(arm, ())
    if made and all(result.get("diverged") for result in made):
        raise ValueError(
            f"`budget` {str(folder)!r}: every training of {arm!r} diverged, which says nothing of facts. Make a "
            "search with lower `learning_rates`."
        )
    results = [r for r in made if "target_loss" in r["rows"]]
    if not results:
        raise ValueError(f"`budget` {str(folder)!r} has lost the runs of {arm!r}. Make the search again there.")
    held = results[0]["config"]
    differs = [f"{n} ({held.get(n)!r}, not {options.get(n)!r})" for n in ASKED if held.get(n) != options.get(n)]
    if differs:
        raise ValueError(
            f"`budget` {str(folder)!r} was searched with another {', '.join(differs)}. What it has seen says nothing "
            "of these facts. Give the same options, or make a search with these."
        )
    return found, results


def outlook_of(results: Sequence[dict]) -> Outlook:
    """What was learnt in these runs, fitted on what was known of each fact before."""
    rows = [result["rows"] for result in results]
    features = {name: [value for row in rows for value in row[name]] for name in FEATURES}
    learnt, facts = ([value for row in rows for value in row[name]] for name in ("knowledge_accuracy", "fact_id"))
    return fit_outlook(features, learnt, facts=facts)


def describe_outlook(facts: Dataset, found: dict, results: Sequence[dict]) -> list[str]:
    """How many of the facts will stick at the search's best setting, and the least likely ones.

    Args:
        facts: with `distance` and `target_loss`.
    """
    outlook = outlook_of(results)
    chances = outlook.probabilities({name: facts[name][:] for name in FEATURES})
    best = found["best"]
    auc = "" if outlook.auc is None else f", telling the two apart with an AUC of {outlook.auc:.2f}"
    different = len({fact for result in results for fact in result["rows"]["fact_id"]})
    some = f", {different} of them different ones" if different < outlook.n else ""
    lines = [
        f"At {counted(best['epochs'], 'epoch')} with learning rate {best['learning_rate']:g}, about "
        f"{chances.sum():.0f} of these {len(facts)} facts will stick "
        f"({outlook.learnt} of {outlook.n} did in the search{some}{auc})."
    ]
    if len(facts) != found["facts_per_run"]:
        lines.append(
            f"The search taught {found['facts_per_run']} facts a run; with {len(facts)} the share will be another one."
        )
    if outlook.auc is not None:
        lines.append("The least likely ones:")
        for i in np.argsort(chances, kind="stable")[:SHOWN].tolist():
            lines.append(f"  {chances[i]:4.0%}  {facts[i]['prompt']} -> {facts[i]['target']}")
    return lines
