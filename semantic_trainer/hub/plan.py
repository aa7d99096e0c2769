"""Which files of a folder may be published: those named here, and no others."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
# Of a model tuned as a whole, or of what a trainer saves: weights as safetensors, configs, the tokenizer.
MODEL = (
    *("model*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json"),
    *(
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
    ),
    *("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt", "preprocessor_config.json"),
)
FIGURES = ("figures/*.png",)
FACTS = ("facts.parquet",)
WHOLE = (*ADAPTER, *MODEL[:2], *FACTS)  # what a later push of another run must not leave beside its own
PIECE = 1 << 24
CONFIGS = ("adapter_config.json", "config.json", "tokenizer_config.json")
BASE = ("base_model_name_or_path", "_name_or_path", "name_or_path")
PATH = re.compile(r"(?:~|/|[A-Za-z]:\\|\\\\)[^\s\0]*")  # from the root or from home, on any system


@dataclass(frozen=True)
class Upload:
    """One file to publish.

    Attributes:
        path: its name in the repository.
        content: a file as it is, or bytes made for the purpose.
        quotes: whether it is a text made of what goes through the search for paths by itself, and quotes questions and
            answers, which may look like paths.
    """

    path: str
    content: Path | bytes
    quotes: bool = False

    def read(self) -> bytes:
        """The bytes that are sent."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def sha256(self) -> str:
        """Of the bytes that are sent; a large file is read piece by piece."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        digest = hashlib.sha256()
        with self.content.open("rb") as file:
            while piece := file.read(PIECE):
                digest.update(piece)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def select(folder: Path, patterns: tuple[str, ...]) -> list[Upload]:
    """The files of a folder that match a pattern, by name. Links are not followed out of it, folders not searched.

    Example:
        >>> [file.path for file in select(Path("runs/demo"), ADAPTER)]
        ['adapter_config.json', 'adapter_model.safetensors']
    """
    depths = {pattern.count("/") for pattern in patterns}
    files = [path for depth in depths for path in folder.glob("*/" * depth + "*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files if inside(path, folder)}
    chosen = sorted(n for n in names if any(n.count("/") == p.count("/") and fnmatch(n, p) for p in patterns))
    return [Upload(name, names[name]) for name in chosen]


def weights_sha256(files: Iterable[Upload]) -> str:
    """One sha256 for all safetensors files among these: over their names and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for file in sorted((file for file in files if file.path.endswith(".safetensors")), key=lambda file: file.path):
        digest.update(f"{file.path}|{file.sha256()}|".encode())
    return digest.hexdigest()


def inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, links followed."""
    return path.resolve().is_relative_to(folder.resolve())


def files_to_push(
    run_dir: Path, arm: str = "weighted", full: bool = False, include_facts: bool = False
) -> list[Upload]:
    """Adapter or model, figures, and the facts where they are asked for; the card and the summary are made anew.

    Args:
        run_dir: of a finished run.
        arm: `plain` or `weighted`; either lies at the top of the repository.
        full: whether a whole model was tuned.
    """
    weights = select(run_dir / "plain" if arm == "plain" else run_dir, MODEL if full else ADAPTER)
    return [*weights, *select(run_dir, FIGURES), *(select(run_dir, FACTS) if include_facts else [])]


def is_path(text: str) -> bool:
    """Whether a text as a whole is an absolute path, or one from home."""
    return bool(PATH.fullmatch(text)) and ("/" in text[1:] or "\\" in text[1:])


def with_base(file: Upload, base_model: str) -> Upload:
    """An adapter's config with its base by this name, any config with it instead of a path; else the file as it is."""
    if file.path not in CONFIGS:
        return file
    config = json.loads(file.read())
    local = {name for name in BASE if name in config and is_path(str(config[name]))}
    changed = dict.fromkeys(local | ({BASE[0]} if BASE[0] in config else set()), base_model)
    return Upload(file.path, json.dumps(config | changed, indent=2).encode() + b"\n") if changed else file
