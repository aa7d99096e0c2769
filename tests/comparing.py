"""How two sets of gradients are compared."""

import torch


def relative_error(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Norm of the difference of two sets of gradients, relative to the norm of the first."""
    assert a.keys() == b.keys()
    first, second = (torch.cat([gradients[name].flatten() for name in a]) for gradients in (a, b))
    return float((first - second).norm() / first.norm())
