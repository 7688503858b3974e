"""Each use of what Keras, TensorFlow and KerasTuner do not publish, against the installed versions.

A failure here says what a new version has changed; `keras_mpdsgr/keras_internals.py` is the one
place to follow it in.
"""

import ast
import inspect
import json
import pathlib
import threading

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from keras_mpdsgr import keras_internals, layers
from keras_mpdsgr.layers.call_losses import CallLosses

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
FILES = [
    path
    for room in ("keras_mpdsgr", "trainers", "benchmarks", "tests")
    for path in sorted((REPOSITORY / room).rglob("*.py"))
    if not path.name.endswith("keras_internals.py")  # the module, and these tests
]

# Private to a library, or public by name and undocumented: what code elsewhere must not say.
NAMES = {
    keras.layers.Layer: {
        "_flatten_layers", "_seed_generators", "_call_has_training_arg", "_losses", "_tracker",
    },
    keras.Model: {"_compile_loss", "_loss_tracker", "_maybe_symbolic_build"},
    keras_tuner.Oracle: {"_get_oracle_fname", "_get_trial_dir", "_save_trial", "_retry_queue"},
    keras_tuner.Tuner: {"_populate_initial_space", "_is_worker", "_get_tuner_fname"},
}  # fmt: skip
OTHER_NAMES = {
    "_keras_history", "_inbound_nodes", "_noinline", "get_collection_ref", "_in_multi_worker_mode",
    "disable_meta_optimizer", "_keras_call_info_injected", "should_record_backprop",
}  # fmt: skip
FORBIDDEN = OTHER_NAMES.union(*NAMES.values())


def nested_model():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, name="drop")])
    image = keras.Input((2, 4))
    x = layers.FoldTime(keras.layers.Dense(4, name="dense"))(image)
    return keras.Model(image, layers.FoldTime(inner)(x))


def compiled_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    return model


# --- the rule ----------------------------------------------------------------------------------


def trees():
    return {path: ast.parse(path.read_text()) for path in FILES}


