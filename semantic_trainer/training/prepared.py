"""The measured columns that a trainer keeps in `output_dir`, and reads again when it goes on."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet

from ..files import sweep, write_atomically

logger = logging.getLogger(__name__)
_KEY = b"semantic_trainer"


def write_prepared(path: Path, columns: dict[str, list], key: dict[str, object]) -> None:
    """Write the prepared columns, whole or not at all, with what they were prepared from."""
    table = pyarrow.table(columns).replace_schema_metadata({_KEY: json.dumps(key).encode()})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    write_atomically(path, buffer.getvalue())


def read_prepared(path: Path, make_key: Callable[[], dict[str, object]]) -> dict[str, list] | None:
    """The prepared columns, or `None` where there are none yet, or another run's that left no checkpoints.

    Args:
        make_key: what they have to be prepared from; it reads all weights, and is called only where there are any.

    Raises:
        ValueError: they and the checkpoints beside them are another run's: the message says what differs.
    """
    sweep(path.parent)
    if not path.exists():
        return None
    table = pyarrow.parquet.read_table(path)
    found, key = json.loads(table.schema.metadata[_KEY]), make_key()
    differs = [name for name in key if found.get(name) != key[name]]
    if differs and not any(path.parent.glob("checkpoint-*")):
        logger.warning("%s was prepared from another %s: prepared again", path.name, " and another ".join(differs))
        return None
    if differs:
        raise ValueError(
            f"`output_dir` {str(path.parent)!r} holds another run: its {path.name} was prepared from another "
            f"{' and another '.join(differs)}, and its checkpoints were trained on them. Choose another output_dir."
        )
    return table.to_pydict()
