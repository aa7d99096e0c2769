"""Push the metrics of this folder as Spaces: `evaluate.load("ORG/knowledge_accuracy")` then works anywhere.

    python metrics/push_spaces.py ORG --dry_run
    python metrics/push_spaces.py ORG --metrics locality deviation --private

Each Space is one commit. Where one fails, those before it are published; run it again then.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import RepoCard

from semantic_trainer.hub.plan import Upload, select
from semantic_trainer.hub.scan import check_leaks
from semantic_trainer.hub.upload import HubError, check_repo_id, commit

ROOT = Path(__file__).parent
SDK = "gradio"


def metric_names(root: Path = ROOT) -> list[str]:
    """The folders that hold a metric: a module of the folder's own name."""
    return sorted(path.parent.name for path in root.glob("*/*.py") if path.stem == path.parent.name)


def space_files(name: str, root: Path = ROOT) -> list[Upload]:
    """What a metric's Space is made of, searched for secrets and paths.

    Raises:
        ValueError: a file is missing, the card does not say that the Space is gradio's, or a file holds a secret.
    """
    folder = root / name
    wanted = ("README.md", "app.py", "requirements.txt", f"{name}.py")
    files = select(folder, wanted)
    missing = sorted({*wanted} - {file.path for file in files})
    if missing:
        raise ValueError(f"metrics/{name} has no {' and no '.join(missing)}, which a Space needs. Write it.")
    sdk = RepoCard.load(folder / "README.md", ignore_metadata_errors=True).data.get("sdk")
    if sdk != SDK:
        raise ValueError(f"metrics/{name}/README.md must say `sdk: {SDK}` in its metadata, but says {sdk!r}.")
    check_leaks(files, folder)
    return files


def push_spaces(
    org: str,
    names: Sequence[str] | None = None,
    private: bool = False,
    create_pr: bool = False,
    dry_run: bool = False,
    root: Path = ROOT,
) -> None:
    """Push metrics as Spaces ORG/NAME, each in one commit; say of each where it is.

    Args:
        org: your user name, or an organization.
        names: which metrics; `None` for all.
        private: of Spaces that are made now.
        create_pr: open pull requests instead.
        dry_run: list every file with its size, and send nothing.

    Raises:
        ValueError: an unknown metric, a bad `org`, or a folder that is no Space; before anything is sent.
        HubError: the Hub refused or was not reached.
    """
    known = metric_names(root)
    unknown = sorted({*(names or known)} - {*known})
    if unknown:
        raise ValueError(f"`metrics` {unknown[0]!r} is unknown; there are {', '.join(known)}.")
    plans = {f"{org}/{name}": space_files(name, root) for name in names or known}
    for space, files in plans.items():
        check_repo_id(space)
        if dry_run:
            for file in files:
                print(f"{file.size:>9,}  {space}/{file.path}")
    if dry_run:
        print("Dry run: nothing was sent.")
        return
    for space, files in plans.items():
        try:
            info = commit(
                files,
                space,
                f"Upload the metric {space.partition('/')[2]}",
                private=private or None,
                create_pr=create_pr,
                repo_type="space",
                space_sdk=SDK,
            )
        except HubError as error:
            raise HubError(f"{space}: {error}") from error
        print(f"Published {space}: {info.pr_url or info.commit_url}")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, push; a fault is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("org", metavar="ORG", help="Your user name, or an organization.")
    parser.add_argument("--metrics", metavar="NAME", nargs="+", dest="names", help="Which; all by default.")
    parser.add_argument("--private", action="store_true", help="Make the Spaces private, if they are made now.")
    parser.add_argument("--create_pr", action="store_true", help="Open pull requests instead.")
    parser.add_argument("--dry_run", action="store_true", help="Only list every file with its size.")
    try:
        push_spaces(**vars(parser.parse_args(argv)))
    except (ValueError, HubError) as error:
        print(f"push_spaces: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
