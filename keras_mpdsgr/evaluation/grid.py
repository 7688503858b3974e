"""Rounds adversarial images to 8 bits a pixel, as image files have, so that they still mislead.

An attack moves pixels by fractions of 1/255, which no image file can hold, and many an image that
misleads a model no longer does once its pixels are rounded. `GridSearch` looks for a rounding that
does; `on_grid` rounds to the nearest level alone.
"""

import numpy as np

# The only grid that is asked for: multiples of 1/255.
GRIDS = (None, 8)

# In units of a level: float32 pixels are nearer than this to the level that they stand for.
_ON_LEVEL = 1e-3
# Tells this search's draws from those that an attack on the same sample has.
_STREAM = 0x67726964
# Draws that a random model's margin is averaged over.
_DRAWS = 10
_MOST_PIXELS = 8


def on_grid(x, bits):
    """Images with every pixel on the nearest level, float32, and whether they were so before."""
    top = 2**bits - 1
    levels = np.rint(x.astype(np.float64) * top)
    were = bool(np.abs(x * np.float64(top) - levels).max(initial=0) < _ON_LEVEL)
    return (levels / top).astype(np.float32), were


class GridSearch:
    """Rounds adversarial images to a grid of pixels so that they still mislead the model.

    The perturbation of an attack is finer than the grid, and plain rounding undoes a third to a
    half of what it breaks. So several roundings are tried - to the nearest level, away from the
    clean image, towards it - and a random search starts at the best: some pixels to their other
    neighbour, or to a border of the ball, kept where the model's margin does not fall. Every image
    tried lies on the grid and in the ball.

    Args:
        predictor: The `Predictor` that judges.
        bits: Bits of a pixel.
        seed: Of the search, with the samples' numbers.
        queries: Images tried for a sample, at most.
    """

    def __init__(self, predictor, bits=8, seed=0, queries=300):
        self._predictor, self._top = predictor, 2**bits - 1
        self._seed, self._queries = seed, queries

    def __call__(self, x, adversarial, y, numbers, attack):
        """Images on the grid, in the shape of `x`; the nearest to the attack's if none misleads.

        Args:
            x: Clean images on the grid, `(n, ...)`.
            adversarial: What an attack made of them.
            y: Labels, `(n,)`.
            numbers: `(n,)`, the samples' numbers, which draws go by.
            attack: The `Attack`, of which norm and radius are kept.
        """
        norm, eps = attack.norm, getattr(attack, "eps", None)
        clean = np.rint(x.astype(np.float64) * self._top)
        wanted = adversarial.astype(np.float64) * self._top
        reach = self._top if norm != "linf" or eps is None else eps * self._top + _ON_LEVEL
        low = np.ceil(np.maximum(clean - reach, 0))
        high = np.floor(np.minimum(clean + reach, self._top))
        down = np.clip(np.floor(wanted + _ON_LEVEL), low, high)
        up = np.clip(np.ceil(wanted - _ON_LEVEL), low, high)
        nearest = np.clip(np.rint(wanted), low, high)
        risen = wanted > clean
        towards = np.where(risen, down, up)
        if norm == "noise":
            return self._images(nearest)

        def inside(tried, where):
            if norm == "linf" or eps is None:
                return np.ones(len(tried), bool)
            moved = (tried - clean[where]).reshape(len(tried), -1) / self._top
            return np.linalg.norm(moved, axis=1) <= eps

        everything = np.arange(len(x))
        # Towards the clean image no radius is left.
        best, margin = towards.copy(), self._margin(towards, y, numbers)
        for tried in (np.where(risen, up, down), nearest):
            found = np.where(inside(tried, everything), self._margin(tried, y, numbers), -np.inf)
            better = (found > margin) & (margin <= 0)
            best[better], margin[better] = tried[better], found[better]
        generators = [np.random.default_rng([_STREAM, self._seed, int(n)]) for n in numbers]
        for _ in range(self._queries):
            left = np.flatnonzero(margin <= 0)
            if not len(left):
                break
            tried = np.stack(
                [_moved(generators[i], best[i], down[i], up[i], low[i], high[i]) for i in left]
            )
            found = self._margin(tried, y[left], numbers[left])
            better = inside(tried, left) & (found >= margin[left])
            best[left[better]], margin[left[better]] = tried[better], found[better]
        return self._images(best)

    def _images(self, levels):
        return (levels / self._top).astype(np.float32)

    def _margin(self, levels, y, numbers):
        """The best wrong logit less the right one: positive where misclassified, `(n,)`."""
        images = self._images(levels)
        votes = self._predictor.votes
        # Other draws than those that judge.
        draws = [0] if votes == 1 else range(votes, votes + _DRAWS)
        logits = sum(self._predictor.logits(images, numbers, vote) for vote in draws) / len(draws)
        rows = np.arange(len(y))
        right = logits[rows, y]
        logits[rows, y] = -np.inf
        return logits.max(axis=1) - right


def _moved(generator, image, down, up, low, high):
    """One sample's image with some pixels on their other neighbour, or on a border of the ball."""
    moved = image.copy()
    flat = moved.reshape(-1)
    chosen = generator.integers(flat.size, size=generator.integers(1, _MOST_PIXELS + 1))
    if generator.random() < 0.5:
        ends = down.reshape(-1)[chosen], up.reshape(-1)[chosen]
        flat[chosen] = np.where(flat[chosen] == ends[0], *ends[::-1])
    else:
        ends = low.reshape(-1)[chosen], high.reshape(-1)[chosen]
        flat[chosen] = np.where(generator.random(len(chosen)) < 0.5, *ends)
    return moved
