"""Predicts the class of images, and on request says whether an attack changes it.

    python -m trainers.predict MODEL IMAGE [IMAGE ...]
    python -m trainers.predict MODEL FOLDER --top 3
    python -m trainers.predict MODEL IMAGE --attack --output adversarial
    python -m trainers.predict MODEL IMAGE --attack=pgd --eps 4/255

MODEL is a run folder, a .keras file or the name of a saved model; IMAGE an image or a folder of
images. One line an image: path, class and probability, separated by tabs, and so on for --top
classes. With --attack, the class and probability after the attack and whether the prediction was
flipped; with --output, the same of the image as it is saved, in 8 bits, and its path. The attack
takes the model's own prediction as the label. Exit status: 0; 2 for what you can fix; 1 for a
failure while running; 130 after Ctrl-C.
"""

import sys

from absl import flags

from keras_mpdsgr.experiments import kinds
from trainers import program, settings_flags

# The strongest of those that take one run: SA-PGD with ASSG, 100 steps.
_STRONGEST = "sapgd"


class _AttackParser(flags.ArgumentParser):
    syntactic_help = "the name of an attack"

    def parse(self, argument):
        # Of --attack alone and of --noattack, absl makes these words.
        return {"true": _STRONGEST, "false": None}.get(argument, argument)

    def flag_type(self):
        return "name"


def define(into=flags.FLAGS):
    """Defines the program's flags and returns their names."""
    help = f"Attack the images, by --attack={_STRONGEST} (SA-PGD) if none is named."
    attack = flags.Flag(_AttackParser(), None, "attack", None, help, boolean=True)
    flags.DEFINE_flag(attack, into)
    table = {
        "eps": (8 / 255, kinds.fraction_kind(), "Radius of the attack's L-infinity ball."),
        "output": (None, kinds.TEXT, "Folder for the adversarial images, as 8-bit PNG files."),
        "top": (1, kinds.integer_kind(), "Classes shown for each image."),
        "seed": (0, kinds.integer_kind(least=0), "Of all that is random."),
    }
    return ["attack", *settings_flags.define_table(table, into)]


def main(words, names):
    if len(words) < 2:
        raise program.SetupError("name a model and images: trainers.predict MODEL IMAGE ...")
    from keras_mpdsgr import experiments

    model, *paths = words
    told = experiments.predict(model, paths, **program.values(names))
    for prediction in told:
        print(_line(prediction))
    attacked = [prediction.attacked for prediction in told if prediction.attacked]
    if attacked:
        flipped = sum(one.flipped for one in attacked)
        print(
            f"{attacked[0].attack} flips {flipped} of {len(attacked)} predictions, which it took "
            "for the labels.",
            file=sys.stderr,
        )


def _line(prediction):
    columns = [str(prediction.path), *_columns(prediction.ranking)]
    attacked = prediction.attacked
    if attacked:
        columns += [f"{attacked.attack}:", *_columns(attacked.ranking), _outcome(attacked.flipped)]
        if attacked.path:
            columns += [f"{attacked.path}:", *_columns(attacked.rounded)]
            columns.append(_outcome(attacked.rounded_flipped))
    return "\t".join(columns)


def _columns(ranking):
    return [text for name, share in ranking for text in (name, f"{share:.4f}")]


def _outcome(flipped):
    return "flipped" if flipped else "kept"


def start():
    """Runs the program."""
    defined = define()
    program.run(lambda words: main(words, defined), __doc__, positional=True)


if __name__ == "__main__":
    start()
