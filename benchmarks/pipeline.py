"""Times training steps fed by the input pipeline against steps on one batch that lies ready.

Shuffled, cropped and flipped images of 32x32 pixels, as `python -m trainers.cifar` reads them.
"""

import functools
import time

import numpy as np

from benchmarks import machine, markdown
from benchmarks.timing import measuring, program, reporting

_IMAGES = 5000
_STEPS = 4


def main():
    # Here, not above: a refused flag needs no TensorFlow.
    from benchmarks.contenders.ours import Ours
    from keras_mpdsgr import data

    rounds = program.repeats()
    result = {"machine": machine.describe(), "repeats": rounds, "cases": []}
    for case in program.cases(batches=(32, 64), steps=(4,)):
        rng = np.random.default_rng(case.seed)
        shape = (_IMAGES, case.image_size, case.image_size, 3)
        images = rng.integers(256, size=shape, dtype="uint8")
        labels = rng.integers(10, size=_IMAGES).astype("int32")
        batches = iter(
            data.training_batches(
                images, labels, case.batch, seed=case.seed, start_step=0,
                total_steps=(rounds + 3) * 2 * _STEPS, augment=True, flip=True,
            )
        )  # fmt: skip
        contender = Ours(case)
        contender.train_step()
        train = contender.model.train_function
        turns = {
            "pipeline": functools.partial(next, batches),
            "step_with_pipeline": functools.partial(train, batches),
            "step_alone": contender.train_step,
        }
        result["cases"].append(
            {"case": case.to_dict(), "title": case.title, "seconds": _seconds(turns, rounds, case)}
        )
    last = result["cases"][-1]["seconds"]
    result["ratios"] = {
        "step_with_pipeline_vs_alone": measuring.ratio(last, "step_with_pipeline", "step_alone")[
            "median"
        ],
        "pipeline_vs_step": measuring.ratio(last, "pipeline", "step_alone")["median"],
    }
    text = f"Input pipeline\n\n{table(result)}"
    program.finish("pipeline", result, text, lambda axes: _draw(axes, result))


def table(result):
    """The table of milliseconds a batch, in Markdown."""
    rows = [
        (entry["title"], _TITLES[name], reporting.spread(measuring.summary(values), factor=1e3))
        for entry in result["cases"]
        for name, values in entry["seconds"].items()
    ]
    return markdown.table(("case", "what", "ms a batch"), rows)


_TITLES = {
    "pipeline": "the pipeline by itself",
    "step_with_pipeline": "training step, images from the pipeline",
    "step_alone": "training step, the batch lies ready",
}


def _seconds(turns, rounds, case):
    for call in turns.values():
        call()
    seconds = {name: [] for name in turns}
    orders = np.random.default_rng(0)
    with program.rounds(f"pipeline, {case.title}", rounds) as shown:
        for done in range(rounds):
            for name in orders.permutation(list(turns)).tolist():
                began = time.perf_counter()
                for _ in range(_STEPS):
                    turns[name]()
                seconds[name].append((time.perf_counter() - began) / _STEPS)
            shown(done + 1)
    return seconds


def _draw(axes, result):
    entry = result["cases"][-1]
    values = [1e3 * np.asarray(seconds) for seconds in entry["seconds"].values()]
    axes.boxplot(
        values, orientation="horizontal", tick_labels=[_TITLES[n] for n in entry["seconds"]]
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds a batch")
    axes.set_title(f"Input pipeline, {entry['title']}")


if __name__ == "__main__":
    program.run(main, __doc__)
