"""weight_decay: PyTorch's weight decay as an L2 term over every variable."""

import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, TDBatchNormalization, defenses, layers

X = np.random.default_rng(0).normal(0.4, 0.8, (6, 3, 4)).astype("float32")


def network():
    inputs = keras.Input((3, 4))
    x = layers.FoldTime(keras.layers.Dense(5, name="dense"))(inputs)
    x = LIFLayer()(TDBatchNormalization(name="tdbn")(x))
    x = layers.StochasticGate(prior=0.02, seed=0, name="gate")(x)
    ours = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L1(0.5), name="readout")
    return keras.Model(inputs, ours(layers.TemporalMean()(x)))


def variables(model):
    return {variable.path: variable for variable in model.trainable_variables}


def decayed_squares(model):
    """Sum of squares of all but the gate's probabilities and the read-out's kernel."""
    total = 0.0
    for path, variable in variables(model).items():
        if not path.endswith(("probability", "readout/kernel")):
            total += np.sum(np.square(variable.numpy(), dtype="float64"))
    return total


def test_the_loss_grows_by_half_the_amount_times_the_sum_of_squares():
    model = network()
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(1).uniform(0.2, 0.9, variable.shape))
    plain = float(sum(model.losses))
    defenses.weight_decay(model, 0.3)
    assert float(sum(model.losses)) == pytest.approx(
        plain + 0.15 * decayed_squares(model), rel=1e-5
    )


def test_a_step_adds_amount_times_weight_to_the_gradient_as_pytorchs_sgd_does():
    moved = []
    for amount in (0.0, 0.3):
        keras.utils.set_random_seed(1)
        model = network()
        model.layers[-1].kernel_regularizer = model.layers[-1].kernel.regularizer = None
        defenses.weight_decay(model, amount)
        model.compile(keras.optimizers.SGD(0.5), "mse")
        before = {path: v.numpy() for path, v in variables(model).items()}
        model.fit(X, np.zeros((6, 2)), batch_size=6, verbose=0)
        moved.append([before[path] - v.numpy() for path, v in variables(model).items()])
    for (path, start), plain, decayed in zip(before.items(), *moved, strict=True):
        extra = 0.0 if path.endswith("probability") else 0.5 * 0.3 * start
        np.testing.assert_allclose(decayed, plain + extra, rtol=1e-4, atol=1e-6, err_msg=path)


def test_tdbns_lambda_and_beta_are_decayed_too():
    model = network()
    defenses.weight_decay(model, 0.3)
    tdbn = model.get_layer("tdbn")
    for variable in (tdbn.lambda_, tdbn.beta):
        assert isinstance(variable.regularizer, keras.regularizers.L2)
        assert float(variable.regularizer.l2) == pytest.approx(0.15)


def test_variables_with_a_regularizer_of_their_own_keep_it():
    model = network()
    gate, readout = model.get_layer("gate").probability, model.get_layer("readout").kernel
    before = gate.regularizer, readout.regularizer
    defenses.weight_decay(model, 0.3)
    assert (gate.regularizer, readout.regularizer) == before


def test_variables_that_a_layer_calls_undecayed_get_none():
    model = network()
    dense = model.layers[1].layer
    dense.undecayed = [dense.bias]
    defenses.weight_decay(model, 0.3)
    assert dense.bias.regularizer is None
    assert dense.kernel.regularizer is not None


def test_the_last_amount_holds_and_none_takes_it_away():
    model = network()
    plain = float(sum(model.losses))
    for amount in (0.3, 0.1, 0.0):
        defenses.weight_decay(model, amount)
        expected = plain + amount / 2 * decayed_squares(model)
        assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("amount", [-1.0, float("inf"), None, "some"])
def test_a_bad_amount_is_refused(amount):
    with pytest.raises(ValueError, match=f"`amount` must be a number >= 0.*{amount!r}"):
        defenses.weight_decay(network(), amount)
