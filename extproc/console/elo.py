"""Who is better, by votes: Elo as the Bradley-Terry model has it, with how uncertain that is.

Rule: pure, and independent of the order of votes. The most likely ratings under a weak belief that all are alike (so
that one vote does not send anybody to infinity), by Newton's method; the uncertainty is that of the curvature there
(Bradley and Terry, 1952; Chiang and others, Chatbot Arena, 2024).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import math
from typing import Final

MEAN: Final = 1000.0
_SCALE: Final = 400 / math.log(10)
_BELIEF: Final = 300 / _SCALE
"""How far apart we believe models to be before any vote (standard deviation)."""
_Z: Final = 1.96
"""95 of 100."""


@dataclass(frozen=True, slots=True)
class Vote:
    """`score`: what the first got of it: 1, 0, or ½ for both and neither."""

    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class Rating:
    name: str
    elo: float
    margin: float
    games: int
    won: float


def ratings(votes: Iterable[Vote]) -> list[Rating]:
    """Of everybody who was voted on, the best first. `margin`: within so much of `elo`, 95 times of 100."""
    votes = [vote for vote in votes if vote.first != vote.second]
    names = sorted({name for vote in votes for name in (vote.first, vote.second)})
    place = {name: i for i, name in enumerate(names)}
    size, theta = len(names), [0.0] * len(names)
    pull = 1 / _BELIEF**2
    hessian: list[list[float]] = []
    for _ in range(50):
        gradient = [-pull * t for t in theta]
        hessian = [[pull if i == j else 0.0 for j in range(size)] for i in range(size)]
        for vote in votes:
            a, b = place[vote.first], place[vote.second]
            expected = 1 / (1 + math.exp(theta[b] - theta[a]))
            weight = expected * (1 - expected)
            gradient[a] += vote.score - expected
            gradient[b] -= vote.score - expected
            for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
                hessian[i][j] += sign * weight
        step = _solved(hessian, gradient)
        theta = [t + max(-1.0, min(1.0, s)) for t, s in zip(theta, step, strict=True)]
        if max(map(abs, step), default=0.0) < 1e-9:
            break
    found = []
    for i, name in enumerate(names):
        variance = _solved(hessian, [1.0 if j == i else 0.0 for j in range(size)])[i]
        own = [v.score if v.first == name else 1 - v.score for v in votes if name in (v.first, v.second)]
        elo, margin = MEAN + _SCALE * theta[i], _Z * _SCALE * math.sqrt(variance)
        found.append(Rating(name, round(elo, 1), round(margin, 1), len(own), sum(own)))
    return sorted(found, key=lambda rating: -rating.elo)


def _solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """The solution of a small system that is positive definite, by Cholesky's halves."""
    size = len(right)
    low = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i][j] - sum(low[i][k] * low[j][k] for k in range(j))
            low[i][j] = math.sqrt(rest) if i == j else rest / low[j][j]
    half: list[float] = []
    for i in range(size):
        half.append((right[i] - sum(low[i][k] * half[k] for k in range(i))) / low[i][i])
    out = [0.0] * size
    for i in reversed(range(size)):
        out[i] = (half[i] - sum(low[k][i] * out[k] for k in range(i + 1, size))) / low[i][i]
    return out
