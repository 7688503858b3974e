"""Shards: an evaluation divided among processes or machines, and merged again."""

import dataclasses
import re

import numpy as np

from keras_mpdsgr.errors import SetupError

_NAMED = re.compile(r"-shard-(\d+)-of-(\d+)\.json")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of `of` shards.

    Attributes:
        number: From 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def of_text(cls, text):
        """The shard of a text such as `2/8`."""
        return cls(*map(int, text.split("/")))

    def __str__(self):
        return f"{self.number}/{self.of}"

    def name(self, whole):
        """What its results are called.

        Args:
            whole: What the results of all are called.
        """
        return f"{whole}-shard-{self.number}-of-{self.of}"

    def block(self, n, batch_size):
        """Numbers of its samples, which follow each other; those of all shards are 0..n-1.

        Shards are cut between batches, so that each batch, and what a random model draws for it, is
        one that an evaluation of all would have; within batches only where there are fewer of
        them than shards.

        Args:
            n: Samples of all shards.
            batch_size: Samples attacked at a time.

        Raises:
            SetupError: If there are fewer samples than shards.
        """
        if n < self.of:
            raise SetupError(
                f"`shard` must not name more shards than images, here {n}. Received: {self}."
            )
        unit = batch_size if -(-n // batch_size) >= self.of else 1
        units = -(-n // unit)
        first, last = (k * units // self.of * unit for k in (self.number - 1, self.number))
        return np.arange(first, min(last, n))


def parts(results, whole, n, settings):
    """The journals of all shards of a report, as `evaluation.evaluate` takes them.

    Args:
        results: The folder of results.
        whole: What the results of all are called.
        n: Samples of all shards.
        settings: What every shard must have been run with: values of its report's config by name.

    Returns:
        A dictionary from path to the numbers of its samples.

    Raises:
        SetupError: If one is missing, is there twice, or was run with other settings.
    """
    from keras_mpdsgr.evaluation import Report  # takes seconds, which --help should not cost

    of = _how_many(results, whole)
    shards = [Shard(number, of) for number in range(1, of + 1)]
    missing = [str(shard) for shard in shards if not _report(results, whole, shard).is_file()]
    if missing:
        raise SetupError(
            f"of the {of} shards of {results / whole}, these are missing or not finished: "
            f"{', '.join(missing)}. Run each by its `shard`."
        )
    found = {}
    for shard in shards:
        path = _report(results, whole, shard)
        config = Report.from_json(path).config
        if config.get("shard") != str(shard):
            raise SetupError(
                f"{path} must hold shard {shard}, and holds {config.get('shard')}: a shard given "
                f"twice. Run shard {shard} again."
            )
        for name, value in settings.items():
            if config.get(name) != value:
                raise SetupError(
                    f"{path} was run with {name}={config.get(name)}, and not {name}={value}. Run "
                    "it again, or give `merge` the settings that all shards were run with."
                )
        found[path.with_suffix(".csv")] = shard.block(n, settings["batch_size"])
    return found


def _how_many(results, whole):
    """Of how many shards those in the folder are."""
    found = (_NAMED.fullmatch(path.name.removeprefix(whole)) for path in results.glob("*.json"))
    numbers = sorted({int(match[2]) for match in found if match})
    if not numbers:
        raise SetupError(
            f"{results} holds no finished shard of {whole}. Run `shard` 1/N to N/N first, with the "
            "other settings as here."
        )
    if len(numbers) > 1:
        raise SetupError(
            f"{results} holds shards of {whole} out of {' and out of '.join(map(str, numbers))}. "
            "Remove those that do not belong."
        )
    return numbers[0]


def _report(results, whole, shard):
    return results / f"{shard.name(whole)}.json"
