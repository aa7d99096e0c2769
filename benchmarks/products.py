"""The matrix products of a piece of work: recorded with their shapes and layouts, then done alone on random data."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_OPERANDS = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}  # op -> where its two operands begin
_ATTENTION = {  # fused op -> whether it is the backward one
    aten._scaled_dot_product_flash_attention_for_cpu: False,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: True,
}


@dataclass(frozen=True)
class Operand:
    """Shape, strides in elements, and dtype of one operand."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Operand":
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    @classmethod
    def contiguous(cls, shape: tuple[int, ...], dtype: torch.dtype) -> "Operand":
        return cls.of(torch.empty(shape, dtype=dtype, device="meta"))

    def random(self) -> torch.Tensor:
        """A tensor of random numbers laid out like it."""
        size = 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return torch.randn(max(size, 1)).to(self.dtype).as_strided(self.shape, self.strides)


Product = tuple[Operand, Operand]


def attention_products(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, backward: bool) -> list[Product]:
    """The products in a fused attention of (B, H, T, D) queries: 2 forward, 4 backward; none that is done twice."""
    rows, length, width = q.shape[0] * q.shape[1], q.shape[2], q.shape[3]
    others, values = k.shape[2], v.shape[3]
    forward = [(length, width, others), (length, others, values)]
    back = [(others, length, values), (length, values, others), (length, others, width), (others, length, width)]
    shapes = back if backward else forward
    return [
        (Operand.contiguous((rows, n, m), q.dtype), Operand.contiguous((rows, m, p), q.dtype)) for n, m, p in shapes
    ]


class Recorder(TorchDispatchMode):
    """Records every matrix product below it, backward passes included.

    Attributes:
        products: in their order; a fused attention counts as the products it is made of.

    Example:
        >>> with Recorder() as recorder:
        ...     _ = torch.nn.Linear(3, 2)(torch.ones(4, 3))
        >>> [(a.shape, b.shape) for a, b in recorder.products]
        [((4, 3), (3, 2))]
    """

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        op = func.overloadpacket
        if op in _OPERANDS:
            start = _OPERANDS[op]
            self.products.append((Operand.of(args[start]), Operand.of(args[start + 1])))
        elif op in _ATTENTION:
            backward = _ATTENTION[op]
            self.products += attention_products(*args[backward : backward + 3], backward)  # a gradient comes first
        return func(*args, **(kwargs or {}))


def flops(products: list[Product]) -> int:
    """Multiplications and additions of all of them."""
    return sum(2 * math.prod(a.shape) * b.shape[-1] for a, b in products)


def alone(products: list[Product]) -> Callable[[], Callable[[], None]]:
    """A side of a benchmark: all products in their order, on random operands that are made once.

    Products of one layout share their operands, which are then nearer in the caches than weights of many layers.
    """
    made = {operand: operand.random() for product in products for operand in product}

    def run() -> None:
        with torch.no_grad():
            for a, b in products:
                torch.matmul(made[a], made[b])

    return lambda: run
