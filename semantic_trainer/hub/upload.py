"""One commit on the Hub: everything or nothing."""

import logging
import re
import warnings
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from .plan import Upload
from .trouble import HubError, explained

if TYPE_CHECKING:  # a wrong option needs none of it
    from concurrent.futures import Future

    from huggingface_hub import CommitInfo

logger = logging.getLogger(__name__)
__all__ = ["HubError", "check_license", "check_repo_id", "commit", "explained"]


def check_repo_id(repo_id: str, argument: str = "repo_id") -> None:
    """Raise a `ValueError` that names the argument, where a name is not ORG/NAME as the Hub takes it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"`{argument}` {repo_id!r} is no name of a repository: {error}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"`{argument}` must be ORG/NAME, with your user name or an organization, but is {repo_id!r}.")


def check_license(license: str | None) -> None:
    """Raise a `ValueError` where a license is no identifier as the Hub writes it; `None` is none."""
    if license is not None and not re.fullmatch(r"[\w.+-]{1,80}", license):
        raise ValueError(
            f"`license` must be written as the Hub does, such as cc-by-4.0, mit or other, but is {license!r}."
        )


def commit(
    files: Sequence[Upload],
    repo_id: str,
    message: str,
    *,
    private: bool | None = None,
    create_pr: bool = False,
    revision: str | None = None,
    token: str | None = None,
    repo_type: str = "model",
    replaces: Sequence[str] = (),
    run_as_future: bool = False,
    **repo_options: object,
) -> "CommitInfo | Future[CommitInfo]":
    """Publish files in one commit: all of them or none.

    A repository that is not there yet is made, and a branch; not for a pull request, which needs one to go to. Files
    already sent by a try that was cut short are not sent again.

    Args:
        replaces: patterns of names; files there that match one, and are not among `files`, are removed in the same
            commit: an earlier push left them, and they would be taken for this one's.
        repo_options: of `create_repo`, as `space_sdk`.

    Raises:
        HubError: in one sentence what happened and what to do.

    Example:
        >>> commit(files_to_push(Path("runs/demo")), "org/demo", "Upload adapter").commit_url
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    operations = [
        CommitOperationAdd(file.path, file.content if isinstance(file.content, bytes) else str(file.content))
        for file in files
    ]
    left: list[str] = []
    with explained(repo_id, revision), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*about to commit a data file", category=UserWarning)  # asked for
        if not create_pr:
            api.create_repo(repo_id, private=private, repo_type=repo_type, exist_ok=True, **repo_options)
            if revision and not revision.startswith("refs/") and revision != "main":
                api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        if replaces:
            there = api.list_repo_files(repo_id, revision=revision, repo_type=repo_type)
            kept = {file.path for file in files}
            old = [n for n in there if any(n.count("/") == p.count("/") and fnmatchcase(n, p) for p in replaces)]
            left = [name for name in old if name not in kept]
            operations += [CommitOperationDelete(name, is_folder=False) for name in left]
        done = api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
            run_as_future=run_as_future,
        )
    if left:
        logger.info("%s: removed what an earlier push left there: %s", repo_id, ", ".join(left))
    return done
