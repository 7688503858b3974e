"""Numbers of the pages are those of the files beside them, or of the models that they speak of.

Others are held where their programs are tested: the tables of performance.md in benchmarks/,
README's in test_first_run.py, the theory's in analysis/, the study's and the paper's in trainers/,
the cards' in test_saved_models.py.
"""

import importlib.metadata
import json
import pathlib
import re

import numpy as np
import packaging.requirements
import packaging.utils
import pytest

from keras_mpdsgr import data, export, models

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
README = (DOCS.parent / "README.md").read_text()
PERFORMANCE = (DOCS / "performance.md").read_text()
MEASURED = {path.stem: json.loads(path.read_text()) for path in DOCS.glob("performance/*.json")}


def ratio(name, above, below):
    method = "attack" if name.endswith("attack") else "train_step"
    found = [entry["seconds"][method] for entry in MEASURED[name]["cases"]]
    return [np.median(np.divide(one[above], one[below])) for one in found]


def against_gradients():
    found = [entry["seconds"] for entry in MEASURED["attack"]["cases"]]
    return [
        np.median(np.divide(one["attack"]["ours"], one["input_gradient"]["ours"])) / 7
        for one in found
    ]


def against_parts(name, gradients):
    found = [entry["seconds"] for entry in MEASURED["adversarial"]["cases"]]
    return [
        np.median(
            np.divide(
                one["train_step"][name],
                np.add(
                    one["train_step"]["ours"],
                    np.multiply(gradients, one["input_gradient"]["ours"]),
                ),
            )
        )
        for one in found
    ]


def megabytes(figure, above, below):
    found = [entry["megabytes"] for entry in MEASURED["memory"]["cases"]]
    return [one[above][figure] / one[below][figure] for one in found]


def first_step(name):
    return [entry["first_call"]["train_step"][name] for entry in MEASURED["training"]["cases"]]


AIMS = {
    "training step over the plain network": ratio("training", "ours", "ann"),
    "Omega in the loss, batch form, over none": ratio("training", "ours_omega", "ours"),
    "Omega in the loss, analytic form, over none": ratio("training", "ours_omega_analytic", "ours"),
    "training step over SpikingJelly's": ratio("training", "ours", "spikingjelly"),
    "the plain network's over SpikingJelly's: the floor of the line above": ratio(
        "training", "ann", "spikingjelly"
    ),
    "PGD-7 over SpikingJelly's": ratio("attack", "ours", "spikingjelly"),
    "the plain network's PGD-7 over SpikingJelly's: the floor of the line above": ratio(
        "attack", "ann", "spikingjelly"
    ),
    "PGD-7 over seven input gradients": against_gradients(),
    "N-FGSM's step over a plain training step": ratio("adversarial", "ours_n_fgsm", "ours"),
    "the same over a plain step and one input gradient": against_parts("ours_n_fgsm", 1),
    "PGD-2's step over a plain step and two input gradients": against_parts("ours_pgd2", 2),
    "bfloat16: training step over float32's": ratio("bfloat16-training", "ours_bf16", "ours"),
    "bfloat16: training step over the plain network's": ratio(
        "bfloat16-training", "ours_bf16", "ann_bf16"
    ),
    "bfloat16: Omega in the loss, batch form, over none": ratio(
        "bfloat16-training", "ours_bf16_omega", "ours_bf16"
    ),
    "bfloat16: training step over SpikingJelly's in float32": ratio(
        "bfloat16-training", "ours_bf16", "spikingjelly"
    ),
    "bfloat16: training step over SpikingJelly's by `torch.autocast`": ratio(
        "bfloat16-training", "ours_bf16", "spikingjelly_bf16"
    ),
    "bfloat16: PGD-7 over the plain network's": ratio("bfloat16-attack", "ours_bf16", "ann_bf16"),
    "bfloat16: PGD-7 over SpikingJelly's in float32": ratio(
        "bfloat16-attack", "ours_bf16", "spikingjelly"
    ),
    "bfloat16: PGD-7 over SpikingJelly's by `torch.autocast`": ratio(
        "bfloat16-attack", "ours_bf16", "spikingjelly_bf16"
    ),
    "width 0.5, bfloat16: training step over the plain network's": ratio(
        "half-width-training", "ours_bf16", "ann_bf16"
    ),
    "width 0.5, bfloat16: training step over SpikingJelly's in float32": ratio(
        "half-width-training", "ours_bf16", "spikingjelly"
    ),
    "the plain bfloat16 network's over the same: the floor of the line above": ratio(
        "half-width-training", "ann_bf16", "spikingjelly"
    ),
    "width 0.5, bfloat16: training step over SpikingJelly's by `torch.autocast`": ratio(
        "half-width-training", "ours_bf16", "spikingjelly_bf16"
    ),
    "width 0.5, bfloat16: PGD-7 over the plain network's": ratio(
        "half-width-attack", "ours_bf16", "ann_bf16"
    ),
    "width 0.5, bfloat16: PGD-7 over SpikingJelly's in float32": ratio(
        "half-width-attack", "ours_bf16", "spikingjelly"
    ),
    "the plain bfloat16 network's PGD-7 over the same: the floor of the line above": ratio(
        "half-width-attack", "ann_bf16", "spikingjelly"
    ),
    "width 0.5, bfloat16: PGD-7 over SpikingJelly's by `torch.autocast`": ratio(
        "half-width-attack", "ours_bf16", "spikingjelly_bf16"
    ),
    "`recompute`, time over none": ratio("training", "ours_recompute", "ours"),
    "`recompute`, memory of the window over none, T = 8": megabytes(
        "window", "ours_recompute", "ours"
    ),
    "peak memory over SpikingJelly's, T = 8": megabytes("peak", "ours", "spikingjelly"),
    "seconds to the first step, compilation included": first_step("ours"),
    "the same with Omega in the loss": first_step("ours_omega"),
}


