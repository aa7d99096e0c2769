"""What a trainer leaves on disk and sends to the Hub: weights, configs and a card, and no token in any of them."""

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import HfApi
from transformers import TrainingArguments
from transformers.utils.hub import PushInProgress

from ..hub.plan import ADAPTER, MODEL, Upload, select, with_base
from ..hub.scan import LeakError, check_leaks
from ..hub.upload import commit, explained
from ..models import hub_name

if TYPE_CHECKING:
    from concurrent.futures import Future

    from huggingface_hub import CommitInfo
    from transformers.trainer_utils import TrainOutput

logger = logging.getLogger(__name__)
CARD = "README.md"


class PublishedSafely:
    """Part of a `Trainer` that publishes an adapter or model, its tokenizer and card, and nothing else.

    Stands before `Trainer` among the parents, which would send all of `output_dir`: `training_args.bin`, a pickle that
    holds `hub_token` in clear, and with `hub_strategy="checkpoint"` the optimizer's state. What it saves on disk holds
    no token either.
    """

    def train(self, *args: object, **kwargs: object) -> "TrainOutput":
        """As the parent; what could not be published at the first checkpoint is refused before step 1."""
        if self.args.push_to_hub:
            self._base_on_hub()
        return super().train(*args, **kwargs)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: object,
    ) -> "CommitInfo | Future[CommitInfo] | None":
        """As the parent, but for which files go out: see the class. All of them in one commit.

        Args:
            commit_message, blocking, token, revision, private: as in `Trainer.push_to_hub`.
            kwargs: of `create_model_card`.

        Raises:
            ValueError: the base model is a local folder, or a file holds a secret or a path of this machine.
            HubError: the Hub refused or was not reached; nothing is published then.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if getattr(self, "push_in_progress", None) is not None:
            self._finish_current_push()  # which may still read what is saved anew here
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        base, folder = self._base_on_hub(), Path(self.args.output_dir)
        token = token if token is not None else self.args.hub_token
        repo_id = self.args.hub_model_id or folder.absolute().name
        name = kwargs.pop("model_name", None) or repo_id.rpartition("/")[2]
        self.create_model_card(model_name=name, **kwargs)
        asked = kwargs.get("tags") or ()  # which PEFT's writer takes out again
        text, tags = (folder / CARD).read_text(encoding="utf-8"), [asked] if isinstance(asked, str) else [*asked]
        generates = getattr(self.accelerator.unwrap_model(self.model), "can_generate", bool)()
        card = Upload(CARD, card_with_base(text, base, self._is_adapter, tags, generates))
        files = [*self._weights(folder, base), card]
        check_leaks(files, folder)
        private = self.args.hub_private_repo if private is None else private
        if getattr(self, "hub_model_id", None) is None:  # as `init_hf_repo`, which takes `private` only from 5.23 on
            with explained(repo_id):
                self.hub_model_id = HfApi(token=token).create_repo(repo_id, private=private, exist_ok=True).repo_id
        return commit(
            files,
            self.hub_model_id,
            commit_message or "End of training",
            private=private,
            revision=revision or self.args.hub_revision,
            token=token,
            run_as_future=not blocking,
        )

    @property
    def _is_adapter(self) -> bool:
        return hasattr(self.accelerator.unwrap_model(self.model), "peft_config")

    def _base_on_hub(self) -> str | None:
        """The base's Hub id; of a whole model that was read from a folder none.

        Raises:
            ValueError: an adapter's base is a local folder.
        """
        model = self.accelerator.unwrap_model(self.model)
        if not self._is_adapter:
            return hub_name(str(getattr(model.config, "_name_or_path", "") or ""))
        config = next(iter(model.peft_config.values()))
        base = str(config.base_model_name_or_path or "")
        if hub_name(base) is None:
            raise ValueError(
                f"the adapter's base model {Path(base).name!r} was read from a local folder, which nobody else has. "
                'Say what the Hub calls it: next(iter(trainer.model.peft_config.values())).base_model_name_or_path = "'
                'ORG/NAME".'
            )
        return hub_name(base)

    def _weights(self, folder: Path, base: str | None) -> list[Upload]:
        """Weights, configs and tokenizer of a folder that was saved to."""
        adapter = (*ADAPTER, *(name for name in MODEL if "token" in name or name in ("merges.txt", "vocab.json")))
        files = select(folder, adapter if self._is_adapter else MODEL)
        return [with_base(file, base or folder.name) for file in files]

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """As the parent while training goes on, but a checkpoint's weights, configs and tokenizer alone.

        What holds a secret or a path stays here, with an error in the log.
        """
        if not self.is_world_process_zero() or self.args.hub_strategy == "end":
            return
        if not self.args.hub_always_push and self.push_in_progress is not None and not self.push_in_progress.is_done():
            return
        if "checkpoint" in self.args.hub_strategy:
            logger.warning("hub_strategy=%s: checkpoints hold the optimizer and stay here", self.args.hub_strategy)
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        folder = Path(checkpoint_folder)
        files = self._weights(folder, self._base_on_hub())
        try:
            check_leaks(files, folder)
        except LeakError as error:
            logger.error("%s Training goes on.", error)
            return
        files = [_copied(file, Path(self.args.output_dir)) for file in files]
        message, token = f"Training in progress, step {self.state.global_step}", self.args.hub_token
        job = commit(
            files, self.hub_model_id, message, revision=self.args.hub_revision, token=token, run_as_future=True
        )
        if self.push_in_progress is None or self.push_in_progress.is_done():
            self.push_in_progress = PushInProgress([job])
        else:
            self.push_in_progress.jobs.append(job)

    def _save(self, *args: object, **kwargs: object) -> None:
        """As the parent, which pickles the arguments: without the token."""
        with without_token(self.args):
            super()._save(*args, **kwargs)


def _copied(file: Upload, folder: Path) -> Upload:
    """A file that is sent from a folder of its own: where it lies it may be deleted before it has been read."""
    if isinstance(file.content, bytes):
        return file
    return replace(file, content=Path(shutil.copy(file.content, folder / file.path)))


@contextmanager
def without_token(args: TrainingArguments) -> Iterator[None]:
    """`hub_token` is `None` meanwhile."""
    token, args.hub_token = args.hub_token, None
    try:
        yield
    finally:
        args.hub_token = token


def card_with_base(
    text: str, base: str | None, adapter: bool, tags: Sequence[str] = (), generates: bool = True
) -> bytes:
    """A card that a library has written, with the base's name instead of a path, and what the Hub needs to know.

    Args:
        adapter: whether it is of an adapter.
        tags: to be added.
        generates: whether the model writes text.
    """
    from huggingface_hub import ModelCard

    card = ModelCard(text, ignore_metadata_errors=True)
    found = card.data.get("base_model")
    if base:
        card.data.base_model = base
        if isinstance(found, str) and found != base:
            card.text = card.text.replace(found, base)
    else:
        card.data.base_model = None
    card.data.library_name = "peft" if adapter else "transformers"
    if generates:
        card.data.pipeline_tag = "text-generation"
    card.data.tags = sorted({*(card.data.tags or []), *tags, "semantic-trainer"} - {f"base_model:adapter:{found}"})
    return re.sub(r"\n{3,}", "\n\n", str(card)).encode()
