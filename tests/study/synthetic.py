"""Studies without a model: results with known distances and scores, for tables and pictures."""

import numpy as np

from semantic_trainer.evaluation.statistics import score

CONFIG = {
    "facts": ["zsre_mend_1k.json"],
    "split": "test",
    "model": "builtin:smollm2-135m-instruct",
    "dtype": "bfloat16",
    "method": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "weighting": "none",
    "protocol": "multi",
    "num_train_epochs": 4,
    "per_device_train_batch_size": 10,
    "learning_rate": 0.001,
    "filter": None,
    "measures": [],
}


def a_result(
    run: int,
    distances: np.ndarray,
    accurate: np.ndarray,
    deviating: np.ndarray | None = None,
    group: str = "all",
    bounds: list[float] | None = None,
    **config: object,
) -> dict:
    """A result of one run: (n,) distances, right answers, and by how much facts deviate (not above 0: they do not)."""
    d, n = np.asarray(distances, dtype=float), len(distances)
    moved = np.zeros(n) if deviating is None else np.asarray(deviating)
    own = score([[float(right)] for right in accurate], "strict")
    return {
        "config": {**CONFIG, "facts_per_run": n, "distances": bounds, **config},
        "draw": {"group": group, "run": run, "seed": run},
        "facts": {"n": n, "mean_distance": float(d.mean()), "distance_variance": float(d.var())},
        "scores": {"knowledge_accuracy": own},
        "environment": {"commit": "0123456789abcdef"},
        "rows": {
            "fact_id": [f"{run}-{i}" for i in range(n)],
            "distance": d.tolist(),
            "knowledge_accuracy": [bool(right) for right in accurate],
            "deviation": (moved > 0).tolist(),
            "relative_deviation": [None if v == 0 else float(m) for v, m in zip(d, moved, strict=True)],
        },
    }


def a_setting(runs: int, size: int, level: float, seed: int, **config: object) -> list[dict]:
    """Runs of facts between distances 0.25 and 1.25, with right answers about as often as `level`."""
    rng = np.random.default_rng(seed)
    found = []
    for run in range(runs):
        d = np.clip(rng.normal(0.75, 0.2, size), 0.25, 1.3)
        right = rng.random(size) < level * (1.2 - 0.6 * d) + rng.normal(0, 0.05)
        moved = np.where(rng.random(size) < 0.3, rng.exponential(0.3, size), -0.2)
        found.append(a_result(run, d, right, moved, **config))
    return found


def a_replaced(run: int, kind: str, share: float) -> dict:
    """A result of a filter's arm, which above a share of 0.5 reached half of what was wanted beyond it."""
    level = 0.3 - 0.1 * share * (kind != "filter")
    result = a_setting(1, 100, level, seed=50 + run)[0]
    others = {part: [[float(i < 100 * p)] for i in range(100)] for part, p in (("kept", 0.27), ("trained", 0.36))}
    scores = {part: score(rows, "strict") for part, rows in others.items()}
    return result | {
        "draw": {"group": "all", "run": run, "seed": run},
        "config": result["config"] | {"filter": {"kind": kind, "replace_share": share}},
        "filter": {"replace_share": share, "reached_share": min(share, 0.25 + share / 2)},
        "knowledge_accuracy_of": {"original": result["scores"]["knowledge_accuracy"], **scores},
    }


GROUPS = {"near": (0.2, 0.06), "middle": (0.55, 0.08), "far": (0.9, 0.1), "narrow": (0.55, 0.03), "wide": (0.7, 0.3)}


def the_studies() -> dict[str, dict]:
    """One study for each figure but the fifth, of about the size of the recipes."""
    rng = np.random.default_rng(0)
    grouped = [
        a_result(
            run,
            d := np.clip(rng.normal(mean, width, 100), 0, 1.4),
            rng.random(100) < 0.5 - 0.3 * d,
            group=group,
            bounds=[mean, mean + 0.1],
        )
        for group, (mean, width) in GROUPS.items()
        for run in range(4)
    ]
    shares, kinds = (0.2, 0.4, 0.6, 0.8, 1.0), ("filter", "random_filter")
    replaced = {f"{kind}-{p}": [a_replaced(run, kind, p) for run in range(5)] for kind in kinds for p in shares}
    methods, sizes = ("lora", "adalora", "houlsby", "full"), {1: 100, 10: 20, 50: 10, 100: 5, 500: 2}
    return {
        "figure3": {
            f"zsre-{m}": {"plain": a_setting(20 - 5 * i, 100, 0.25 + 0.1 * i, i)} for i, m in enumerate(methods)
        },
        "figure4": {"zsre-lora": {"plain": a_setting(200, 1, 0.3, 9, protocol="single")}},
        "figure6": {"zsre-lora": {"plain": grouped}},
        "figure7": {name: {"plain": a_setting(5, 100, 0.3, 3), **replaced} for name in ("zsre-lora", "cf-lora")},
        "figure8": {f"facts-{n}": {"plain": a_setting(r, n, 0.6 - 0.1 * np.log10(n), n)} for n, r in sizes.items()},
    }
