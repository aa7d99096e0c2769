"""What another process makes of the saved models: `python -m tests.matrix.reload FOLDER`."""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import semantic_trainer.tuners  # noqa: F401  # registers Houlsby adapters with PEFT


def load(cell: tuple[str, ...], saved: Path, base: Path) -> torch.nn.Module:
    method, architecture, *_ = cell
    if method == "full":
        return AutoModelForCausalLM.from_pretrained(saved)
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base / architecture), saved)


if __name__ == "__main__":
    from .measuring import LOGITS, SAVED, difference, logits

    folder, found = Path(sys.argv[1]), {}
    torch.set_num_threads(1)
    for path in sorted(folder.glob(f"*/{LOGITS}")):
        kept = torch.load(path)
        model = load(kept["cell"], path.parent / SAVED, folder / "base")
        found[kept["cell"]] = difference(kept["logits"], logits(model))
    torch.save(found, folder / "reloaded.pt")
