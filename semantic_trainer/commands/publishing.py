"""Options of the commands that can publish their facts, and what they then do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..distribution import on_first
from ..hub.plan import Upload
from ..hub.upload import check_license, check_repo_id, commit
from .push import Pushed, show


@dataclass
class PublishArguments:
    """Where the facts go, if they are published."""

    push: str | None = field(
        default=None, metadata={"help": "Publish the facts as a dataset ORG/NAME, which load_facts reads."}
    )
    private: bool = field(default=False, metadata={"help": "Make the dataset private, if it is made now."})
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request instead."})
    branch: str | None = field(default=None, metadata={"help": "The branch to push to; main by default."})
    dry_run: bool = field(default=False, metadata={"help": "Only list every file with its size; nothing is sent."})
    license: str | None = field(default=None, metadata={"help": "For the card, as the Hub writes it: cc-by-4.0, ..."})
    base_model: str | None = field(
        default=None, metadata={"help": "The model's name on the Hub, if it was read from a folder."}
    )

    def check_publishing(self) -> None:
        """Raise a `ValueError` for a bad name, and for options that say how, but not where."""
        if self.push is not None:
            check_repo_id(self.push, "push")
            check_license(self.license)
            if self.base_model is not None:
                check_repo_id(self.base_model, "base_model")
            if self.branch is not None and not self.branch.strip():
                raise ValueError("`branch` is empty: name one, or leave it out to push to main.")
            return
        idle = [name for name, value in vars(PublishArguments()).items() if getattr(self, name) != value]
        if idle:
            raise ValueError(f"`{idle[0]}` says how to publish, but not where: give --push ORG/NAME too.")


def publish(args: PublishArguments, plan: Callable[[], Sequence[Upload]], message: str) -> None:
    """Push what `plan` gives, or only list it; nothing where it was not asked for.

    Under a launcher every process must call it, since `plan` may ask a model; the first one publishes.
    """
    if args.push is not None:
        on_first(_publish, args, tuple(plan()), message)


def _publish(args: PublishArguments, files: tuple[Upload, ...], message: str) -> None:
    pushed = Pushed(files)
    if not args.dry_run:
        options = {"private": args.private or None, "create_pr": args.create_pr, "revision": args.branch}
        info = commit(files, args.push, message, repo_type="dataset", **options)
        pushed = Pushed(files, info.commit_url, info.pr_url)
    show(pushed, args.push)
