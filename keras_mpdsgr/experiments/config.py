"""The configuration of a training."""

import dataclasses
import sys

from keras_mpdsgr import adversaries, plugins
from keras_mpdsgr.errors import SetupError, setup_errors
from keras_mpdsgr.experiments import conflicts, fields
from keras_mpdsgr.experiments import imports as modules
from keras_mpdsgr.experiments.settings import Settings

DATASETS = ("cifar10", "cifar100", "digits", "folder", "tiny_imagenet")
# Those whose name says which images they are, wherever they lie.
_PUBLISHED = ("cifar10", "cifar100", "digits", "tiny_imagenet")
JIT = ("auto", "on", "off")
NEURONS = ("lif", "relu")
JIT_HELP = "XLA. auto: a GPU's whole steps, a CPU's neurons alone."
# The defence of a network of these neurons, where none is named.
_DEFENSES = {"lif": "mpd_sgr", "relu": "none"}


def more_datasets():
    """Names beside `DATASETS`: registered ones, and those that installed packages offer."""
    datasets = sys.modules.get("keras_mpdsgr.data.datasets")
    known = plugins.names(plugins.DATASETS) if datasets is None else datasets.names()
    return [name for name in known if name not in DATASETS]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig(Settings):
    """Everything that defines a training; its fields are the flags of `trainers.cifar`.

    The defaults are the paper's recipe: VGG11, 8 time steps, 200 epochs on CIFAR-10. With
    `neuron="relu"` the network is the plain twin, whose `defense` is `"none"` if not given, and
    what only spiking neurons have (`timesteps`, `surrogate`, `tau`, ...) is refused. All values are
    checked here; what only the library's registries know (names, options of a defence) is checked
    here too where TensorFlow is loaded already and the modules of `imports` are, else by `train`
    before anything is written.

    Raises:
        SetupError: If a value is not allowed, or two cannot be combined.

    Example:

    >>> config = ExperimentConfig(dataset="digits", width=0.125, timesteps=4, epochs=2)
    >>> config.command()
    ['trainers.cifar', '--dataset=digits', '--width=0.125', '--timesteps=4', '--epochs=2']
    >>> ExperimentConfig.from_dict(config.to_dict()) == config
    True
    """

    dataset: str = fields.choice("cifar10", DATASETS, "Data set.", more=more_datasets)
    data_dir: str | None = fields.text(
        None, "Folder of the prepared data sets (TFDS). TFDS' own.", apart=True
    )
    limit_train: int | None = fields.integer(None, "Training images used; all.")
    limit_test: int | None = fields.integer(None, "Test images used; all.")
    image_size: int | None = fields.integer(
        None, "Side of the images of dataset folder; the first's."
    )
    run_dir: str | None = fields.text(
        None, "Run folder. One under runs/, named after the flags.", apart=True
    )
    imports: tuple = fields.modules()

    model: str = fields.text("vgg11", "Network.")
    width: float = fields.number(1.0, "Multiplier of all layer widths.", above=0)
    neuron: str = fields.choice(
        "lif", NEURONS, "Neurons. relu: the plain twin, with ReLU in their place and without time."
    )
    timesteps: int = fields.integer(8, "Length T of the window.")
    coding: str = fields.text("direct", "Spike coding of the image.")
    coding_options: dict = fields.options("Arguments of the coding's layer, as std=0.2.")
    surrogate: str = fields.text("triangle", "Surrogate gradient.")
    surrogate_options: dict = fields.options("Arguments of the surrogate, as beta=2.")
    gamma: float = fields.number(1.0, "Width of the surrogate's window.", above=0)
    tau: float = fields.number(1.0, "Leak factor; 1 is no leak.", least=0, most=1)
    reset: str = fields.choice("hard", ("hard", "soft"), "Reset after a spike.")
    detach_reset: bool = fields.switch(False, "Keep the gradient out of the reset.")
    learn_tau: str = fields.choice(
        "none", ("none", "layer", "time"), "Learn the leak, one a layer or time step."
    )
    learn_gamma: bool = fields.switch(False, "Learn the width of each layer's surrogate.")

    defense: str | None = fields.text(
        None,
        "Defence that the network is trained with, or several, separated by commas; mpd_sgr, with "
        "neuron relu none.",
    )
    defense_options: dict = fields.options(
        "Arguments of the defence, as weight=0.1; of several as sr.weight=0.1."
    )
    eta: float = fields.number(
        0.05, "Weight of Omega (mpd_sgr) or of firing rates (rate) in the loss.", least=0
    )
    eta_warmup: float = fields.number(
        0.25, "Share of the steps over which eta rises from 0.", least=0, most=1
    )
    omega_form: str = fields.choice(
        "batch", ("batch", "analytic", "scale_free", "sample"), "How Omega is computed."
    )

    adversarial_training: bool = fields.switch(False, "Train on adversarial images.")
    adversarial_method: str = fields.choice(
        "pgd",
        adversaries.METHODS,
        "Attack that makes them: of several steps, or of a single one.",
    )
    adversarial_loss: str = fields.choice("pgd", adversaries.LOSSES, "How they enter the loss.")
    adversarial_eps: float = fields.fraction(2 / 255, "Radius of their ball.")
    adversarial_step_size: float | None = fields.fraction(
        None,
        "Length of a step of this attack; the method's own: radius / min(steps, 4) of pgd, 1.25 "
        "or 1 radius of the others.",
    )
    adversarial_steps: int | None = fields.integer(
        None, "Steps of this attack; the method's own: 2 or 1."
    )
    adversarial_gradient: str | None = fields.text(
        None, "Backward pass of this attack, such as bptr or assg; that of the training."
    )
    adversarial_warmup: float = fields.number(
        0.0, "Share of the steps over which their radius rises from 0.", least=0, most=1
    )
    awp: float = fields.number(
        0.0, "Length of AWP's step of the weights, as a share of their own; 0 for none.", least=0
    )

    epochs: int = fields.integer(200, "Epochs.")
    batch_size: int = fields.integer(64, "Images a step.")
    learning_rate: float = fields.number(0.1, "At its highest.", above=0)
    schedule: str = fields.choice(
        "cosine",
        ("cosine", "cyclic", "constant"),
        "Learning rate: cosine to 0, linearly up and down, or constant.",
    )
    warmup: float = fields.number(
        0.0, "Share of the steps over which the learning rate rises from 0.", least=0, most=1
    )
    clip_norm: float = fields.number(0.0, "Largest norm of the whole gradient; 0 for any.", least=0)
    label_smoothing: float = fields.number(
        0.0, "Share of the labels spread over all classes, in the loss.", least=0, most=1
    )
    ema: float = fields.number(
        0.0,
        "Decay of the weights' moving average, which is then kept; 0 for none.",
        least=0,
        most=1,
    )
    momentum: float = fields.number(0.9, "Of SGD.", least=0, most=1)
    weight_decay: float = fields.number(5e-4, "Added to the gradient, of every variable.", least=0)
    weight_rule: str = fields.choice(
        "decay", ("decay", "reg"), "Weight decay, or REG's rule in its place."
    )
    augment: bool = fields.switch(True, "Random crops and flips.")
    validation_images: int | None = fields.integer(
        None,
        "Training images set apart, by which the best epoch is chosen (PGD-10, ASSG); none: the "
        "last epoch is kept.",
    )
    validation_every: int = fields.integer(1, "Epochs from one such measurement to the next.")
    patience: int | None = fields.integer(
        None,
        "Stop when the network has seemed dead for so many epochs in a row; never.",
        apart=True,
    )
    seed: int = fields.integer(42, "Of all that is random.", least=0)

    jit: str = fields.choice("auto", JIT, JIT_HELP, pace=True)
    mixed_precision: str = fields.choice(
        "off",
        ("off", "float16", "bfloat16", "auto"),
        "Compute type of the layers. auto: bfloat16 where the processor or GPU computes in it.",
    )
    recompute: bool = fields.switch(
        False,
        "Save memory: compute activations again in the backward pass.",
        pace=True,
    )
    distribute: str = fields.choice(
        "none",
        ("none", "mirrored", "multiworker"),
        "Share each batch among the GPUs of this machine, or among the workers of TF_CONFIG.",
    )
    replicas: int | None = fields.integer(
        None, "Of distribute mirrored: GPUs, or virtual CPUs where there is none; all GPUs, or 1."
    )
    worker_timeout: float = fields.number(
        120.0,
        "Seconds without a step after which a worker considers another lost.",
        above=0,
        apart=True,
    )
    deterministic: bool = fields.switch(False, "Only ops that give the same bits each time.")

    eval_eps: float = fields.fraction(8 / 255, "Radius of the attacks at the end.")
    eval_limit: int = fields.integer(1000, "Test images attacked at the end.")
    eval_batch_size: int = fields.integer(100, "Images attacked at a time.", apart=True)

    def __post_init__(self):
        super().__post_init__()
        if self.adversarial_method == "pgd":
            # The method's own values, which earlier versions wrote down, are said by None.
            if self.adversarial_step_size == self._own_step_size():
                object.__setattr__(self, "adversarial_step_size", None)
            if self.adversarial_steps == adversaries.own_steps("pgd"):
                object.__setattr__(self, "adversarial_steps", None)
        if self.defense is None:
            object.__setattr__(self, "defense", _DEFENSES[self.neuron])
        conflicts.refuse(self, ADVERSARIAL)
        if not modules.pending(self.imports):
            self.check_names()

    __hash__ = Settings.__hash__

    def check_names(self):
        """Checks what a module may have registered; without TensorFlow, the data set alone.

        Raises:
            SetupError: If a name is not known, or what it names does not go with the rest.
        """
        check_dataset(self.dataset)
        if "tensorflow" in sys.modules:
            from keras_mpdsgr.experiments import networks

            with setup_errors():
                networks.check(self)

    def identity(self):
        # A user's own images are identified only by their path.
        own = {} if self.dataset in _PUBLISHED else {"data_dir": self.data_dir}
        return {**super().identity(), **own}

    def keyed(self):
        keyed = super().keyed()
        if self.adversarial_training and self.adversarial_method == "pgd":
            # None meant 1/255 at every radius once: keys of then must not name other trainings.
            size = self.adversarial_step_size or self._own_step_size()
            keyed["adversarial_step_size"] = None if size == 1 / 255 else size
        return keyed

    def _own_step_size(self):
        """PGD's in adversarial training."""
        steps = self.adversarial_steps or adversaries.own_steps("pgd")
        return adversaries.own_step_size("pgd", self.adversarial_eps, steps)

    def title(self):
        """Its main values in one word, for the name of a folder."""
        if self.neuron == "relu":
            return f"{self.dataset}-{self.model}-relu-seed{self.seed}"
        return f"{self.dataset}-{self.model}-{self.surrogate}-eta{self.eta:g}-seed{self.seed}"

    def command(self):
        """The words after `python -m` of the command that trains by this configuration."""
        if self.dataset == TINY_IMAGENET.dataset:
            return ["trainers.tiny_imagenet", *self.words(TINY_IMAGENET)]
        return ["trainers.cifar", *self.words()]


def check_dataset(name):
    """Raises a SetupError if no data set of that name is known."""
    refusal = DATASET_KIND.refusal(name)
    if refusal:
        raise SetupError(f"`dataset` {refusal} Received: {name!r}.")


DATASET_KIND = ExperimentConfig.__dataclass_fields__["dataset"].metadata["kind"]
# The settings of adversarial training, and their defaults.
ADVERSARIAL = {
    field.name: field.default
    for field in dataclasses.fields(ExperimentConfig)
    if field.name.startswith("adversarial_") and field.name != "adversarial_training"
}
# The defaults of trainers.tiny_imagenet.
TINY_IMAGENET = ExperimentConfig(dataset="tiny_imagenet", model="vgg16")
