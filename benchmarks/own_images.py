"""Measures how many images a class a small network needs: digits, written as image folders.

    python -m benchmarks.own_images

For each number of images and each seed, so many digits of each class are drawn by the seed and
written as PNG files into train/<class>/. A small spiking VGG11 is trained on them for the same
number of steps, and asked about the digits' test images. Accuracies go to
docs/howto/own-data.json, the table between its marks in docs/howto/own-data.md.
"""

import json
import pathlib
import statistics
import tempfile

from benchmarks import markdown
from trainers import marked, program

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "howto" / "own-data.md"
RESULTS = PAGE.with_suffix(".json")
TABLE = "own-images"
EACH = (5, 10, 20, 50, 100)
SEEDS = (0, 1, 2)
STEPS, BATCH, RATE = 300, 32, 0.1
NETWORK = {"timesteps": 2, "width": 0.1, "eta": 0.05}


def write_folders(root, digits, each, seed):
    """Writes train/<class>/ with `each` images of every class, and test/<class>/ with all."""
    import keras
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(len(digits.x_train))
    for number, name in enumerate(digits.class_names):
        train = [i for i in chosen if digits.y_train[i] == number][:each]
        test = np.flatnonzero(digits.y_test == number)
        for part, images, rows in (("train", digits.x_train, train), ("test", digits.x_test, test)):
            folder = root / part / name
            folder.mkdir(parents=True)
            for row in rows:
                keras.utils.save_img(folder / f"{row}.png", images[row], scale=False)


def accuracy(images, seed):
    """Trains on an `ImageData`, and returns accuracy on its test images.

    Args:
        images: The `ImageData`.
        seed: Of weights, order and crops.
    """
    import keras

    from keras_mpdsgr import data, models

    keras.utils.set_random_seed(seed)
    model = models.vgg11(
        images.input_shape, images.num_classes, mean=images.mean, std=images.std, **NETWORK
    )
    schedule = keras.optimizers.schedules.CosineDecay(RATE, STEPS)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = data.training_batches(
        images.x_train, images.y_train, BATCH, seed=seed, total_steps=STEPS, flip=False, padding=1
    )
    model.fit(batches, epochs=1, steps_per_epoch=STEPS, shuffle=False, verbose=0)
    tested = model.evaluate(
        data.to_pixels(images.x_test), images.y_test, verbose=0, return_dict=True
    )
    return tested["accuracy"]


def table(found):
    """The table as Markdown: for each number of images the accuracies of all seeds."""
    rows = []
    for each, accuracies in found["accuracies"].items():
        mean = statistics.mean(accuracies)
        shown = f"{mean:.1%} ({min(accuracies):.1%} to {max(accuracies):.1%})"
        rows.append([each, int(each) * found["classes"], shown])
    header = ["images a class", "images", "accuracy, mean of the seeds (lowest to highest)"]
    return markdown.table(header, rows)


def main():
    import keras

    from keras_mpdsgr import data

    digits = data.load("digits")
    found = {
        "network": NETWORK,
        "steps": STEPS,
        "batch": BATCH,
        "seeds": list(SEEDS),
        "classes": digits.num_classes,
        "test_images": len(digits.x_test),
        "keras": keras.__version__,
        "accuracies": {},
    }
    for each in EACH:
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as root:
                write_folders(pathlib.Path(root), digits, each, seed)
                images = data.load("folder", data_dir=root)
            reached = accuracy(images, seed)
            print(f"{each} images a class, seed {seed}: {reached:.1%}", flush=True)
            found["accuracies"].setdefault(str(each), []).append(round(reached, 4))
            keras.backend.clear_session()
    results = RESULTS, json.dumps(found, indent=1) + "\n"
    marked.write(PAGE, {TABLE: table(found)}, beside=[results])
    print(table(found))


if __name__ == "__main__":
    program.run(main, __doc__)
