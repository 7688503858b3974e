"""How long a run and its attacks will take, before they are done."""

import statistics

# Seconds a training step of VGG11 at 32x32, T = 4, batch 64, on 2 cores, by the width; they are
# within a fifth of what docs/performance/ has at widths 1/4 to 1. The first term is of the neurons,
# the second of the convolutions.
_BY_WIDTH, _BY_WIDTH_SQUARED = 0.25, 2.0
_EACH_STEP = 0.012
# In steps of VGG11 at the same width, by multiplications.
_NETWORKS = {"vgg11": 1.0, "vgg16": 1.4, "wrn16": 1.5}
# In plain training steps: SR differentiates twice, DLIF looks at two images.
_DEFENSES = {"sr": 3.0, "dlif": 2.2, "stog": 1.1, "feel": 1.3}
_ADVERSARIAL = 2.0
_GRADIENT = 0.6  # of a training step
_COMPILE_TRAINING, _COMPILE_ATTACK = 25.0, 3.0
_ATTACK_BATCH = 100
# Attacks compiled, and gradients an image at full length, of each group. Of the strongest suite's
# images most are broken by its first attacks.
_GROUPS = {
    "clean": (0.3, 0.3),
    "noise": (0.6, 0.6),
    "white_box": (3, 15),
    "cw": (2, 200),
    "rate": (5, 215),
    "strongest": (12, 400),
    "eps": (1, 28),
    "steps": (1, 84),
    "transfer": (3, 15),
}
_TEST_IMAGES = 10_000
# Longer durations are told in days.
_HOURS_UP_TO = 72


class Durations:
    """Durations in seconds, by a formula measured on 2 CPU cores and scaled by what runs took.

    Args:
        store: The `Store`, whose finished runs scale the formula.
        runs: Runs that may be finished.
    """

    def __init__(self, store, runs):
        self._scale = store.scale
        training, attacking = [], []
        for run in runs:
            for name, seconds in store.seconds(run).items():
                if name == "training" and store.trained(run):
                    training.append(seconds / self._training(run))
                elif name in _GROUPS:
                    attacking.append(seconds / self._attack(run, name))
        self.finished = len(training)
        self._training_ratio = statistics.median(training) if training else 1.0
        self._attack_ratio = statistics.median(attacking) if attacking else 1.0

    def training(self, run):
        """Seconds to train a run."""
        return self._training_ratio * self._training(run)

    def attack(self, task):
        """Seconds to do a task."""
        return self._attack_ratio * self._attack(task.run, task.group)

    @property
    def source(self):
        """Where the estimates come from, in words."""
        formula = "a formula measured on 2 CPU cores"
        if not self.finished:
            return formula
        return f"{formula}, scaled by what {self.finished} finished runs here took"

    def _training(self, run):
        c = run.config
        steps = c.epochs * (self._images(run) // c.batch_size)
        cost = _DEFENSES.get(c.defense, 1.0)
        cost += _ADVERSARIAL if c.adversarial_training else 0.0
        return _COMPILE_TRAINING + steps * cost * _step(run, c.batch_size)

    def _images(self, run):
        limit = run.config.limit_train
        return min(limit, run.size[0]) if limit else run.size[0]

    def _attack(self, run, group):
        scale = self._scale
        compiled, gradients = _GROUPS[group]
        if group in ("strongest", "cw", "rate"):
            gradients *= scale.steps_share
        whole = group in ("clean", "noise")
        images = scale.strongest_images if group == "strongest" else scale.images
        if whole or images is None:
            images = 360 if run.config.dataset == "digits" else _TEST_IMAGES
        draws = scale.eot if run.is_random else 1
        batches = images * gradients * draws / _ATTACK_BATCH
        return compiled * _COMPILE_ATTACK + batches * _GRADIENT * _step(run, _ATTACK_BATCH)


def _step(run, batch):
    c = run.config
    _, side, _ = run.size
    share = c.timesteps / 4 * batch / 64 * (side / 32) ** 2
    width = c.width
    by_network = _NETWORKS.get(c.model, 1.0)
    work = (_BY_WIDTH * width + _BY_WIDTH_SQUARED * width**2) * by_network
    return _EACH_STEP + share * work


def duration(seconds):
    """Seconds in words: `40 s`, `12 min`, `3 h 20 min`, `5 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds >= _HOURS_UP_TO * 3600:
        return f"{seconds / 86_400:,.0f} days"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
