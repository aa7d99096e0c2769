"""Eq. 4's objective, and how one swap changes it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SPREADS = ("variance", "std")
Change = Callable[[float, float], float]


@dataclass
class Moments:
    """`J = mean - w * spread` of n numbers whose members are exchanged, from exact running sums.

    The change by a swap of a for b is taken n-fold, `D = n (J' - J)`: with `t = b - a`, S the sum of the numbers and
    `F = n^2 * variance`, F changes by `t (n (a + b) - 2 S - t)`; D is `t - (w / n) dF` for the variance (ddof 0) and
    `t - w (sqrt(F + dF) - sqrt(F))` for the standard deviation. Both are concave in b and convex in a.

    Args:
        values: (n,) float64.
        weight: w, at least 0.
        spread: `variance` or `std`.
    """

    values: np.ndarray
    weight: float
    spread: str

    def __post_init__(self) -> None:
        self.n = len(self.values)
        self.total = math.fsum(self.values)
        self._rest = math.fsum([*self.values.tolist(), -self.total])  # what the sum's rounding left out
        centre = round(self.total / self.n * 64) / 64  # near the mean, and exact where the values are short
        apart = self.values - centre
        self.scatter = max(0.0, self.n * math.fsum(apart * apart) - math.fsum(apart) ** 2)  # F

    @property
    def mean(self) -> float:
        """Their mean."""
        return self.total / self.n

    @property
    def spread_value(self) -> float:
        """Their variance or standard deviation."""
        variance = max(self.scatter, 0.0) / self.n**2
        return variance if self.spread == "variance" else math.sqrt(variance)

    @property
    def objective(self) -> float:
        """Eq. 4: their mean less the weighted spread."""
        return self.mean - self.weight * self.spread_value

    def room(self, bound: float) -> float:
        """`n * bound - S`: how far the sum is from where the mean reaches a bound."""
        return math.fsum((self.n * bound, -self.total, -self._rest)) if math.isfinite(bound) else bound

    def swap(self, a: float, b: float) -> None:
        """Exchange one `a` for one `b`."""
        self.scatter += (b - a) * (self.n * (a + b) - 2 * self.total - (b - a))
        parts = (self.total, self._rest, b, -a)
        self.total = math.fsum(parts)
        self._rest = math.fsum((*parts, -self.total))

    def change(self) -> Change:
        """`D(a, b)` of the numbers as they are now, as a function."""
        n, twice, weight = self.n, 2 * self.total, self.weight
        if self.spread == "variance":
            share = weight / n

            def by_variance(a: float, b: float) -> float:
                t = b - a
                return t - share * (t * (n * (a + b) - twice - t))

            return by_variance
        scatter, root = max(self.scatter, 0.0), math.sqrt(max(self.scatter, 0.0))

        def by_std(a: float, b: float) -> float:
            t = b - a
            change = t * (n * (a + b) - twice - t)
            after = scatter + change
            roots = root + (math.sqrt(after) if after > 0 else 0.0)
            return t - weight * change / roots if roots else t

        return by_std

    def changes(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """`D` of many pairs at once."""
        t = b - a
        change = t * (self.n * (a + b) - 2 * self.total - t)
        if self.spread == "variance":
            return t - self.weight / self.n * change
        scatter = max(self.scatter, 0.0)
        roots = math.sqrt(scatter) + np.sqrt(np.maximum(scatter + change, 0.0))
        return t - self.weight * np.divide(change, roots, out=np.zeros_like(t), where=roots > 0)

    def best_leaving(self, b: float) -> tuple[float, float]:
        """The a that minimises `D(a, b)` over all real numbers, infinite where larger is always better, and the second
        derivative there."""
        n, weight = self.n, self.weight
        if weight == 0:
            return math.inf, 0.0
        if self.spread == "variance":
            curvature = 2 * weight * (1 + 1 / n)
            return (1 + 2 * weight * (self.mean + b / n)) / curvature, curvature
        widest = max(self.scatter, 0.0) + (self.total - n * b) ** 2 / (n + 1)  # F' at its largest, over all a
        from_there = math.sqrt(widest / ((n + 1) * (1 + weight * weight * (n + 1))))
        best = (self.total + b) / (n + 1) + from_there
        scatter = widest - (n + 1) * from_there**2
        return best, weight * (n + 1) * widest / scatter**1.5 if scatter > 0 else math.inf

    def rises(self, a: float, b: float) -> bool:
        """Whether `D(a, b)` does not fall as b grows from here: on this side of the concave hump."""
        slope = 2 * ((self.n - 1) * b + a - self.total)  # of F
        if self.spread == "variance":
            return self.n >= self.weight * slope
        t = b - a
        scatter = max(self.scatter + t * (self.n * (a + b) - 2 * self.total - t), 0.0)
        return 2 * math.sqrt(scatter) >= self.weight * slope
