"""Every tuning method on the same facts: what it learns, what it disturbs, and what it costs.

    python benchmarks/methods.py [--facts 100] [--methods lora ia3 ...] [--output results/methods.json]

Plain loss, batches of 10, question_answer with two shots, the built-in model in float32. On the dev half of MEND's
zsRE each method takes the best learning rate of a small sweep at 8 epochs (strict accuracy, then generality), and
twice as many epochs as long as that adds a point of accuracy, at most 64: its plateau. Both settings are then trained
once on the test half, and scored. Every training has a process of its own, in which its peak memory above the loaded
model and the processor seconds of the training are taken; what is in the output already is not done again. `--table`
measures nothing and writes the rows into docs/tuning_methods.md.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from side_by_side import in_child, peak_above
from workload import SHOTS, quiet

from semantic_trainer import PromptFormat, SemanticTrainingArguments, evaluate_facts, load_facts, record_base
from semantic_trainer.files import write_atomically
from semantic_trainer.models import DEFAULT_MODEL, load_model
from semantic_trainer.report.summary import describe_environment
from semantic_trainer.training.teaching import teach
from semantic_trainer.training.training_args import optimizer_steps
from semantic_trainer.tuners.arguments import ModelArguments, adapter_config

FILE, EPOCHS, MOST, GAIN, SEED = "zsre_mend_1k.json", 8, 64, 0.01, 42
OPTIONS = {  # by name of the row: what ModelArguments takes
    "lora": {"method": "lora"},
    "dora": {"method": "dora"},
    "houlsby": {"method": "houlsby"},
    "full": {"method": "full"},
    "adalora": {"method": "adalora"},
    "ia3": {"method": "ia3"},
    "lora, 4 bit": {"method": "lora", "load_in": "4bit"},
}
SWEEPS = {
    "lora": (2e-3, 4e-3),
    "dora": (2e-3, 4e-3),
    "houlsby": (5e-4, 1e-3),
    "full": (5e-5, 1e-4, 2e-4),
    "adalora": (5e-3, 1e-2, 2e-2),
    "ia3": (1e-2, 3e-2, 6e-2),
    "lora, 4 bit": (2e-3, 4e-3),
}
SCORES = ("knowledge_accuracy", "generality", "locality", "deviation", "leak_gap")
MARKS = ("<!-- measured methods -->", "<!-- /measured methods -->")
DOCS = Path(__file__).parents[1] / "docs" / "tuning_methods.md"


def one(name: str, rate: float, epochs: int, split: str, n: int, threads: int) -> dict[str, object]:
    """Train and score one setting; for a process of its own."""
    quiet()
    torch.set_num_threads(threads)
    options = ModelArguments(**OPTIONS[name])
    path = Path(os.environ["DATA_DIR"]) / FILE
    facts = load_facts(path, on_conflict="drop", split=split).select(range(n))
    model, tokenizer = load_model(DEFAULT_MODEL, torch.float32, load_in=options.load_in)
    form, base, found = PromptFormat.question_answer(SHOTS), None, {}
    if split == "dev":
        facts = facts.remove_columns("locality_prompts")  # nothing is chosen by it
    elif options.method == "full":
        base = record_base(model, tokenizer, facts, form)
    for parameter in model.parameters():
        parameter.detach().sum()  # every page of a mapped checkpoint is there before

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            args = SemanticTrainingArguments(
                folder,
                weighting="none",
                learning_rate=rate,
                num_train_epochs=epochs,
                per_device_train_batch_size=10,
                seed=SEED,
                save_strategy="no",
                report_to="none",
                use_cpu=True,
            )
            config = adapter_config(model, options, optimizer_steps(args, facts))
            start = time.process_time()
            taught = teach(model, tokenizer, facts, form, args, config, quiet=True)
            found["processor_seconds"] = time.process_time() - start
            found["model"], found["steps"] = taught.model, taught.state.global_step

    megabytes = peak_above(train)
    tuned = found.pop("model")
    trainable = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
    summary = evaluate_facts(tuned, tokenizer, facts, form, **({"base": base} if base else {})).summary
    scores = {key: summary[key] for key in SCORES if key in summary}
    return {"trainable_parameters": trainable, "peak_megabytes": megabytes, **found, "scores": scores}


class Results:
    """What was measured, on disk after every training."""

    def __init__(self, path: Path, args: argparse.Namespace) -> None:
        self.path, self.args = path, args
        self.data = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": []}

    def get(self, **setting: object) -> dict[str, object]:
        """A setting's result: the one there is, or a new one."""
        for run in self.data["runs"]:
            if all(run[key] == value for key, value in setting.items()):
                return run
        asked = (setting["method"], setting["learning_rate"], setting["epochs"], setting["split"])
        run = setting | in_child(one, *asked, setting["facts"], self.args.threads)
        run["environment"] = describe_environment()
        self.data["runs"].append(run)
        write_atomically(self.path, (json.dumps(self.data, indent=1) + "\n").encode())
        scores = {key: found["value"] for key, found in run["scores"].items()}
        print(
            asked,
            {k: None if v is None else round(v, 3) for k, v in scores.items()},
            f"{run['processor_seconds']:.0f} s",
            flush=True,
        )
        return run

    def choose(self, method: str) -> Iterator[dict[str, object]]:
        """The setting of 8 epochs and, where it is another, that of the plateau, both chosen on the dev half."""

        def on_dev(rate: float, epochs: int) -> tuple[float, float]:
            scores = self.get(method=method, learning_rate=rate, epochs=epochs, split="dev", facts=self.args.facts)[
                "scores"
            ]
            return scores["knowledge_accuracy"]["value"], scores["generality"]["value"]

        rate = max(SWEEPS[method], key=lambda candidate: on_dev(candidate, EPOCHS))
        yield {"learning_rate": rate, "epochs": EPOCHS}
        epochs = EPOCHS
        while epochs < MOST and on_dev(rate, epochs)[0] < 1:
            gain = on_dev(rate, 2 * epochs)[0] - on_dev(rate, epochs)[0]
            if gain < GAIN:
                break
            epochs *= 2
        if epochs > EPOCHS:
            yield {"learning_rate": rate, "epochs": epochs}


