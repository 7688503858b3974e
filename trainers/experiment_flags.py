"""The flags of a training run, shared by all trainers."""

import fractions
import math
import sys

from absl import flags

# They are flags of the program that has them defined here, and stand in its `--help`.
flags.disclaim_key_flags()

# Flags that say where a run lies or how it shows itself, not what it computes.
PLACE_FLAGS = ("data_dir", "run_dir", "eval_batch_size", "worker_timeout")


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


def define_fraction(name, default, help, most=1.0, flag_values=flags.FLAGS):
    """A flag that takes `8/255` as well as `0.0314`, from 0 to `most`."""
    serializer = _FractionSerializer()
    defined = flags.DEFINE(_FractionParser(), name, default, help, flag_values, serializer)
    _limit(name, lambda value: 0 <= value <= most, least=0, most=most, flag_values=flag_values)
    return defined


class _FractionListParser(_FractionParser):
    def parse(self, argument):
        if isinstance(argument, list):
            return [super(_FractionListParser, self).parse(word) for word in argument]
        return [super(_FractionListParser, self).parse(w) for w in str(argument).split(",") if w]

    def flag_type(self):
        return "comma separated fractions"


def define_fractions(name, help, flag_values=flags.FLAGS):
    """A flag that takes several fractions in [0, 1], separated by commas."""
    parser, serializer = _FractionListParser(), _FractionSerializer()
    defined = flags.DEFINE(parser, name, None, help, flag_values, serializer)
    flags.register_validator(
        name,
        lambda values: not values or all(0 <= value <= 1 for value in values),
        "must be numbers >= 0 and <= 1, separated by commas.",
        flag_values=flag_values,
    )
    return defined


class _RangeParser(flags.ArgumentParser):
    def __init__(self, most):
        super().__init__()
        self._most = most
        kind = "positive numbers" if most is None else f"numbers from 0 to {most:g}"
        self.syntactic_help = f"two {kind}, the lower first, separated by a comma"

    def parse(self, argument):
        words = argument if isinstance(argument, list | tuple) else str(argument).split(",")
        try:
            low, high = (float(word) for word in words)
            below = low > 0 if self._most is None else low >= 0
            if not (below and low <= high <= (self._most or sys.float_info.max)):
                raise ValueError
            return [low, high]
        except ValueError:
            raise ValueError(f"must be {self.syntactic_help}. Received: {argument!r}") from None

    def flag_type(self):
        return "lowest, highest"


def define_range(name, default, help, most=None, flag_values=flags.FLAGS):
    """A flag that takes `0.001,1`: two positive numbers, or, with `most`, two from 0 to it."""
    parser, serializer = _RangeParser(most), _FractionSerializer()
    return flags.DEFINE(parser, name, default, help, flag_values, serializer)


class _OptionsParser(flags.ArgumentParser):
    syntactic_help = "numbers by name, such as weight=0.1,steps=3"

    def parse(self, argument):
        if isinstance(argument, dict):
            return argument
        words = [word.partition("=") for word in str(argument).split(",") if word.strip()]
        try:
            numbers = {name.strip(): _number_of(value) for name, _, value in words}
            if len(numbers) < len(words) or not all(map(math.isfinite, numbers.values())):
                raise ValueError
            if not all(map(str.isidentifier, numbers)):
                raise ValueError
            return numbers
        except ValueError:
            raise ValueError(f"must be {self.syntactic_help}. Received: {argument!r}") from None

    def flag_type(self):
        return "numbers by name"


def _number_of(text):
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number


class _OptionsSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        return ",".join(f"{name}={number!r}" for name, number in value.items())


def define_options(name, help, flag_values=flags.FLAGS):
    """A flag that takes `weight=0.1,steps=3`: a dictionary of numbers, empty by default."""
    return flags.DEFINE(_OptionsParser(), name, {}, help, flag_values, _OptionsSerializer())


class _FractionSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        values = value if isinstance(value, list) else [value]
        return ",".join(repr(number) for number in values)


