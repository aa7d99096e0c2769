"""One commit on the Hub: everything or nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .plan import Upload
from .trouble import HubError, explained

if TYPE_CHECKING:  # a wrong option needs none of it
    from concurrent.futures import Future

    from huggingface_hub import CommitInfo

__all__ = ["HubError", "check_repo_id", "commit", "explained"]


def check_repo_id(repo_id: str) -> None:
    """Raise a `ValueError` where a name is not ORG/NAME as the Hub takes it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"`repo_id` {repo_id!r} is no name of a repository: {error}") from error
    if repo_id.count("/") != 1:
        raise ValueError(f"`repo_id` must be ORG/NAME, with your user name or an organization, but is {repo_id!r}.")


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
    run_as_future: bool = False,
    **repo_options: object,
) -> "CommitInfo | Future[CommitInfo]":
    """Publish files in one commit: all of them or none.

    A repository that is not there yet is made, and a branch; not for a pull request, which needs one to go to. Files
    already sent by a try that was cut short are not sent again.

    Args:
        repo_options: of `create_repo`, as `space_sdk`.

    Raises:
        HubError: in one sentence what happened and what to do.

    Example:
        >>> commit(files_to_push(Path("runs/demo")), "org/demo", "Upload adapter").commit_url
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    operations = [
        CommitOperationAdd(file.path, file.content if isinstance(file.content, bytes) else str(file.content))
        for file in files
    ]
    with explained(repo_id, revision):
        if not create_pr:
            api.create_repo(repo_id, private=private, repo_type=repo_type, exist_ok=True, **repo_options)
            if revision and not revision.startswith("refs/") and revision != "main":
                api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        return api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            repo_type=repo_type,
            revision=revision,
            create_pr=create_pr,
            run_as_future=run_as_future,
        )