def percent(score: dict[str, object]) -> str:
    """`97.0 [91.5, 99.0]`."""
    low, high = score["ci95"]
    return f"{100 * score['value']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def table(runs: list[dict[str, object]]) -> str:
    """The runs on the test half as Markdown."""
    lines = [
        "| method | rate | epochs | accuracy, % | generality, % | locality, % | trained | processor seconds | MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in (run for run in runs if run["split"] == "test"):
        scores = " | ".join(percent(run["scores"][key]) for key in SCORES[:3])
        size = f"{run['trainable_parameters']:,} | {run['processor_seconds']:.0f} | {run['peak_megabytes']:,.0f}"
        lines.append(f"| {run['method']} | {run['learning_rate']:g} | {run['epochs']} | {scores} | {size} |")
    return "\n".join(lines)


def write_table(runs: list[dict[str, object]]) -> None:
    """Put the table between its marks in the docs."""
    text = DOCS.read_text(encoding="utf-8")
    head, rest = text.split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    write_atomically(DOCS, f"{head}{MARKS[0]}\n{table(runs)}\n{MARKS[1]}{tail}".encode())


def main() -> None:
    """Parse, choose, train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--methods", nargs="+", choices=tuple(OPTIONS), default=list(OPTIONS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("results/methods.json"))
    parser.add_argument("--table", action="store_true", help="measure nothing, write the docs' table")
    args = parser.parse_args()
    results = Results(args.output, args)
    if args.table:
        return write_table(results.data["runs"])
    for method in args.methods:
        for setting in results.choose(method):
            results.get(method=method, **setting, split="test", facts=args.facts)


if __name__ == "__main__":
    main()
