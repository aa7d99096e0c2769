"""Eq. 4's greedy filter as it is defined: every pair of every step tried, in exact integers, no code shared."""

import math

GRID = 64  # distances are integers, in 64ths
EIGHTHS = 8  # and so is the weight, in eighths
BITS = 120  # binary digits of a root


def objective(n: int, total: int, squares: int, weight: int, spread: str) -> tuple[int, int]:
    """`mean - weight * spread` as a numerator and a denominator that depends on n alone."""
    scatter = n * squares - total * total  # n^2 times the population variance, in 64ths squared
    if spread == "variance":
        return EIGHTHS * GRID * n * total - weight * scatter, EIGHTHS * (GRID * n) ** 2
    return (EIGHTHS * total << BITS) - weight * math.isqrt(scatter << 2 * BITS), EIGHTHS * GRID * n << BITS


def swaps(
    train: list[int], pool: list[int], wanted: int, low: float, high: float, weight: int, spread: str
) -> tuple[list[int], list[int], str]:
    """Removed, added, and why it ended; the bounds are in 64ths too."""
    n = len(train)
    originals, rest = dict(enumerate(train)), dict(enumerate(pool))
    entered, removed, added = [], [], []

    def away(total: int) -> float:
        return max(low - total / n, total / n - high, 0)

    def inside(total: int) -> bool:
        return n * low < total < n * high

    while True:
        values = [*originals.values(), *entered]
        total, squares = sum(values), sum(v * v for v in values)
        if len(removed) == wanted or not rest:
            reason = "share" if len(removed) == wanted else "pool"
            return removed, added, reason if inside(total) else "infeasible"
        now, scale = objective(n, total, squares, weight, spread)
        pairs = []
        for i, a in originals.items():
            for j, b in rest.items():
                after = total - a + b
                pairs.append((objective(n, after, squares - a * a + b * b, weight, spread)[0], i, j, after))
        allowed = [pair for pair in pairs if inside(pair[3])]
        if inside(total):
            better = [pair for pair in pairs if (now - pair[0]) * 10**12 > scale]
            allowed = [pair for pair in better if inside(pair[3])]
            if not allowed:
                return removed, added, "bound" if better else "objective"
        elif not allowed:
            nearest = min(away(pair[3]) for pair in pairs)
            if nearest >= away(total):
                return removed, added, "infeasible"
            allowed = [pair for pair in pairs if away(pair[3]) == nearest]
        best = min(allowed)[0]
        i, j = min(pair[1:3] for pair in allowed if (pair[0] - best) * 10**12 <= scale)
        removed.append(i)
        added.append(j)
        entered.append(rest.pop(j))
        del originals[i]