@pytest.mark.parametrize("name", AIMS)
def test_what_came_out_beside_an_aim_is_the_median_of_the_cases(name):
    found = AIMS[name]
    told = f"{np.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
    (line,) = re.findall(rf"^\| {re.escape(name)} \|.*\| (.*) \|$", PERFORMANCE, re.MULTILINE)
    assert line == told


def test_what_a_window_grows_by_is_the_difference_of_the_two_batches():
    larger, smaller = (entry["megabytes"] for entry in MEASURED["memory"]["cases"])
    grown = {name: round(larger[name]["window"] - smaller[name]["window"]) for name in larger}
    assert f"activations alone grow by {grown['ours']} MB" in PERFORMANCE
    share = grown["ours_recompute"] / grown["ours"]
    assert f"`recompute` by {grown['ours_recompute']} MB: {share:.2f} of it" in PERFORMANCE
    assert f"SpikingJelly's grow by {grown['spikingjelly']} MB" in PERFORMANCE
    assert f"the plain network's by {grown['ann']} MB" in PERFORMANCE


def test_the_libraries_take_what_the_page_says():
    first, *_ = (entry["megabytes"] for entry in MEASURED["memory"]["cases"])
    ours, torch = (first[name]["imported"] for name in ("ours", "spikingjelly"))
    assert f"takes {ours:.0f} MB once imported, PyTorch {torch:.0f}." in PERFORMANCE
    assert all(
        entry["megabytes"]["ours"]["window"] < entry["megabytes"]["spikingjelly"]["window"]
        for entry in MEASURED["memory"]["cases"]
    )


def test_a_batch_takes_the_share_of_a_step_that_the_page_says():
    for entry in MEASURED["pipeline"]["cases"]:
        pipeline, step = (
            np.median(entry["seconds"][n]) for n in ("pipeline", "step_with_pipeline")
        )
        assert f"A batch takes {pipeline / step:.1%}".replace("%", " %") in PERFORMANCE


@pytest.mark.parametrize(
    ("name", "above", "floor"),
    [
        ("training", "ours", "ann"),
        ("attack", "ours", "ann"),
        ("half-width-training", "ours_bf16", "ann_bf16"),
        ("half-width-attack", "ours_bf16", "ann_bf16"),
    ],
)
def test_the_distance_to_the_floor_is_within_a_tenth(name, above, floor):
    ours, least = (np.median(ratio(name, one, "spikingjelly")) for one in (above, floor))
    assert ours / least < 1.1
    assert "within a\n  tenth of the floor's ratio" in PERFORMANCE
    assert "both the step and PGD-7 come within a tenth of it" in PERFORMANCE


def test_the_machine_and_the_settings_are_those_of_the_files():
    machine = MEASURED["training"]["machine"]
    assert f"Machine: {machine['processor']}, {machine['cores']} cores" in PERFORMANCE
    assert f"Python {machine['python']}; " in PERFORMANCE
    for name in ("tensorflow", "keras", "numpy", "torch", "spikingjelly", "snntorch", "norse"):
        assert f"{name} {machine[name]}" in PERFORMANCE
    chosen = {name: one["chosen"] for name, one in MEASURED["training"]["settings"].items()}
    for name, options in chosen.items():
        told = ", ".join(f"{option}={value}" for option, value in options.items())
        assert f"{name}: {told}" in PERFORMANCE


def test_the_packages_take_the_space_that_the_readme_says():
    installed = {}

    def add(name):
        if (name := packaging.utils.canonicalize_name(name)) not in installed:
            package = importlib.metadata.distribution(name)
            paths = (pathlib.Path(file.locate()) for file in package.files or ())
            installed[name] = sum(path.stat().st_size for path in paths if path.is_file()) / 1e9
            for requirement in map(packaging.requirements.Requirement, package.requires or ()):
                if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                    add(requirement.name)

    add("keras-mpdsgr")
    (told,) = re.findall(r"installs ([\d.]+) GB of packages, most of it TensorFlow", README)
    # Wheels for other versions of Python differ a little.
    assert sum(installed.values()) == pytest.approx(float(told), rel=0.05)
    assert installed["tensorflow"] > sum(installed.values()) / 2


@pytest.fixture(scope="module")
def digits_model():
    return models.load("digits")


def test_pixels_of_255_give_the_accuracy_that_the_page_says(digits_model):
    test = data.load("digits")
    shares = [
        np.mean(np.argmax(digits_model(x), axis=1) == test.y_test)
        for x in (data.to_pixels(test.x_test), test.x_test.astype("float32"))
    ]
    right, wrong = re.search(
        r"# 1\.0: (0\.\d+) are right; 255\.0: (0\.\d+)", (DOCS / "use.md").read_text()
    ).groups()
    # A potential at the threshold may fall on its other side on another processor.
    assert shares == pytest.approx([float(right), float(wrong)], abs=2 / len(test.y_test))


def test_the_energy_of_the_digits_model_is_what_the_page_says(digits_model):
    report = export.energy(digits_model, data.to_pixels(data.load("digits").x_test[:64]))
    page = (DOCS / "export.md").read_text()
    shown = re.search(r"takes ([\d.]+) micro\w+ .*?, ([\d.]+) of its ANN's ([\d.]+)\.", page)
    microjoules, share, ann = map(float, shown.groups())
    assert report.picojoules / 1e6 == pytest.approx(microjoules, abs=0.05)
    assert report.ratio == pytest.approx(share, abs=0.006)
    assert report.ann_picojoules / 1e6 == pytest.approx(ann, abs=0.05)
