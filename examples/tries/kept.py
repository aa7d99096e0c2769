"""What rehearsal keeps: unrelated answers that were rehearsed for another prompt, and those that were not.

    python examples/tries/kept.py --config examples/tries/test.yaml --data_dir DATA [--scale smoke] --out KEPT.json

A base gives many prompts one stock answer ("Male"), and no rehearsed prompt is asked afterwards, but its answer may be
expected of another one. Locality is therefore compared with the first arm's separately. Nothing is trained.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats
from study import kind_of
from trainers import rehearsed_prompts

from semantic_trainer.commands.recipe import read_recipe
from semantic_trainer.files import write_atomically
from semantic_trainer.study.averages import pair
from semantic_trainer.study.protocol import draw_rows
from semantic_trainer.study.results import read_settings
from semantic_trainer.study.worker import Worker

PARTS = ("all", "rehearsed", "other")  # prompts: every one, and by whether their answer was rehearsed for another


def gains(before: dict, after: dict, base: list[str], rehearsed: set[str]) -> dict[str, tuple[float, int]]:
    """Of one run, by how much locality is higher and of how many prompts: all, and by whether it was rehearsed."""
    kept = [np.array([row[0] for row in result["rows"]["locality"]], dtype=float) for result in (before, after)]
    gain, among = kept[1] - kept[0], np.array([answer in rehearsed for answer in base])
    parts = {"all": gain, "rehearsed": gain[among], "other": gain[~among]}
    return {part: (float(values.mean()) if len(values) else np.nan, len(values)) for part, values in parts.items()}


def main() -> None:
    """Compare every arm that rehearses with the first one of its setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--scale", default="file")
    parser.add_argument("--data_dir")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    settings, _, folder = read_recipe(["--config", options.config, "--scale", options.scale])
    worker, rows = Worker(folder, options.data_dir, 1), []
    for setting in settings:
        shares = {arm.name: kind_of(arm) for arm in setting.arms}
        shares = {name: share for name, (kind, share) in shares.items() if kind in ("rehearsal", "mixed")}
        first = setting.arms[0].name
        if not shares or first != setting.arms[0].base:  # only rates are compared there
            continue
        arms = read_settings(folder, {setting.name: [first, *shares]})[setting.name]
        pool = worker.pool(setting)
        for name in shares:
            found = []
            for before, after in zip(*pair(arms[first], arms[name]), strict=True):
                draw = after["draw"]
                drawn = draw_rows(pool.rows[draw["group"]], setting.per_run, draw["run"], setting.training.seed)
                facts = pool.facts.select(drawn)
                prompts = rehearsed_prompts(pool, facts, shares[name], draw["seed"])
                asked = [prompts[0] for prompts in facts["locality_prompts"]]
                pool.ask(asked, "base answers")
                answers = {pool.answers[prompt].text for prompt in prompts}
                found.append(gains(before, after, [pool.answers[prompt].text for prompt in asked], answers))
            for part in PARTS:
                values = np.array([run[part][0] for run in found])
                n = sum(run[part][1] for run in found)
                known = values[~np.isnan(values)]
                if len(known) < 2:
                    raise ValueError(
                        f"{setting.name}: {name} has {len(known)} runs with {part} prompts; two are needed"
                    )
                low, high = stats.ttest_1samp(known, 0).confidence_interval()
                head = {"setting": setting.name, "arm": name, "less": first, "runs": len(known), "part": part}
                rows.append({**head, "prompts": n, "gain": float(known.mean()), "ci95": [float(low), float(high)]})
                said = f"{100 * known.mean():+.1f} [{100 * low:.1f}, {100 * high:.1f}] points, {n} prompts"
                print(f"{setting.name}, {name} less {first}, {part}: {said}")
    if not rows:
        raise SystemExit(f"{options.config} compares no arm that rehearses (as mixed-0.2) with a plain one")
    write_atomically(options.out, (json.dumps(rows, indent=1) + "\n").encode())


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"{Path(__file__).name}: error: {error}") from None