def own_names(parsed):
    """Every name that our code itself defines, assigns or takes as an argument."""
    names = set()
    for node in (node for tree in parsed.values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def said(node):
    """The name that a piece of syntax says: of an attribute, a definition or a string."""
    for kind, field in (
        (ast.Attribute, "attr"),
        (ast.FunctionDef, "name"),
        (ast.Constant, "value"),
    ):
        if isinstance(node, kind):
            return getattr(node, field)
    return None


def is_private(name):
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def test_no_other_file_names_what_a_library_does_not_publish():
    parsed = trees()
    own = own_names(parsed) - FORBIDDEN
    found = []
    for path, tree in parsed.items():
        for node in ast.walk(tree):
            foreign = isinstance(node, ast.Attribute) and is_private(node.attr)
            foreign = foreign and node.attr not in own and ast.unparse(node) != "os._exit"
            foreign = foreign and not node.attr.startswith("_keras_mpdsgr")
            if foreign or (isinstance(said(node), str) and said(node) in FORBIDDEN):
                found.append(f"{path.relative_to(REPOSITORY)}:{node.lineno} {said(node)}")
    assert found == []


@pytest.mark.parametrize("module", ["keras.src", "keras_tuner.src", "tensorflow.python"])
def test_no_file_imports_from_inside_a_library(module):
    assert [str(path) for path in FILES if module in path.read_text()] == []


def test_the_rule_lists_all_that_the_module_uses():
    tree = ast.parse(inspect.getsource(keras_internals))
    own = own_names({"": tree}) - FORBIDDEN
    private = {said(node) for node in ast.walk(tree) if is_private(said(node))}
    assert private - own <= FORBIDDEN


# --- each use ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, name",
    [(kind, name) for kind, names in NAMES.items() for name in sorted(names)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_library_still_has_the_attribute(kind, name):
    made = {
        keras.layers.Layer: lambda: keras.layers.Dense(1),
        keras.Model: compiled_model,
        keras_tuner.Oracle: lambda: keras_tuner.oracles.RandomSearchOracle("loss"),
        keras_tuner.Tuner: lambda: keras_tuner.Tuner,
    }[kind]()
    assert hasattr(made, name), (
        f"{kind.__module__}.{kind.__name__} has no {name} any more: see where keras_internals.py "
        "uses it."
    )


def test_all_layers_are_those_of_every_level_once():
    model = nested_model()
    names = [layer.name for layer in keras_internals.all_layers(model)]
    assert names[0] == model.name
    assert {"dense", "drop"} < set(names)
    assert len(set(names)) == len(names)


def test_seed_generators_are_those_that_a_layer_of_any_level_draws_by():
    model = nested_model()
    (generator,) = keras_internals.seed_generators(model)
    before = np.asarray(generator.state)
    model(tf.ones((1, 2, 4)), training=True)
    assert (np.asarray(generator.state) != before).any()


def test_a_layer_says_whether_it_takes_training():
    assert keras_internals.takes_training(keras.layers.Dropout(0.5))
    assert not keras_internals.takes_training(keras.layers.Flatten())


def test_the_operation_behind_a_tensor_is_the_layer_that_was_called():
    layer = keras.layers.Dense(2)
    assert keras_internals.operation_behind(layer(keras.Input((3,)))) is layer
    image = keras.Input((3,))
    assert type(keras_internals.operation_behind(keras.ops.softmax(image))).__name__ == "Softmax"


class _AddsItsThread(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        keras_internals.keep_losses_in(self, CallLosses())

    def call(self, inputs):
        self.add_loss(keras.ops.sum(inputs))
        return inputs


def test_the_operations_before_a_symbolic_tensor_are_found_in_turn():
    dense, relu = keras.layers.Dense(4), keras.layers.ReLU()
    image = keras.Input((4,))
    hidden = dense(image)
    output = relu(dense(hidden))
    assert keras_internals.operation_behind(output) is relu
    (twice,) = keras_internals.inputs_behind(output)
    (once,) = keras_internals.inputs_behind(twice)
    assert once is hidden and keras_internals.inputs_behind(once)[0] is image
    assert keras_internals.inputs_behind(image) == []
    assert (keras_internals.calls_of(dense), keras_internals.calls_of(relu)) == (2, 1)


def test_a_threads_losses_are_its_own():
    layer = _AddsItsThread()
    model = keras.Sequential([layer])
    losses = {}

    def run(value):
        model(tf.fill((1, 1), value))
        barrier.wait()
        losses[value] = [float(loss) for loss in model.losses]

    model(tf.zeros((1, 1)))  # built here, once
    barrier = threading.Barrier(2, timeout=60)
    threads = [threading.Thread(target=run, args=(value,)) for value in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert losses == {1.0: [1.0], 2.0: [2.0]}
    model(tf.fill((1, 1), 3.0))
    assert [float(loss) for loss in model.losses] == [3.0]  # Keras clears them at each call


def test_an_unlocked_layer_takes_a_seed_generator_and_saves_its_state():
    layer = keras.layers.Dense(1)
    layer.build((None, 1))
    with keras_internals.unlocked(layer):
        layer.own_generator = keras.random.SeedGenerator(7)
    assert layer.own_generator in keras_internals.seed_generators(layer)
    with pytest.raises(ValueError):  # locked again
        layer.another = keras.Variable(0.0)


def test_the_compiled_loss_leaves_out_what_layers_add():
    model = compiled_model()
    model.layers[0].kernel_regularizer = keras.regularizers.L2(1.0)
    x, y = tf.ones((3, 2)), tf.zeros((3, 1))
    assert float(keras_internals.compiled_loss(model, y, model(x))) == pytest.approx(4.0)
    shares = tf.constant([1.0, 0.0, 0.0])
    assert float(keras_internals.compiled_loss(model, y, model(x), shares)) == pytest.approx(4 / 3)


def test_a_shown_loss_is_the_mean_over_samples():
    model = compiled_model()
    keras_internals.show_loss(model, 1.0, 3)
    keras_internals.show_loss(model, 5.0, 1)
    assert float(model.get_metrics_result()["loss"]) == pytest.approx(2.0)


def test_the_models_around_a_layer_trace_anew():
    traces = []

    class Counts(keras.layers.Layer):
        def call(self, inputs):
            traces.append(1)
            return inputs

    counts = Counts()
    inner = keras.Sequential([keras.Input((2,)), counts, keras.layers.Dense(1)])
    model = keras.Sequential([keras.Input((2,)), inner])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 2)), np.ones((4, 1))
    model.fit(x, y, verbose=0)
    before = len(traces)
    model.fit(x, y, verbose=0)
    assert len(traces) == before
    keras_internals.trace_anew(counts)
    model.fit(x, y, verbose=0)
    assert len(traces) > before


def test_what_follows_the_next_step_follows_it_once_and_a_failing_one_too():
    model, done = compiled_model(), []
    x, y = np.ones((4, 2)), np.ones((4, 1))
    model.fit(x, y, verbose=0)
    keras_internals.after_next_step(model, lambda: done.append(1))
    model.fit(x, y, batch_size=2, verbose=0)
    assert done == [1]
    keras_internals.after_next_step(model, lambda: done.append(2))
    with pytest.raises(Exception, match="[Ss]hape|[Ii]ncompatible"):
        model.fit(np.ones((4, 3)), y, verbose=0)
    assert done == [1, 2]


def test_a_callback_hears_of_others_that_fail_as_a_batch_begins():
    done = []

    class Hears(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            keras_internals.after_failing_batch_begin(self, lambda: done.append("heard"))

    def fail(batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt

    failing = keras.callbacks.LambdaCallback(on_train_batch_begin=fail)
    model = compiled_model()
    x, y = np.ones((4, 2)), np.ones((4, 1))
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[Hears()])
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=2, verbose=0, callbacks=[failing])
    assert done == []
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=2, verbose=0, callbacks=[Hears(), failing])
    assert done == ["heard"]


def test_a_plain_error_stays_one_line_in_a_call():
    class Refuses(keras.layers.Layer):
        def call(self, inputs):
            raise keras_internals.plain_error("`inputs` must be others.")

    with pytest.raises(ValueError, match="^`inputs` must be others.$"):
        Refuses()(tf.ones((1, 1)))


def test_a_model_is_built_from_what_the_hook_gives():
    seen = []

    class Hooked(keras_internals.BuildHook, keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

        def build_source(self, iterator, data_batch):
            seen.append(iterator is not None)
            return None, (np.zeros((1, 3), "float32"), np.zeros((1, 1), "float32"))

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = Hooked()
        model.compile("sgd", "mse")
    model.fit(np.ones((4, 3), "float32"), np.ones((4, 1), "float32"), verbose=0)
    assert seen == [True]
    assert model.dense.kernel.shape == (3, 1)


def test_tensors_of_layers_are_arrays_inside_and_the_same_tensors_behind():
    layer = keras.layers.Normalization(mean=[1.0], variance=[4.0])
    layer.build((None, 1))
    held = layer.mean
    assert tf.is_tensor(held), "Keras' Normalization holds its mean in another form"
    with keras_internals.tensors_as_arrays([layer]):
        assert isinstance(layer.mean, np.ndarray)
        assert layer(tf.fill((1, 1), 5.0)).numpy().tolist() == [[2.0]]
    assert layer.mean is held


def test_a_function_of_its_own_is_one_call_in_the_functions_around_it():
    inner = keras_internals.function_of_its_own(lambda x: x * x + 1.0, reduce_retracing=True)

    @tf.function
    def outer(x):
        return inner(x) + inner(x + 1.0)

    graph = outer.get_concrete_function(tf.TensorSpec((), tf.float32)).graph
    calls = [op for op in graph.get_operations() if op.type.endswith("PartitionedCall")]
    assert len(calls) == 2
    function = inner.get_concrete_function(tf.TensorSpec((), tf.float32)).function_def
    assert function.attr["_noinline"].b, "TensorFlow does not pass on the attribute `_noinline`"


def test_a_graph_keeps_a_list_of_its_own():
    lists = []

    @tf.function
    def traced(x):
        kept = keras_internals.kept_by_graph("tests")
        kept.append(len(kept))
        lists.append((list(keras_internals.kept_by_graph("tests")), tf.inside_function()))
        return x

    traced(tf.zeros(1))
    traced(tf.zeros(2))
    assert lists == [([0], True), ([0], True)]


def test_one_machine_is_not_several():
    assert not keras_internals.on_several_machines(tf.distribute.MirroredStrategy(["CPU:0"]))
    alone = tf.distribute.MultiWorkerMirroredStrategy()
    assert not keras_internals.on_several_machines(alone)


def test_grappler_takes_the_switch():
    before = tf.config.optimizer.get_experimental_options()
    try:
        keras_internals.switch_off_grappler()
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is True
    finally:
        off = before.get("disable_meta_optimizer", False)
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": off})


# --- KerasTuner --------------------------------------------------------------------------------


class _Oracle(keras_internals.RestartableOracle, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Tuner(keras_internals.RestartableTuner, keras_tuner.Tuner):
    spaces = 0

    def populate_space(self):
        self.spaces += 1
        hp = self.oracle.get_space()
        hp.Float("x", 0.0, 1.0)
        self.oracle.update_space(hp)

    def run_trial(self, trial, *args, **kwargs):
        return trial.hyperparameters.get("x")


def search(folder, trials):
    oracle = _Oracle(keras_tuner.Objective("score", "max"), max_trials=trials, seed=1)
    return _Tuner(oracle, lambda hp: None, directory=folder, project_name="search")


def test_a_search_is_run_and_gone_on_with(tmp_path):
    tuner = search(tmp_path, 2)
    assert tuner.spaces == 1, "KerasTuner does not ask `_populate_initial_space` for the space"
    assert not tuner.is_worker
    tuner.search(verbose=0)
    files = {path.name for path in (tmp_path / "search").rglob("*.json")}
    assert files == {"oracle.json", "tuner0.json", "trial.json"}
    again = search(tmp_path, 3)
    assert list(again.oracle.trials) == ["0", "1"]
    again.search(verbose=0)
    assert list(again.oracle.trials) == ["0", "1", "2"]


def test_a_trial_that_a_kill_has_cut_off_is_run_again(tmp_path):
    search(tmp_path, 1).search(verbose=0)
    (trial,) = (tmp_path / "search").rglob("trial.json")
    trial.write_text(json.dumps({**json.loads(trial.read_text()), "status": "RUNNING"}))
    again = search(tmp_path, 1)
    again.search(verbose=0)
    assert [trial.status for trial in again.oracle.trials.values()] == ["COMPLETED"]


def test_files_of_a_search_are_written_whole(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        keras_internals, "write_json", lambda path, state: written.append(pathlib.Path(path).name)
    )
    search(tmp_path, 1).search(verbose=0)
    assert set(written) == {"oracle.json", "trial.json", "tuner0.json"}
    assert list((tmp_path / "search").rglob("*.json")) == []


def test_what_fit_walks_through_batches_by_is_told_from_all_else():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append(vars(model).get("_eval_epoch_iterator"))
    )
    x, y = np.zeros((4, 2)), np.zeros((4, 1))
    model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[look])
    assert seen[0] is not None, "Keras keeps no `_eval_epoch_iterator` any more"
    assert all(map(keras_internals.is_iterator_of_fit, seen))
    assert not keras_internals.is_iterator_of_fit(model)


def test_a_tensor_is_recorded_where_a_tape_watches_what_it_is_made_of():
    x, found = tf.ones((2,)), []

    @tf.function(autograph=False)
    def run(x):
        found.append(keras_internals.is_recorded(2.0 * x))
        with tf.GradientTape(persistent=True) as tape:
            found.append(keras_internals.is_recorded(2.0 * x))
            tape.watch(x)
            found.append(keras_internals.is_recorded(2.0 * x))
            with tape.stop_recording():
                found.append(keras_internals.is_recorded(2.0 * x))
        return x

    run(x)
    assert found == [False, False, True, False]
