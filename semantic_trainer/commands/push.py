"""`semantic-trainer push`: a finished run's adapter, card, figures and summary on the Hub, in one commit."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..hub.plan import WHOLE, Upload, files_to_push, weights_sha256, with_base
from ..hub.scan import check_leaks, without_paths
from ..hub.upload import check_license, check_repo_id, commit
from .finished import AGAIN, PLACES, check_folder, check_model, read_summary
from .options import refuse
from .terminal import console as terminal

if TYPE_CHECKING:  # --help needs none of it
    from ..report.summary import RunSummary

CARD = "README.md"


@dataclass(frozen=True)
class Pushed:
    """What `push` did.

    Attributes:
        files: what was published, or would be.
        url: of the commit; `None` after a dry run.
        pr_url: of the pull request, where one was made.
    """

    files: tuple[Upload, ...]
    url: str | None = None
    pr_url: str | None = None


def build_parser() -> argparse.ArgumentParser:
    """The command's options; a wrong one is one sentence, not the whole usage."""
    parser = argparse.ArgumentParser(
        prog="semantic-trainer push",
        description="Publish a finished run on the Hub: adapter, card, figures and summary, in one commit.",
        epilog="Ten of the facts stand in the card as examples; all of them go out with --include_facts only.",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="The output_dir of a finished run.")
    parser.add_argument(
        "--repo_id", metavar="ORG/NAME", required=True, help="The repository; made if it is not there."
    )
    parser.add_argument("--arm", choices=PLACES, default="weighted", help="Which adapter; weighted by default.")
    parser.add_argument("--private", action="store_true", help="Make the repository private, if it is made now.")
    parser.add_argument("--create_pr", action="store_true", help="Open a pull request instead.")
    parser.add_argument("--revision", metavar="BRANCH", help="The branch to push to; main by default.")
    parser.add_argument("--dry_run", action="store_true", help="Only list every file with its size.")
    parser.add_argument(
        "--include_facts", action="store_true", help="Publish facts.parquet too: all facts and answers."
    )
    parser.add_argument(
        "--base_model", metavar="ORG/NAME", help="The base's name on the Hub, if the run's was a folder."
    )
    parser.add_argument("--license", metavar="ID", help="For the card, as the Hub writes it: apache-2.0, mit, ...")
    parser.error = refuse
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, push, print."""
    args = build_parser().parse_args(list(argv))
    pushed = push(**vars(args))
    show(pushed, args.repo_id)
    return 0


def push(
    run_dir: str | Path,
    repo_id: str,
    *,
    arm: str = "weighted",
    private: bool = False,
    create_pr: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
    include_facts: bool = False,
    base_model: str | None = None,
    license: str | None = None,
) -> Pushed:
    """Publish a finished run. The folder itself is only read.

    Args:
        run_dir: output_dir of a finished run.
        repo_id: ORG/NAME; made where it is not there yet.
        arm: `weighted` or `plain`.
        private: of a repository that is made now; else as the Hub has it by default for its owner.
        create_pr: open a pull request instead of pushing to the branch.
        revision: branch; `None` is main.
        dry_run: plan and search the files, but send nothing.
        include_facts: `facts.parquet` too, with all facts and answers.
        base_model: the base's Hub id; needed where the run's base was a local folder.
        license: for the card; see `create_model_card`.

    Raises:
        FileNotFoundError, ValueError: no finished run, a bad `repo_id`, or a base model that the Hub does not have.
        LeakError: a file holds a secret or a path of this machine.
        HubError: the Hub refused or was not reached; nothing is published then.

    Example:
        >>> push("runs/demo", "org/demo", dry_run=True).files[0].path
        'adapter_config.json'
    """
    from ..tuners.saved import check_saved_adapter

    folder = Path(run_dir)
    check_folder(folder)
    check_repo_id(repo_id)
    check_license(license)
    if revision is not None and not revision.strip():
        raise ValueError("`revision` is empty: name a branch, or leave it out to push to main.")
    summary = read_summary(folder)
    full = summary.config.get("method") == "full"
    if full:
        check_model(folder / PLACES[arm], arm)
    else:
        check_saved_adapter(folder / PLACES[arm], None, f"{arm} adapter", AGAIN)
    summary = published(summary, base_model)
    base = summary.environment["base"]["id"]
    files = [with_base(file, base) for file in files_to_push(folder, arm, full, include_facts)]
    which = {"published": {"arm": arm, "sha256": weights_sha256(files)}}
    summary = replace(summary, environment=summary.environment | which)
    files = (*files, *described(summary, repo_id, arm, license, folder))
    check_leaks(files, folder)
    if dry_run:
        return Pushed(files)
    how = {"private": private or None, "create_pr": create_pr, "revision": revision, "replaces": WHOLE}
    info = commit(files, repo_id, message(summary), **how)
    return Pushed(files, info.commit_url, info.pr_url)


def published(summary: "RunSummary", base_model: str | None) -> "RunSummary":
    """The summary as others may read it: no paths, and a base that they can load.

    Raises:
        ValueError: the base was a local folder, and `base_model` does not say what the Hub calls it.
    """
    from ..report.card_parts import base_of
    from ..report.scores import source_names

    base = dict(base_of(summary))
    if base_model is not None:
        check_repo_id(base_model, "base_model")
    if not (base_model or base.get("id")):
        raise ValueError(
            f"the run's base model {base['name']!r} was read from a local folder, which nobody else has. Say what the "
            "Hub calls it: --base_model ORG/NAME."
        )
    base |= {"id": base_model or base["id"], "name": base_model or base["id"]}
    config = {**summary.config, "facts": source_names(summary)}
    config["model"] = config["model"] if str(config["model"]).startswith("builtin:") else base["id"]
    environment = {**summary.environment, "base": base}
    return replace(summary, config=without_paths(config), environment=without_paths(environment))


def described(
    summary: "RunSummary", repo_id: str, arm: str, license: str | None, folder: Path
) -> tuple[Upload, Upload]:
    """Summary and card, made anew; the summary first, whose keys tell more than lines of a card."""
    from ..report.model_card import PICTURE, create_model_card
    from ..report.summary import SUMMARY_FILE

    picture = PICTURE if (folder / PICTURE).is_file() else None
    name = repo_id.partition("/")[2]
    card = create_model_card(summary, name, arm=arm, repo_id=repo_id, license=license, picture=picture)
    return Upload(SUMMARY_FILE, summary.to_json().encode()), Upload(CARD, card.encode(), quotes=True)


def message(summary: "RunSummary") -> str:
    """Of the commit."""
    return f"Upload a {summary.config.get('method', 'lora')} adapter that teaches {summary.facts['taught']} facts"


def show(pushed: Pushed, repo_id: str) -> None:
    """Every file with its size; then where it is."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for file in pushed.files:
        table.add_row(file.path, f"{file.size:,}")
    console = terminal()
    console.print(table)
    if pushed.url is None:
        console.print(f"Dry run: nothing was sent to {repo_id}.", highlight=False, markup=False)
    else:
        where = pushed.pr_url or pushed.url
        console.print(f"Published {repo_id}: {where}", highlight=False, markup=False, soft_wrap=True)
