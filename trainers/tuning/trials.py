"""One trial: a network of the flags' kind with the values searched, trained and measured."""

import dataclasses

from keras_mpdsgr import data, tuning
from keras_mpdsgr.experiments import checkpoints, networks, training

# Hyperband's own, beside the values searched.
EPOCHS, FIRST_EPOCH, EARLIER_TRIAL = "tuner/epochs", "tuner/initial_epoch", "tuner/trial_id"


def keep_out(images, share, seed):
    """The data set with a share of its training images for test images, which it does not hold.

    Args:
        images: An `ImageData`.
        share: Share of the training images kept out, in (0, 1).
        seed: Of the split.

    Raises:
        ValueError: If the share leaves one of the two parts empty.
    """
    n = len(images.x_train)
    kept_out = round(share * n) if 0 < share < 1 else 0
    if not 0 < kept_out < n:
        raise ValueError(
            "`validation_share` must be a number between 0 and 1 that leaves images on both "
            f"sides. Received: {share:g}, of {n} training images."
        )
    left, (x, y) = data.hold_out(images, kept_out, seed)
    return dataclasses.replace(left, x_test=x, y_test=y)


class TrialModel(tuning.MPDSGRHyperModel):
    """The networks of `trainers.cifar`, as a KerasTuner hypermodel.

    Args:
        config: The `SearchConfig`.
        images: What `keep_out` has returned.
        space: The `SearchSpace`.
        objective: The `RobustObjective`.
        say: Function that shows a line.
    """

    def __init__(self, config, images, space, objective, say):
        super().__init__(objective, space=space, seed=config.seed)
        self._config = config
        self._images = images
        self._steps = data.steps_per_epoch(len(images.x_train), config.batch_size)
        self._say = say

    def config_of(self, hp):
        """The `ExperimentConfig` of a trial."""
        epochs = hp.values.get(EPOCHS, self._config.epochs)
        return self._config.training(**self.space.values(hp), epochs=epochs)

    def build(self, hp):
        config = self.config_of(hp)
        # Keras' compute type is among what a session that is cleared forgets.
        training.prepare_keras(config.seed, config.deterministic, config.mixed_precision)
        self._defense = networks.make_defense(config)
        model = networks.build(config, self._images, self._defense)
        total = config.epochs * self._steps
        trained = networks.compile_for_training(model, config, total, self._defense)
        # So that weights can be loaded into it, momentum and the count of steps too.
        trained.optimizer.build(trained.trainable_variables)
        return trained

    def fit(self, hp, model, *args, **kwargs):
        config = self.config_of(hp)
        seed, steps = config.seed, self._steps
        total, first = config.epochs * steps, hp.values.get(FIRST_EPOCH, 0)
        batches = data.training_batches(
            self._images.x_train,
            self._images.y_train,
            config.batch_size,
            seed=seed,
            start_step=first * steps,
            total_steps=total,
            augment=config.augment,
            flip=self._images.flip,
        )
        return super().fit(
            hp,
            model,
            batches,
            epochs=config.epochs,
            initial_epoch=first,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[
                *self._defense.callbacks(total, round(config.eta_warmup * total)),
                checkpoints.EpochSeeds(seed),
                *kwargs.get("callbacks", ()),
            ],
        )

    def say_failure(self, reason):
        self._say(f"the trial counts as failed: {reason}")
