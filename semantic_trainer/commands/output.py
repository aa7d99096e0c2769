"""The folder a run writes to: who holds it, what is in it, and how it is shown."""

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet
from datasets import Dataset
from filelock import FileLock, Timeout

from ..distribution import on_first
from ..files import CACHE_FIX, cache_dir, check_writable, place_atomically, sweep, write_atomically
from ..report.figures import DISTANCES_FILE, draw_run
from ..report.model_card import create_model_card, write_text
from ..report.page import create_report
from ..report.reasons import counts, why_not
from ..report.scores import result_rows
from ..report.summary import RUNS, SUMMARY_FILE, RunSummary, distance_warnings
from .arms import HISTORY_FILE
from .terminal import console as terminal

logger = logging.getLogger(__name__)
CONFIG_FILE = "run_config.json"
BASE = "base"  # in it: which weights the run was begun on
EMPTYING = "emptying"  # in it while --overwrite deletes what was there before
# Columns of a run's own table that facts.parquet keeps, under the run's name.
RUN_COLUMNS = {
    "new_answer": "answer",
    "new_answer_raw": "answer_raw",
    "new_answer_truncated": "answer_truncated",
    "new_distance": "distance",
    "knowledge_accuracy": "knowledge_accuracy",
    "generality": "generality",
    "paraphrase_answers": "paraphrase_answers",
    "locality": "locality",
    "locality_new_answers": "locality_answers",
    **{name: name for name in ("normalized", "contains", "token", "portability", "portability_answers")},
    "next_token_kl": "next_token_kl",
    "locality_noise_floor": "locality_noise_floor",
    "bad_case": "bad_case",
    "deviation": "deviation",
    "relative_deviation": "relative_deviation",
    "losses": "losses",
    "first_learnt": "first_learnt",
}


class OutputFolder:
    """A run's `output_dir`.

    Args:
        path: the folder.
        config: the run's options; a run is gone on with only under the same ones.
    """

    def __init__(self, path: Path, config: dict[str, object]) -> None:
        self.path, self.replaces = path, False
        self.config = json.loads(json.dumps(config, default=str))

    def checkpoints(self, arm: str) -> Path:
        """Where an arm's trainer keeps its checkpoints until the run has ended."""
        return self.path / "checkpoints" / arm

    def adapter(self, arm: str) -> Path:
        """Where an arm's trained adapter, or model, waits until the run has ended."""
        return self.path / "checkpoints" / f"{arm}-adapter"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out: two that write to one folder, or workers that outlived a killed launcher.

        The lock lies in the cache, so that nothing of it is left in the folder; a kill lets it go.

        Raises:
            ValueError: another process holds the folder.
        """
        name = hashlib.sha256(str(self.path.resolve()).encode()).hexdigest()[:32]
        lock = FileLock(cache_dir() / "locks" / f"{name}.lock")
        on_first(self._acquire, lock)
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> None:
        check_writable(Path(lock.lock_file).parent, "the cache", CACHE_FIX)
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"`output_dir` {str(self.path)!r} is being written to by another process, perhaps a worker that "
                "outlived its launcher. Wait for it, end it, or choose another folder."
            ) from error

    def prepare(self, resume: bool, overwrite: bool) -> RunSummary | None:
        """Check that the folder is free, or ours to go on with; the summary where the run has ended already.

        Raises:
            ValueError: it is in use and neither option was given, or it holds a run with other options.
        """
        check_writable(self.path, "`output_dir`", "Choose another folder.")
        sweep(self.path, recursive=True)
        # A try that ended before its first answer leaves its options alone: nothing to go on with, nothing to lose.
        used = self.path.exists() and {f.name for f in self.path.iterdir()} - {DISTANCES_FILE, CONFIG_FILE}
        ours = (self.path / CONFIG_FILE).exists()
        if not used:
            if resume:
                logger.info("nothing to resume in %s: starting afresh", self.path)
            return None
        if not ours:
            raise ValueError(f"`output_dir` {str(self.path)!r} is not empty and holds no run. Choose another folder.")
        if overwrite:
            self.replaces = True
            return None
        if not resume:
            raise ValueError(
                f"`output_dir` {str(self.path)!r} holds another run. Add --resume to go on with it, --overwrite to "
                "delete it and start again, or choose another folder."
            )
        self.replaces = self._check_held()
        if self.replaces or not (self.path / SUMMARY_FILE).exists():
            return None
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)  # left where the last step was interrupted
        return RunSummary.load(self.path)

    def _check_held(self) -> bool:
        """Refuse a run with other options; whether the folder was being emptied for this one when it was killed."""
        where = f"`output_dir` {str(self.path)!r}"
        try:
            held = dict(json.loads((self.path / CONFIG_FILE).read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{where}: its {CONFIG_FILE} cannot be read ({error}). Choose another folder, or delete the run in it "
                "and start again with --overwrite."
            ) from error
        emptying = bool(held.pop(EMPTYING, False))
        # facts_hash says whether the facts are the same ones, by whatever path
        differs = sorted(n for n in {*held, *self.config} - {"facts", BASE} if held.get(n) != self.config.get(n))
        if differs:
            was = [f"{name} (was {held.get(name)!r}, is {self.config.get(name)!r})" for name in differs[:5]]
            if "facts_hash" in differs:
                was = ["the facts themselves", *(entry for entry in was if not entry.startswith("facts_hash"))]
            raise ValueError(f"{where} holds a run with other options: {', '.join(was)}.")
        return emptying

    def start(self, base: Mapping[str, object] | None = None) -> None:
        """Take the folder: from here on it is this run's. What `overwrite` replaces goes only now.

        Args:
            base: the base model's `sha256` and `commit`, kept beside the options.

        Raises:
            ValueError: the run to go on with was begun on another base model.
        """
        self._check_base(base or {})
        if self.replaces:  # emptied rather than renamed: it may be a link or a mounted disk
            self._write_config({EMPTYING: True})
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != CONFIG_FILE:
                    entry.unlink()
        self._write_config({BASE: base} if base else {})

    def _check_base(self, base: Mapping[str, object]) -> None:
        """Refuse to go on with a run whose arms would start from different weights."""
        if self.replaces or not (self.path / CONFIG_FILE).exists():
            return
        held = json.loads((self.path / CONFIG_FILE).read_text(encoding="utf-8")).get(BASE) or {}
        for name in ("sha256", "commit"):
            if held.get(name) and base.get(name) and held[name] != base[name]:
                raise ValueError(
                    f"`output_dir` {str(self.path)!r} holds a run of another base model of that name: its {name} was "
                    f"{held[name][:12]}..., is {base[name][:12]}.... Give that one, or start again with --overwrite."
                )

    def _write_config(self, more: Mapping[str, object]) -> None:
        text = json.dumps({**self.config, **more}, indent=2, ensure_ascii=False)
        write_text(self.path / CONFIG_FILE, text + "\n")


def join_tables(facts: Dataset, tables: Mapping[str, Dataset], max_new_tokens: int | None = None) -> Dataset:
    """One row a fact: its columns, its distance and weight, and every run's answers and scores."""
    for run, table in tables.items():
        for column, name in RUN_COLUMNS.items():
            if column in table.column_names:  # the base has not been taught
                facts = facts.add_column(f"{run}_{name}", table[column][:])
    columns = facts.to_dict()
    for arm in RUNS[1:]:
        facts = facts.add_column(f"{arm}_why_not", why_not(columns, arm, max_new_tokens))
    return facts


