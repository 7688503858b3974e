"""The flags of a training run, shared by all trainers."""

import fractions
import math

from absl import flags

# Flags that say where a run lies or how it shows itself, not what it computes.
PLACE_FLAGS = ("data_dir", "run_dir", "eval_batch_size")


class _FractionParser(flags.ArgumentParser):
    syntactic_help = "a decimal or a fraction, such as 8/255"

    def parse(self, argument):
        if isinstance(argument, float | int):
            return float(argument)
        try:
            return float(fractions.Fraction(str(argument).replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"must be {self.syntactic_help}. Received: {argument!r}") from None

    def flag_type(self):
        return "fraction"


def define_fraction(name, default, help):
    """A flag that takes `8/255` as well as `0.0314`."""
    return flags.DEFINE(_FractionParser(), name, default, help, serializer=_FractionSerializer())


class _FractionListParser(_FractionParser):
    def parse(self, argument):
        if isinstance(argument, list):
            return [super(_FractionListParser, self).parse(word) for word in argument]
        return [super(_FractionListParser, self).parse(w) for w in str(argument).split(",") if w]

    def flag_type(self):
        return "comma separated fractions"


def define_fractions(name, help):
    """A flag that takes several fractions, separated by commas."""
    return flags.DEFINE(_FractionListParser(), name, None, help, serializer=_FractionSerializer())


class _FractionSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        values = value if isinstance(value, list) else [value]
        return ",".join(repr(number) for number in values)


def define(dataset, datasets, model="vgg11"):
    """Defines the flags of a training run.

    Args:
        dataset: Default data set.
        datasets: Those to choose from.
        model: Default network.
    """
    flags.DEFINE_enum("dataset", dataset, datasets, "Data set.")
    flags.DEFINE_string("data_dir", None, "Folder of the prepared data sets (TFDS). TFDS' own.")
    flags.DEFINE_integer("limit_train", None, "Training images used; all.", lower_bound=1)
    flags.DEFINE_integer("limit_test", None, "Test images used; all.", lower_bound=1)
    flags.DEFINE_integer(
        "image_size", None, "Side of the images of --dataset folder; the first's.", lower_bound=1
    )
    flags.DEFINE_string("run_dir", None, "Run folder. One under runs/, named after the flags.")

    flags.DEFINE_string("model", model, "Network.")
    _number("width", 1.0, "Multiplier of all layer widths.", above=0)
    flags.DEFINE_integer("timesteps", 8, "Length T of the window.", lower_bound=1)
    flags.DEFINE_string("coding", "direct", "Spike coding of the image.")
    flags.DEFINE_string("surrogate", "triangle", "Surrogate gradient.")
    _number("gamma", 1.0, "Width of the surrogate's window.", above=0)
    _number("tau", 1.0, "Leak factor; 1 is no leak.", least=0, most=1)
    flags.DEFINE_enum("reset", "hard", ["hard", "soft"], "Reset after a spike.")
    flags.DEFINE_bool("detach_reset", False, "Keep the gradient out of the reset.")

    _number("eta", 0.05, "Weight of Omega in the loss.", least=0)
    _number("eta_warmup", 0.25, "Share of the steps over which eta rises from 0.", least=0, most=1)
    flags.DEFINE_enum(
        "omega_form", "batch", ["batch", "analytic", "scale_free"], "How Omega is computed."
    )

    flags.DEFINE_integer("epochs", 200, "Epochs.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 64, "Images a step.", lower_bound=1)
    _number("learning_rate", 0.1, "At the start; cosine to 0.", above=0)
    _number("momentum", 0.9, "Of SGD.", least=0, most=1)
    _number("weight_decay", 5e-4, "Added to the gradient, of every variable.", least=0)
    flags.DEFINE_bool("augment", True, "Random crops and flips.")
    flags.DEFINE_integer("seed", 42, "Of all that is random.", lower_bound=0)

    flags.DEFINE_enum("jit", "auto", ["auto", "on", "off"], "XLA; auto: where there is a GPU.")
    flags.DEFINE_enum(
        "mixed_precision", "off", ["off", "float16", "bfloat16"], "Compute type of the layers."
    )
    flags.DEFINE_bool("deterministic", False, "Only ops that give the same bits each time.")

    define_fraction("eval_eps", 8 / 255, "Radius of the attacks at the end.")
    flags.DEFINE_integer("eval_limit", 1000, "Test images attacked at the end.", lower_bound=1)
    flags.DEFINE_integer("eval_batch_size", 100, "Images attacked at a time.", lower_bound=1)


def values():
    """The values of all training flags, as a dictionary."""
    return {name: flags.FLAGS[name].value for name in _names()}


def _names():
    ours = flags.FLAGS.flags_by_module_dict()[__name__]
    return [flag.name for flag in ours]


def _number(name, default, help, least=None, most=None, above=None):
    flags.DEFINE_float(name, default, help)

    def allowed(value):
        if not math.isfinite(value):
            return False
        if above is not None and value <= above:
            return False
        return (least is None or value >= least) and (most is None or value <= most)

    limits = f"> {above}" if above is not None else f">= {least}"
    limits += f" and <= {most}" if most is not None else ""
    flags.register_validator(name, allowed, f"must be a number {limits}.")
