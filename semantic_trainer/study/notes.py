"""What stands below a table or a figure: how its numbers came about, and what is wrong with the paper's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..distance.weighting import CONTROLS
from ..evaluation.statistics import average
from ..facts.messages import counted
from ..tuners.methods import LOW_RANK
from . import paper
from .averages import by_distance, in_points
from .curves import facts_of
from .results import Results, Study

PAIRED = (
    "Per cent, mean over runs with its 95 % t interval; the run is the unit. Differences are paired by run "
    "(Student's t), their p-values corrected for all differences of a setting (Holm)."
)
RUNS_OWN = ("seed", "distances")  # options that differ between the runs of one arm


def paper_notes(study: Study, table: str) -> list[str]:
    """How each setting was run, and at which commit; of the paper's facts whose its numbers are, and their faults."""
    if not any(paper.data_set(results[0]["config"]) for arms in study.values() for results in arms.values()):
        return provenance(study)
    beside = [] if table == "table5" else [_whose(study)]
    return [*provenance(study), *beside, *paper.INCONSISTENT[table]]


def provenance(study: Study) -> list[str]:
    """How each setting and arm was run, and at which commit."""
    told = [note for setting, arms in study.items() for note in (regime(setting, arms), *changes(setting, arms))]
    return [*told, commits(study)]


def regime(setting: str, arms: Results) -> str:
    """One sentence a setting: facts, half, protocol, training of the first arm, and how answers were compared."""
    results = by_distance(next(iter(arms.values())))
    groups = {r["draw"]["group"]: r["config"]["distances"] for r in results if r["config"]["distances"]}
    drawn = "".join(f", {name} from {low:g} to {high:g}" for name, (low, high) in groups.items())
    config, protocol = results[0]["config"], results[0]["scores"]["knowledge_accuracy"]["protocol"]
    half, size = f"{config['split']} half" if config["split"] else "both halves", config["facts_per_run"]
    length = (
        counted(config["num_train_epochs"], "epoch")
        if config.get("max_steps", -1) <= 0
        else f"{config['max_steps']} steps"
    )
    files = ", ".join(config["facts"]) + (f" (the first {config['limit']})" if config.get("limit") else "")
    return (
        f"{setting}: {files}, {half}; {_distances(results)}; {_model(config)}, "
        f"{_method(config)}; protocol {config['protocol']}, {counted(size, 'fact')} a run{drawn}, "
        f"{length} in batches of {config['per_device_train_batch_size']}, learning rate {config['learning_rate']:g}; "
        f"{protocol}."
    )


def _distances(results: Sequence[Mapping]) -> str:
    """How many facts an arm's runs hold, a repeated one once, and how far the base's answers were from the targets."""
    asked = [result for result in results if result["rows"]]  # a training that has diverged was not
    facts = {r["rows"]["fact_id"][i]: r["rows"]["distance"][i] for r in asked for i in facts_of(r)}
    drawn, known = sum(len(facts_of(r)) for r in asked), list(facts.values())
    repeated = f" in {drawn} draws" if drawn > len(known) else ""
    if not known:
        return "no facts"
    mean, far = sum(known) / len(known), sum(distance >= 1 for distance in known) / len(known)
    return f"{len(known)} facts{repeated}, distance {mean:.2f} in the mean, {100 * far:.0f} % from 1 on"


def changes(setting: str, arms: Results) -> list[str]:
    """In what each further arm's options differ from those of the first one: one sentence, or none.

    Of a run that a script made, its JSON says under `try` what the script did besides: `{kind, strength}`.
    """
    first, *others = [(arm, _options(results[0])) for arm, results in arms.items()]
    found = []
    for arm, options in others:
        names = [n for n in {**first[1], **options} if n not in RUNS_OWN and options.get(n) != first[1].get(n)]
        if names:
            found.append(f"{arm} ({', '.join(f'{name} {_plain(options.get(name))}' for name in names)})")
    return [f"{setting}, other than {first[0]}: {', '.join(found)}."] if found else []


def _options(result: Mapping[str, object]) -> dict[str, object]:
    """A run's config, what a script did besides, and the gamma that weights made of distances have by default."""
    config, tried = dict(result["config"]), result.get("try") or {}
    if tried.get("strength"):
        return {**config, str(tried["kind"]): float(tried["strength"])}
    unsaid = config.get("gamma") is None and config["weighting"] in ("paper", *CONTROLS)
    return {**config, "gamma": 1.0} if unsaid else config


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_plain(entry)}" for name, entry in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _method(config: Mapping[str, object]) -> str:
    """The tuning method, its rank and scale where it has them, and what the weights are held in."""
    rank = f" (lora_r {config['lora_r']}, lora_alpha {config['lora_alpha']})" if config["method"] in LOW_RANK else ""
    return f"{config['method']}{rank}, weights in {config['dtype']}"


def _model(config: Mapping[str, object]) -> str:
    """Hub id of a model, or the name of its folder, wherever that lies."""
    model = str(config["model"])
    return Path(model).name if Path(model).is_absolute() else model


def _whose(study: Study) -> str:
    """Which of the paper's models stands in the columns beside ours."""
    configs = [results[0]["config"] for arms in study.values() for results in arms.values()]
    models = {_model(config): paper.paper_model(str(config["model"])) for config in configs}
    told = ", ".join(f"{theirs} beside {ours}" for ours, theirs in models.items())
    return f"The paper's numbers are of other sizes and without intervals: {told}."


def commits(study: Study) -> str:
    """At which commits the runs were made, a commit's first 12 digits, with `-dirty` behind where code had changed."""
    found = {r["environment"]["commit"] or "none" for a in study.values() for rs in a.values() for r in rs}
    return f"Commit {', '.join(sorted(commit[:12] + commit[40:] for commit in found))}."


def floors(study: Study) -> list[str]:
    """What locality can be at most, where it was measured."""
    notes = []
    for setting, arms in study.items():
        floor = average([r["scores"]["locality_noise_floor"] for r in next(iter(arms.values()))])
        if floor["value"] is not None:
            notes.append(f"{setting}: the base agrees with itself in reshuffled batches on {in_points(floor)} %.")
    return notes