def define(dataset, datasets, model="vgg11", into=flags.FLAGS):
    """Defines the flags of a training run.

    Args:
        dataset: Default data set.
        datasets: Those to choose from.
        model: Default network.
        into: Where to; the program's own flags.

    Returns:
        Their names.
    """
    own = {"flag_values": into}
    before = set(into)
    flags.DEFINE_enum("dataset", dataset, datasets, "Data set.", **own)
    flags.DEFINE_string(
        "data_dir", None, "Folder of the prepared data sets (TFDS). TFDS' own.", **own
    )
    flags.DEFINE_integer("limit_train", None, "Training images used; all.", lower_bound=1, **own)
    flags.DEFINE_integer("limit_test", None, "Test images used; all.", lower_bound=1, **own)
    flags.DEFINE_integer(
        "image_size",
        None,
        "Side of the images of --dataset folder; the first's.",
        lower_bound=1,
        **own,
    )
    flags.DEFINE_string(
        "run_dir", None, "Run folder. One under runs/, named after the flags.", **own
    )

    flags.DEFINE_string("model", model, "Network.", **own)
    define_number("width", 1.0, "Multiplier of all layer widths.", above=0, **own)
    flags.DEFINE_integer("timesteps", 8, "Length T of the window.", lower_bound=1, **own)
    flags.DEFINE_string("coding", "direct", "Spike coding of the image.", **own)
    define_options("coding_options", "Arguments of the coding's layer, as std=0.2.", **own)
    flags.DEFINE_string("surrogate", "triangle", "Surrogate gradient.", **own)
    define_options("surrogate_options", "Arguments of the surrogate, as beta=2.", **own)
    define_number("gamma", 1.0, "Width of the surrogate's window.", above=0, **own)
    define_number("tau", 1.0, "Leak factor; 1 is no leak.", least=0, most=1, **own)
    flags.DEFINE_enum("reset", "hard", ["hard", "soft"], "Reset after a spike.", **own)
    flags.DEFINE_bool("detach_reset", False, "Keep the gradient out of the reset.", **own)
    flags.DEFINE_enum(
        "learn_tau",
        "none",
        ["none", "layer", "time"],
        "Learn the leak, one a layer or time step.",
        **own,
    )
    flags.DEFINE_bool("learn_gamma", False, "Learn the width of each layer's surrogate.", **own)

    flags.DEFINE_string("defense", "mpd_sgr", "Defence that the network is trained with.", **own)
    define_options("defense_options", "Arguments of the defence, as weight=0.1.", **own)
    define_number(
        "eta",
        0.05,
        "Weight of Omega (mpd_sgr) or of firing rates (rate) in the loss.",
        least=0,
        **own,
    )
    define_number(
        "eta_warmup",
        0.25,
        "Share of the steps over which eta rises from 0.",
        least=0,
        most=1,
        **own,
    )
    flags.DEFINE_enum(
        "omega_form", "batch", ["batch", "analytic", "scale_free"], "How Omega is computed.", **own
    )

    flags.DEFINE_bool("adversarial_training", False, "Train on adversarial images.", **own)
    flags.DEFINE_enum(
        "adversarial_loss", "pgd", ["pgd", "trades"], "How they enter the loss.", **own
    )
    define_fraction("adversarial_eps", 2 / 255, "Radius of their ball.", **own)
    define_fraction("adversarial_step_size", 1 / 255, "Length of a step in making them.", **own)
    flags.DEFINE_integer("adversarial_steps", 2, "Steps in making them.", lower_bound=1, **own)

    flags.DEFINE_integer("epochs", 200, "Epochs.", lower_bound=1, **own)
    flags.DEFINE_integer("batch_size", 64, "Images a step.", lower_bound=1, **own)
    define_number("learning_rate", 0.1, "At the start; cosine to 0.", above=0, **own)
    define_number("momentum", 0.9, "Of SGD.", least=0, most=1, **own)
    define_number("weight_decay", 5e-4, "Added to the gradient, of every variable.", least=0, **own)
    flags.DEFINE_enum(
        "weight_rule", "decay", ["decay", "reg"], "Weight decay, or REG's rule in its place.", **own
    )
    flags.DEFINE_bool("augment", True, "Random crops and flips.", **own)
    flags.DEFINE_integer("seed", 42, "Of all that is random.", lower_bound=0, **own)

    flags.DEFINE_enum(
        "jit",
        "auto",
        ["auto", "on", "off"],
        "XLA. auto: a GPU's whole steps, a CPU's neurons alone.",
        **own,
    )
    flags.DEFINE_enum(
        "mixed_precision",
        "off",
        ["off", "float16", "bfloat16"],
        "Compute type of the layers.",
        **own,
    )
    flags.DEFINE_bool(
        "recompute",
        False,
        "Keep less memory for the backward pass, and compute the rest again there.",
        **own,
    )
    flags.DEFINE_enum(
        "distribute",
        "none",
        ["none", "mirrored", "multiworker"],
        "Share each batch among the GPUs of this machine, or among the workers of TF_CONFIG.",
        **own,
    )
    flags.DEFINE_integer(
        "replicas",
        None,
        "Of --distribute mirrored: GPUs, or virtual CPUs where there is none; all GPUs, or 1.",
        lower_bound=1,
        **own,
    )
    define_number(
        "worker_timeout",
        120.0,
        "Seconds without a step after which a worker holds another for lost.",
        above=0,
        **own,
    )
    flags.DEFINE_bool("deterministic", False, "Only ops that give the same bits each time.", **own)

    define_fraction("eval_eps", 8 / 255, "Radius of the attacks at the end.", **own)
    flags.DEFINE_integer(
        "eval_limit", 1000, "Test images attacked at the end.", lower_bound=1, **own
    )
    flags.DEFINE_integer("eval_batch_size", 100, "Images attacked at a time.", lower_bound=1, **own)
    return [name for name in into if name not in before]


def defaults():
    """The defaults of all training flags, as a dictionary."""
    apart = flags.FlagValues()
    define("cifar10", ["cifar10"], into=apart)
    return {name: apart[name].default for name in apart}


def define_number(name, default, help, least=None, most=None, above=None, flag_values=flags.FLAGS):
    """A flag that takes a finite number within limits; None by default only."""
    flags.DEFINE_float(name, default, help, flag_values=flag_values)

    def allowed(value):
        if value is None and default is None:
            return True
        if not math.isfinite(value):
            return False
        if above is not None and value <= above:
            return False
        return (least is None or value >= least) and (most is None or value <= most)

    _limit(name, allowed, least, most, above, flag_values)


def _limit(name, allowed, least=None, most=None, above=None, flag_values=flags.FLAGS):
    limits = f"> {above}" if above is not None else f">= {least}"
    limits += f" and <= {most:g}" if most not in (None, math.inf) else ""
    message = f"must be a number {limits}."
    flags.register_validator(name, allowed, message, flag_values=flag_values)
