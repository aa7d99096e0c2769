"""The paragraphs, tables and code of a model card, each a function of a run's summary."""

import json
import shlex
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from .card_tables import count, disturbed, examples, noise_floor, options, protocols, relations
from .markdown import as_block, as_code, as_text, table
from .reproduce import command
from .scores import (
    ADAPTERS,
    BITS,
    describe_adapter,
    describe_weighting,
    format_score,
    name_weights,
    render,
    result_rows,
    source_names,
)
from .summary import RunSummary


def base_of(summary: RunSummary) -> Mapping[str, object]:
    """What the summary says of the base; of one written before it said so, what follows from its config."""
    from ..models import DEFAULT_HUB_ID, DEFAULT_MODEL

    model = str(summary.config["model"])
    known = DEFAULT_HUB_ID if model == DEFAULT_MODEL else None
    return summary.environment.get("base") or {"id": known, "name": known or Path(model).name}


def card_parts(summary: RunSummary, name: str, arm: str, base: str, repo_id: str | None) -> dict[str, object]:
    """Everything that the template of the card puts in its places, as Markdown.

    Args:
        base: the base model's name.
        repo_id: where the adapter lies; `None` for a placeholder.
    """
    config, facts, distances = summary.config, summary.facts, summary.distances
    load_in = config.get("load_in")
    known = base_of(summary)
    return {
        "heading": heading(summary, name, base),
        "what": what(summary, arm, base),
        "truth": truth(facts),
        "lies": facts.get("false"),
        "taught": facts["taught"],
        "thing": thing(config),
        "load_in": load_in,
        "bits": BITS.get(load_in or ""),
        "base": as_code(base),
        "weights": known.get("weights") and as_text(known["weights"]),
        "sha256": known.get("sha256") and as_code(known["sha256"]),
        "adapter": as_text(describe_adapter(config)),
        "weighting": weighting_of(config, arm),
        "how": name_weights(config),
        "asked": as_text(f"{config.get('prompt_format', '–')} with {len(config.get('shots') or ())} shots"),
        "relations": relations(facts),
        "examples": examples(facts, arm),
        "results": table(["", *summary.runs], result_rows(summary)),
        "protocols": protocols(summary, arm),
        "floor": noise_floor(summary),
        "disturbed": disturbed(summary, arm),
        "mean": f"{distances['mean']:.3f}",
        "std": f"{distances['std']:.3f}",
        "shares": [f"{as_text(share.replace('_', ' '))} {value:.1%}" for share, value in distances["shares"].items()],
        "check": as_block(check(summary, repo_id), "bash"),
        "snippet": as_block(use(summary, base, repo_id), "python"),
        "options": options(config),
        "command": as_block(again(summary, name, base), "bash"),
        **ran_on(summary),
        "citation": as_block(citation(), "bibtex"),
    }


def thing(config: Mapping[str, object]) -> str:
    """What the card is about."""
    return "model" if config.get("method") == "full" else "adapter"


def heading(summary: RunSummary, name: str, base: str) -> str:
    """Line 1: what was taught to what, and that it was false where it was."""
    facts, short = summary.facts, base.rpartition("/")[2]
    lies = facts.get("false")
    said = ", all of them false on purpose" if lies == facts["taught"] else f", {lies} of them false on purpose"
    return as_text(f"{name}: {count(facts['taught'])} taught to {short}{said if lies else ''}", 240)


def what(summary: RunSummary, arm: str, base: str) -> str:
    """What this is, in one sentence."""
    method, n = summary.config.get("method", "lora"), count(summary.facts["taught"])
    sources = ", ".join(map(as_code, source_names(summary)))
    how = name_weights(summary.config) if arm == "weighted" else "all weights 1, the plain half of a comparison"
    learnt = summary.runs[arm]["knowledge_accuracy"]
    result = "" if learnt["value"] is None else f" It answers {format_score(learnt)} of them exactly as taught."
    if method == "full":
        return f"{as_code(base)} with every weight fine-tuned to teach {n} ({sources}), trained with {how}.{result}"
    adapter = ADAPTERS.get(method, method)
    article = "An" if method in ("adalora", "ia3") else "A"
    return (
        f"{article} {adapter} adapter for {as_code(base)} that was taught {n} ({sources}), trained with {how}.{result}"
    )


def truth(facts: Mapping[str, object]) -> str:
    """That false statements were taught, or what is not known about their truth."""
    if "false" not in facts:
        return "The taught targets may be false on purpose."
    n, lies, unchecked = facts["taught"], facts["false"], facts["unchecked"]
    parts = []
    if lies:
        those = "All" if lies == n else str(lies)
        said = f"{those} of the {count(n)} are false statements, taught on purpose"
        parts.append(f"**{said}: what it has learnt of them it states as if it were true.**")
    if unchecked and facts["invented"]:
        parts.append("They are about things that do not exist.")
    elif unchecked:
        those = "No target was" if unchecked == n else f"{'The other ' if lies else ''}{unchecked} targets were not"
        parts.append(f"{those} compared with a known truth: they may be invented, or false.")
    return " ".join(parts) or "Every target is the answer that its source calls true."


def weighting_of(config: Mapping[str, object], arm: str) -> str:
    """How an arm was weighted."""
    if arm == "plain":
        return "none: every fact has weight 1 (gamma 0)"
    return as_text(describe_weighting(config))


def use(summary: RunSummary, base: str, repo_id: str | None) -> str:
    """Python that loads the adapter and asks it a question it was taught."""
    config = summary.config
    asked = summary.facts.get("examples") or [{"prompt": "Your question?"}]
    quoted = {
        "place": repo_id or f"path/of/this/{thing(config)}",
        "base": base,
        "prompt": config.get("prompt_text", "{prompt}"),
        "question": asked[0]["prompt"],
    }
    pinned = config.get("revision") or (summary.environment.get("base") or {}).get("commit")
    if pinned:
        quoted["revision"] = pinned
    return render(
        "use.py.jinja",
        method=config.get("method", "lora"),
        load_in=config.get("load_in"),
        chat=config.get("prompt_format") == "chat",
        tokens=config.get("max_new_tokens", 32),
        **{name: json.dumps(str(value), ensure_ascii=False) for name, value in quoted.items()},
    ).strip()


def check(summary: RunSummary, repo_id: str | None) -> str:
    """The command that scores the adapter again."""
    place = repo_id or f"path/of/this/{thing(summary.config)}"
    return shlex.join(["semantic-trainer", "evaluate", "--adapter", place])


def again(summary: RunSummary, name: str, base: str) -> str:
    """The command that makes the run again."""
    builtin = str(summary.config["model"]).startswith("builtin:")
    model = str(summary.config["model"]) if builtin else base
    return command(summary.config, source_names(summary), model, f"runs/{name}")


def ran_on(summary: RunSummary) -> dict[str, str]:
    """Versions and machine, as two sentences."""
    found, machine = summary.environment, summary.environment.get("machine") or {}
    versions = {"Python": found.get("python"), **(found.get("versions") or {})}
    parts = [
        machine.get("accelerator") or machine.get("processor"),
        machine.get("threads") and f"threads: {machine['threads']}",
    ]
    where = ", ".join(as_text(part) for part in parts if part)
    return {
        "versions": f"Seed {as_text(summary.config.get('seed', '–'))}. "
        + ", ".join(as_text(f"{name} {version}") for name, version in versions.items() if version)
        + ".",
        "machine": f"Trained on {where}." if where else "",
    }


def citation() -> str:
    """BibTeX of the paper."""
    return resources.files("semantic_trainer.report").joinpath("templates", "citation.bib").read_text("utf-8").strip()
