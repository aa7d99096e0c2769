"""The configs that weights come with, checked before PEFT or transformers read them: they may name code and files."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from .checks import MANY, TEXT, check_fields, is_number, is_text, maybe, read_json, shown

NAME = re.compile(r"[\w.\- ]{0,200}")  # of a module or an option: no regular expression, which could run for years
FREE = ("base_model_name_or_path", "revision", "peft_version", "auto_mapping")  # PEFT only keeps these
LARGEST_NUMBER = 1e6
# They have PEFT import a module, read another file, or copy layers.
REFUSED = ("megatron_config", "corda_config", "lora_ga_config", "eva_config", "layer_replication")


def check_adapter_config(config: Mapping[str, object], kinds: tuple[str, ...], where: str) -> None:
    """Check that an adapter's config holds names, numbers and switches, of a method that this package makes.

    Args:
        config: of `adapter_config.json`.
        kinds: the `peft_type`s that are known.
        where: names the file.

    Raises:
        ValueError: another method, an entry that has PEFT import or read what is not in the folder, or one that is
            neither a name, a number, a switch, nor a list or mapping of those.
    """
    if config.get("peft_type") not in kinds:
        raise ValueError(
            f"{where}: its `peft_type` must be one of {', '.join(kinds)}, which this package makes, but "
            f"{shown(config.get('peft_type'))} was found."
        )
    check_fields(config, {"base_model_name_or_path": (maybe(TEXT), False)}, "adapter_config", where)
    for name in REFUSED:
        if config.get(name):
            raise ValueError(f"{where}: `{name}` reaches beyond the adapter's own weights: it is not loaded.")
    for name, value in config.items():
        if name not in FREE and not is_plain(value):
            raise ValueError(
                f"{where}: `{shown(name)[1:-1]}` must be names, numbers or switches, but {shown(value)} was found."
            )


def is_plain(value: object, nested: bool = True) -> bool:
    """Whether a value is a name, a number, a switch or nothing, or a list or mapping of those."""
    if isinstance(value, (dict, list)):
        entries = [*value, *value.values()] if isinstance(value, dict) else value
        return len(entries) <= 2 * MANY and all(
            (nested and isinstance(entry, list) and is_plain(entry, nested=False)) or is_plain_entry(entry)
            for entry in entries
        )
    return is_plain_entry(value)


def is_plain_entry(value: object) -> bool:
    if isinstance(value, str):
        return bool(NAME.fullmatch(value))
    return value is None or isinstance(value, bool) or (is_number(value) and abs(value) <= LARGEST_NUMBER)


def check_index(path: Path, where: str) -> None:
    """Raise a `ValueError` where the list of a model's files names one that is no safetensors file beside it."""
    shards = read_json(path, where).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else [None]
    for name in names:
        if not is_text(name) or PurePosixPath(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise ValueError(f"{where} names {shown(name)}, which is no safetensors file beside it: it is not loaded.")
