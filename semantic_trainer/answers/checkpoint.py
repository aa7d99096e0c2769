"""Which weights a checkpoint holds: one sha256 for all of its files, however they are cut."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from .store import tensors_hash


class Tensors(Mapping[str, torch.Tensor]):
    """Name -> tensor over the safetensors files of a folder, each read only when it is asked for."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        files = [safe_open(file, "pt") for file in sorted(folder.glob("model*.safetensors"))]
        self.where = {name: file for file in files for name in file.keys()}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.where[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.where)

    def __len__(self) -> int:
        return len(self.where)


def checkpoint_sha256(model: str, revision: str | None = None) -> str | None:
    """sha256 over a checkpoint's names, dtypes, shapes and bytes, in the order of the names; `None` without any.

    It says which weights those are, whatever dtype they are loaded in, and however many files they lie in.

    Args:
        model: Hub id that is in the cache, local folder, or the built-in model.

    Raises:
        OSError: there is no such model.

    Example:
        >>> checkpoint_sha256("builtin:smollm2-135m-instruct")[:8]
        '3ac0c172'
    """
    tensors = checkpoint_tensors(model, revision)
    return tensors_hash(tensors) if tensors else None


def checkpoint_tensors(model: str, revision: str | None = None) -> Tensors:
    """A checkpoint's tensors, none of them read yet; arguments and errors as in `checkpoint_sha256`."""
    from transformers.utils import cached_file

    from ..models import resolve_model

    return Tensors(Path(cached_file(resolve_model(model), "config.json", revision=revision)).parent)