def write_outputs(folder: OutputFolder, summary: RunSummary, facts: Dataset, tables: Mapping[str, Dataset]) -> None:
    """Write everything a run leaves behind; the summary comes last and says that the run has ended."""
    path = folder.path
    for arm, place in (("weighted", path), ("plain", path / "plain")):
        for file in sorted(folder.adapter(arm).iterdir()):
            if file.name not in (
                "README.md",
                HISTORY_FILE,
            ):  # PEFT's card, ours is written below; columns of the table
                place_atomically(file, place / file.name)
    joined = join_tables(facts, tables, summary.config.get("max_new_tokens"))
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(joined.data.table, buffer)
    write_atomically(path / "facts.parquet", buffer.getvalue())
    figures = draw_run(path, facts, tables)
    write_text(path / "report.html", create_report(summary, joined, figures, distance_warnings(summary.distances)))
    write_text(path / "README.md", create_model_card(summary, path.resolve().name))  # the last file but the summary
    summary.save(path)
    shutil.rmtree(path / "checkpoints", ignore_errors=True)


def describe_not_learnt(path: Path) -> list[str]:
    """For each arm of a finished run, how many facts were not learnt, and what may be why."""
    names = [f"{arm}_{name}" for arm in RUNS[1:] for name in ("knowledge_accuracy", "why_not")]
    file, lines = path / "facts.parquet", []
    if not set(names) <= set(pyarrow.parquet.read_schema(file).names):  # of an earlier version
        return []
    columns = pyarrow.parquet.read_table(file, columns=names).to_pydict()
    for arm in RUNS[1:]:
        wrong = [not right for right in columns[f"{arm}_knowledge_accuracy"]]
        found = counts(columns[f"{arm}_why_not"], wrong)
        if any(wrong):
            whys, many = ", ".join(f"{n} {why}" for why, n in found.items()), "s" * (sum(wrong) > 1)
            lines.append(f"Not learnt, {arm}: {sum(wrong)} fact{many}; {whys}.")
    return lines


def print_results(summary: RunSummary, folder: str) -> None:
    """The one table of a run, what was said before training, what was not learnt, and where everything is."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=f"{summary.facts['taught']} facts, 95 % intervals", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for run in summary.runs:
        table.add_column(run, justify="right")
    for row in result_rows(summary, digits=0):
        table.add_row(*row)
    console = terminal()
    console.print(table)
    shares = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in summary.distances["shares"].items())
    console.print(f"Before training: mean distance {summary.distances['mean']:.3f}; {shares}.", highlight=False)
    for line in describe_not_learnt(Path(folder)):
        console.print(line, highlight=False, markup=False)
    seconds = summary.environment["seconds"]
    console.print(f"Written to {folder} in {seconds:.0f} s; open {folder}/report.html.", highlight=False, markup=False)
