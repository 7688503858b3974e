"""How large a reproduction is: data, networks, epochs and attacks of each scale."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataSet:
    """What stands for one of the paper's data sets.

    Attributes:
        flag: Value of --dataset.
        settings: Training flags that go with it.
        seed_offset: Added to the seed, where one data set stands for several.
        size: Training images used, height, and channels, for estimates of time.
    """

    flag: str
    settings: dict = dataclasses.field(default_factory=dict)
    seed_offset: int = 0
    size: tuple[int, int, int] = (50_000, 32, 3)


@dataclasses.dataclass(frozen=True)
class Scale:
    """One scale.

    Attributes:
        name: Value of --scale.
        data: A `DataSet` for each of the paper's, by the paper's name.
        widths: Width of each network.
        settings: Training flags of every run.
        timesteps: T for the paper's T.
        swept_timesteps, swept_eta, swept_eps, swept_steps: Values along the axes of figures.
        eta: Weight of Omega in runs of MPD-SGR.
        method_settings: Training flags of single methods.
        model_settings: Training flags of single networks, by its name.
        images: Test images attacked; None for all.
        strongest_images: Test images of the worst case; None for all.
        steps_share: Share of the steps of CW and of the suite `strongest`.
        eot: Draws that gradients of random models are averaged over.
        note: What the reader must know about the scale, in a sentence or two.
        shows_paper: Whether the paper's numbers may stand beside ours.
    """

    name: str
    data: dict
    widths: dict
    settings: dict
    timesteps: dict
    swept_timesteps: tuple
    swept_eta: tuple
    swept_eps: tuple
    swept_steps: tuple
    eta: float
    method_settings: dict
    model_settings: dict
    images: int | None
    strongest_images: int | None
    steps_share: float
    eot: int
    note: str
    shows_paper: bool = True

    def told_apart(self, datasets):
        """The data sets without duplicates at this scale, where one may stand for several.

        Args:
            datasets: The paper's names of them.
        """
        first = {self.data[dataset].flag: dataset for dataset in reversed(datasets)}
        return tuple(dataset for dataset in datasets if dataset in first.values())

    def title(self, caption, datasets):
        """The title of a table or figure at this scale."""
        if self.name == "paper":
            return caption
        if self.shows_paper:
            return f"cpu: {caption}, at a scale that a CPU can do, not the paper's"
        stood_for = " and ".join(datasets)
        seeds = ""
        if len(datasets) > 1:
            seeds = "; a seed of its own for each"
        return f"smoke: digits in place of {stood_for}{seeds}, not the paper's data. {caption}"


# At 2, its integral is 1, as the others'; at its authors' 10, ten layers pass no gradient on.
SUPERSPIKE = {"surrogate_options": {"beta": 2}}

# The flag's own default is 0.05, at which Omega hardly moves in a few thousand steps.
_SHORT_RUN_ETA = 1.0

_PAPER = Scale(
    name="paper",
    data={
        "CIFAR-10": DataSet("cifar10"),
        "CIFAR-100": DataSet("cifar100"),
        "Tiny-ImageNet": DataSet("tiny_imagenet", size=(100_000, 64, 3)),
    },
    widths={"vgg11": 1.0, "vgg16": 1.0, "wrn16": 1.0},
    settings={"epochs": 200, "batch_size": 64, "eval_limit": 1000},
    timesteps={4: 4, 8: 8},
    swept_timesteps=(2, 4, 6, 8),
    swept_eta=(0.0, 0.01, 0.05, 0.1, 0.5, 1.0),
    swept_eps=(1, 2, 4, 6, 8, 12, 16),
    swept_steps=(1, 2, 4, 7, 10, 20, 40),
    eta=0.05,
    # Epochs and batch of their own papers (Ding et al., 2024a; Liu et al., 2024).
    method_settings={"DLIF": {"epochs": 100}, "SR": {"batch_size": 32}},
    model_settings={},
    images=None,
    strongest_images=1000,
    steps_share=1.0,
    eot=10,
    note=(
        "The recipe of SNN-RAT (Ding et al., 2022). Attacks on all test images, the worst case on "
        "1,000. The paper does not say its eta; it is {eta:g} here."
    ),
)

_CPU = Scale(
    name="cpu",
    data={
        "CIFAR-10": DataSet("cifar10", {"limit_train": 20_000, "epochs": 16}, size=(20_000, 32, 3)),
        # As many steps as CIFAR-10 takes would be 64 epochs; the night is too short for them.
        "CIFAR-100": DataSet("cifar100", {"epochs": 32}, size=(5_000, 32, 3)),
        "Tiny-ImageNet": DataSet("tiny_imagenet", {"epochs": 32}, size=(2_000, 64, 3)),
    },
    widths={"vgg11": 0.125, "vgg16": 0.125, "wrn16": 0.25},
    settings={"batch_size": 64, "eval_limit": 100},
    timesteps={4: 4, 8: 4},
    swept_timesteps=(2, 4, 6, 8),
    swept_eta=(0.0, 0.25, 1.0, 4.0),
    swept_eps=(1, 2, 4, 6, 8),
    swept_steps=(1, 2, 4, 7, 10),
    eta=_SHORT_RUN_ETA,
    method_settings={},
    model_settings={},
    images=300,
    strongest_images=100,
    steps_share=0.5,
    eot=5,
    note=(
        "VGG11 and VGG16 at width 1/8, WRN16 at 1/4, T = 4, 16 epochs on 20,000 images of "
        "CIFAR-10, 32 epochs on what there is of CIFAR-100 (5,000 images in its part) and of "
        "Tiny-ImageNet (2,000), eta {eta:g}. Attacks on 300 test images, the worst case on 100."
    ),
)

_DIGITS = (1_437, 16, 1)
_SMOKE = Scale(
    name="smoke",
    data={
        "CIFAR-10": DataSet("digits", size=_DIGITS),
        # A model of its own for each row, though the images are the same.
        "CIFAR-100": DataSet("digits", seed_offset=1000, size=_DIGITS),
        "Tiny-ImageNet": DataSet("digits", size=_DIGITS),
    },
    widths={"vgg11": 0.06, "vgg16": 0.15, "wrn16": 0.25},
    settings={"epochs": 10, "batch_size": 32, "eval_limit": 20, "eval_batch_size": 20},
    timesteps={4: 2, 8: 2},
    swept_timesteps=(2, 4),
    swept_eta=(0.0, 1.0),
    swept_eps=(2, 8),
    swept_steps=(1, 4, 7),
    eta=_SHORT_RUN_ETA,
    # Networks this small stay at guessing, or near it, under the full weights.
    method_settings={
        "DLIF": {"defense_options": {"alpha": 0.1}},
        "SR": {"defense_options": {"weight": 0.0005}},
    },
    model_settings={"vgg16": {"epochs": 20}},
    images=50,
    strongest_images=50,
    steps_share=0.1,
    eot=2,
    note=(
        "Networks a few channels wide, T = 2, 10 epochs (VGG16: 20), eta {eta:g}, DLIF's alpha 0.1 "
        "and SR's weight 0.0005, as so small networks hardly learn under the full ones; 50 test "
        "images. It shows that every step runs, and nothing about the method."
    ),
    shows_paper=False,
)

SCALES = {scale.name: scale for scale in (_PAPER, _CPU, _SMOKE)}
