"""A layer of neurons that a model calls several times: Omega counts as the mean that is shown."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_mpdsgr import LIFLayer, dynamics, layers, models, set_regularization

X = np.random.default_rng(0).normal(0.4, 0.8, (12, 3, 4)).astype("float32")
Y = np.arange(12) % 2
ETA = 2.0


def shared(x, penalty):
    """One layer of neurons behind two dense layers in a row, and a penalty behind both."""
    neurons, rate = LIFLayer(name="neurons", track_omega=True), layers.FiringRatePenalty(penalty)
    for name in ("first", "second"):
        dense = keras.layers.Dense(4, name=name, kernel_initializer="orthogonal")
        x = rate(neurons(layers.FoldTime(dense)(x)))
    return x


def recomputed(x, penalty):
    inside = keras.Input((3, 4))
    return layers.Recompute(keras.Model(inside, shared(inside, penalty)))(x)


def block_twice(x, penalty):
    neurons, rate = LIFLayer(name="neurons", track_omega=True), layers.FiringRatePenalty(penalty)
    dense = layers.FoldTime(keras.layers.Dense(4, kernel_initializer="orthogonal"))
    block = layers.Recompute(keras.Sequential([keras.Input((3, 4)), dense, neurons, rate]))
    return block(block(x))


def nested_recompute(x, penalty):
    inside = keras.Input((3, 4))
    return layers.Recompute(keras.Model(inside, recomputed(inside, penalty)))(x)


NETWORKS = (shared, recomputed, block_twice, nested_recompute)


def build(network, penalty=0.0, kind=models.SpikingModel, **compiled):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3, 4))
    x = layers.TemporalMean()(network(inputs, penalty))
    model = kind(inputs, keras.layers.Dense(2)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, **compiled)
    return model


def by_hand(model):
    """Cross-entropy, and the means over both calls of Omega and of the firing rate."""
    with dynamics.capture_potentials() as captured:
        logits = model(X, training=False).numpy().astype("float64")
    assert len(captured) == 2
    shares, rates = [], []
    for call in captured:
        v = call.membranes.numpy().astype("float64") - 1.0
        density = scipy.stats.norm(v.mean(0), v.std(0))
        shares.append((density.cdf(1.0) - density.cdf(-1.0)).mean())
        rates.append(call.spikes.numpy().mean())
    assert abs(shares[0] - shares[1]) > 0.01 and 0.02 < min(rates) < max(rates) < 0.98
    task = np.log(np.exp(logits).sum(1)) - logits[np.arange(12), Y]
    return task.mean(), np.mean(shares), np.mean(rates)


@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_loss_holds_the_mean_over_calls_that_is_shown(network, how):
    model = build(network, penalty=0.7, **how)
    assert set_regularization(model, ETA) == {"neurons": ETA}
    task, omega, rate = by_hand(model)
    shown = model.fit(X, Y, batch_size=12, verbose=0).history
    assert shown["omega"] == pytest.approx([omega], rel=1e-5)
    assert shown["firing_rate"] == pytest.approx([rate], rel=1e-5)
    assert shown["loss"] == pytest.approx([task + ETA * omega + 0.7 * rate], rel=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_call_outside_fit_reports_the_mean_of_its_own_pass(network):
    model = build(network, penalty=0.7)
    set_regularization(model, ETA)
    _, omega, rate = by_hand(model)
    for _ in range(2):
        model(X, training=True)
        assert float(sum(model.losses)) == pytest.approx(ETA * omega + 0.7 * rate, rel=1e-5)


@pytest.mark.parametrize("network", NETWORKS[1:3])
def test_its_gradient_through_recomputation_is_that_of_the_mean(network):
    model = build(network, penalty=0.7)
    set_regularization(model, ETA)
    with tf.GradientTape() as tape:
        model(X, training=True)
        loss = tf.add_n(model.losses)
    found = tape.gradient(loss, model.trainable_weights[:2])
    block = next(layer for layer in model.layers if isinstance(layer, layers.Recompute)).layer
    with tf.GradientTape() as tape:
        x = block(X, training=True)
        if network is block_twice:
            losses = list(block.losses)
            block(x, training=True)
            loss = (tf.add_n(losses) + tf.add_n(block.losses)) / 2.0
        else:
            loss = tf.add_n(block.losses)
    for gradient, expected in zip(
        found, tape.gradient(loss, block.trainable_weights[:2]), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(expected).max() > 1e-3


def test_time_distributed_counts_the_mean_over_its_steps():
    neurons = LIFLayer(eta=ETA)
    distributed = keras.layers.TimeDistributed(neurons)
    sequences = np.random.default_rng(1).normal(0.4, 0.8, (6, 5, 3, 4)).astype("float32")
    distributed(sequences, training=True)
    alone = []
    for step in range(5):
        neurons(sequences[:, step], training=True)
        alone.append(float(sum(neurons.losses)))
    distributed(sequences, training=True)
    assert np.ptp(alone) > 0.01
    assert [float(loss) for loss in distributed.losses] == pytest.approx([np.mean(alone)], rel=1e-5)


def test_other_losses_of_the_layer_keep_their_sum():
    neurons = LIFLayer(eta=ETA, activity_regularizer=keras.regularizers.L2(0.1))
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, neurons(neurons(inputs)))
    with dynamics.capture_potentials() as captured:
        model(X, training=True)
    # Keras sums activity regularizers over calls, each a mean over the batch.
    activity = 0.1 * sum(call.spikes.numpy().sum() / 12 for call in captured)
    alone = LIFLayer(eta=ETA)
    omegas = []
    for x in (X, captured[0].spikes):
        alone(x, training=True)
        omegas.append(float(alone.losses[0]))
    assert float(sum(model.losses)) == pytest.approx(np.mean(omegas) + activity, rel=1e-5)


@pytest.mark.parametrize("kind", [models.SpikingModel, keras.Model])
def test_a_smaller_last_batch_weighs_as_little_in_omega_as_in_the_loss(kind):
    cross_entropy = keras.metrics.SparseCategoricalCrossentropy("task", from_logits=True)
    model = build(shared, kind=kind, metrics=[cross_entropy])
    set_regularization(model, ETA)
    shown = model.fit(X, Y, batch_size=11, shuffle=False, verbose=0).history
    added = np.array(shown["loss"]) - shown["task"]
    assert shown["omega"] == pytest.approx(added / ETA, rel=1e-5)
    one, other = (
        model.fit(x, y, verbose=0).history for x, y in ((X[:11], Y[:11]), (X[11:], Y[11:]))
    )
    assert abs(one["omega"][0] - other["omega"][0]) > 0.02
    for name in ("omega", "firing_rate"):
        weighted = (11 * one[name][0] + other[name][0]) / 12
        assert shown[name] == pytest.approx([weighted], rel=1e-5)


# Half precision -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float32"]
)
def test_means_over_two_thousand_steps_are_those_of_double_precision(policy):
    neurons = LIFLayer(track_omega=True, dtype=policy)
    step = tf.function(lambda x: neurons(x, training=True), autograph=False)
    x = np.random.default_rng(0).normal(0.6, 0.5, (2000, 3, 2, 3)).astype("float32")
    rates = [step(tf.constant(batch)).numpy().astype("float64").mean() for batch in x]
    assert np.mean(rates[:500]) != pytest.approx(np.mean(rates), rel=1e-3)
    assert float(neurons.firing_rate_tracker.mean()) == pytest.approx(np.mean(rates), rel=1e-4)
    assert float(neurons.firing_rate_tracker.count) == 3 * 2000
    half = tf.as_dtype(neurons.compute_dtype)
    v = tf.cast(tf.cast(x, half), tf.float64).numpy()
    membranes = [v[:, :, 0]]
    membranes.append(np.where(membranes[0] >= 1, 0, membranes[0]) + v[:, :, 1])
    std = np.sqrt(np.var(membranes, axis=2) + 1e-12)
    density = scipy.stats.norm(np.mean(membranes, axis=2) - 1.0, std)
    omega = np.mean(density.cdf(1.0) - density.cdf(-1.0))
    assert float(neurons.omega_tracker.mean()) == pytest.approx(omega, rel=1e-3)
