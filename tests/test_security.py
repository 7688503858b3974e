"""A file that nobody vouches for runs no code, and the package holds nothing that could."""

import ast
import json
import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_mpdsgr import LIFLayer, layers, models

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
SOURCES = [
    path for room in ("keras_mpdsgr", "trainers") for path in (REPOSITORY / room).rglob("*.py")
]

# Modules whose readers run code that a file holds, and calls that run a text.
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "code"}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "enable_unsafe_deserialization",
}


def unsafe(tree):
    """What a module does that could run code out of a file: line and what it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or "", *(alias.name for alias in node.names)]
        else:
            imported = []
        for name in imported:
            if name.split(".")[0] in UNSAFE_MODULES:
                yield node.lineno, f"import of {name}"
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        # `model.compile` and `re.compile` run nothing.
        if name in UNSAFE_CALLS and not (name == "compile" and isinstance(called, ast.Attribute)):
            yield node.lineno, f"call of {name}"
        if name == "Lambda":
            yield node.lineno, "a Lambda layer"
        for keyword in node.keywords:
            fixed = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg in ("shell", "allow_pickle") and fixed is not False:
                yield node.lineno, f"{keyword.arg}={ast.unparse(keyword.value)}"
            if keyword.arg == "safe_mode" and fixed is not True:
                yield node.lineno, f"safe_mode={ast.unparse(keyword.value)}"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "import os.path, marshal", "import dill as d",
        "eval('1')", "exec(x)", "compile(x, '', 'exec')", "__import__('os')", "os.system('ls')",
        "os.popen('ls')", "subprocess.run('ls', shell=True)", "subprocess.run(x, shell=y)",
        "np.load(x, allow_pickle=True)", "keras.models.load_model(x, safe_mode=False)",
        "load(x, safe_mode=y)", "keras.config.enable_unsafe_deserialization()",
        "keras.layers.Lambda(f)",
    ],
)  # fmt: skip
def test_what_is_unsafe_is_found(text):
    assert list(unsafe(ast.parse(text)))


def test_the_package_runs_no_text_and_reads_no_pickles():
    assert len(SOURCES) > 60
    model = "model.compile(x, jit_compile=True); re.compile('a'); f(shell=False, safe_mode=True)"
    assert list(unsafe(ast.parse(model))) == []
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {what}"
        for path in SOURCES
        for line, what in unsafe(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.fixture
def plain_model(tmp_path):
    path = tmp_path / "model.keras"
    neurons = [layers.DirectEncoder(2), LIFLayer(), layers.TemporalMean()]
    dense = keras.layers.Dense(2, activation="relu", name="dense")
    keras.Sequential([keras.Input((3,)), dense, *neurons]).save(path)
    return path


def changed(path, change):
    """Rewrites the configuration inside a .keras file."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content)


def refused(path):
    with pytest.raises(ValueError) as caught:
        models.load(path)
    line = str(caught.value)
    assert line.startswith(f"{path} is not a .keras model")
    assert "\n" not in line
    return line


def test_a_model_with_code_in_it_is_refused_and_the_code_never_runs(tmp_path):
    marker = tmp_path / "it ran"
    runs = keras.layers.Lambda(lambda x, path=str(marker): (open(path, "w").close(), x)[1])
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), runs]).save(path)
    marker.unlink(missing_ok=True)
    assert "Lambda" in refused(path) or "lambda" in refused(path)
    assert not marker.exists()


# What a configuration could name in place of a layer, or of its activation.
CLASSES = [
    ("os", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("pickle", "Unpickler"),
    ("no_such_module", "Layer"),
    ("keras.utils", "get_file"),
    ("keras.saving", "load_model"),
    ("keras.config", "enable_unsafe_deserialization"),
]


@pytest.mark.parametrize("module, name", CLASSES)
def test_a_class_that_is_no_layer_is_refused(module, name, plain_model, tmp_path):
    marker = tmp_path / "it ran"

    def put_in(config):
        layer = next(x for x in config["config"]["layers"] if x["class_name"] == "Dense")
        layer |= {"module": module, "class_name": name, "registered_name": name}
        layer["config"] = {"args": f"touch '{marker}'", "command": f"touch '{marker}'"}

    changed(plain_model, put_in)
    refused(plain_model)
    assert not marker.exists()


@pytest.mark.parametrize("module, name", CLASSES)
def test_a_function_that_is_none_of_a_network_is_refused(module, name, plain_model):
    def put_in(config):
        layer = next(x for x in config["config"]["layers"] if x["class_name"] == "Dense")
        layer["config"]["activation"] = {
            "module": module, "class_name": "function", "config": name, "registered_name": name,
        }  # fmt: skip

    changed(plain_model, put_in)
    refused(plain_model)


def test_weights_that_point_to_another_file_are_refused(plain_model, tmp_path):
    """HDF5 can link to any file of the machine, which a saved model would then carry away."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.ones((3, 2), "float32")
    with zipfile.ZipFile(plain_model) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(parts["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        variables = file["layers/dense/vars"]
        del variables["0"]
        variables["0"] = h5py.ExternalLink(str(secret), "kernel")
    parts["model.weights.h5"] = weights.read_bytes()
    with zipfile.ZipFile(plain_model, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content)
    assert "ExternalLink" in refused(plain_model)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_model_that_is_cut_short_is_refused(share, plain_model):
    content = plain_model.read_bytes()
    plain_model.write_bytes(content[: int(share * len(content))])
    refused(plain_model)


def test_a_model_whose_parts_are_damaged_is_refused(plain_model):
    content = bytearray(plain_model.read_bytes())
    for at in range(200, len(content) - 200, 97):
        content[at] ^= 0xFF
    plain_model.write_bytes(content)
    refused(plain_model)
    with zipfile.ZipFile(plain_model, "w") as empty:
        empty.writestr("readme.txt", "nothing")
    refused(plain_model)


def test_an_honest_model_still_loads(plain_model):
    assert models.load(plain_model).output_shape == (None, 2)
