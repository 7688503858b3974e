"""Tiny-ImageNet and a folder of one's own, as a user trains on them."""

import json

import numpy as np
import PIL.Image
import pytest

from keras_mpdsgr import data
from keras_mpdsgr.errors import SetupError
from keras_mpdsgr.experiments import Run, networks
from keras_mpdsgr.experiments.run_folder import RunFolder

SMALL = """--model vgg11 --width 0.02 --timesteps 2 --epochs 1 --batch_size 8 --eval_limit 4
    --eval_batch_size 4""".split()  # noqa: SIM905


def only_line(err):
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    return line


def write_image(path, rng, side):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Folder that holds tiny-imagenet-200/ with two classes of eight images and four."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "tiny-imagenet-200"
    rng = np.random.default_rng(0)
    annotations = ""
    for index, wnid in enumerate(("n00000001", "n00000002")):
        for number in range(8):
            name = f"{wnid}_{number}.JPEG"
            write_image(folder / "train" / wnid / "images" / name, rng, 64)
        for number in range(4 * index, 4 * index + 4):
            write_image(folder / "val" / "images" / f"val_{number}.JPEG", rng, 64)
            annotations += f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63\n"
    (folder / "val" / "val_annotations.txt").write_text(annotations)
    (folder / "wnids.txt").write_text("n00000001\nn00000002\n")
    (folder / "words.txt").write_text("n00000001\tcat\nn00000002\tdog, hound\n")
    return home


@pytest.fixture(scope="module")
def finished(shallow, home, run, tmp_path_factory):
    """The folder of a finished run, and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    flags = ("--data_dir", str(home), "--run_dir", str(run_dir))
    status, out, err = run("trainers.tiny_imagenet", *SMALL, *flags)
    assert status == 0, err[-3000:]
    return run_dir, out, err


def test_a_network_is_trained_on_the_published_files_and_attacked(finished):
    run_dir, out, err = finished
    assert "on tiny_imagenet: 16 training images, 8 test images" in " ".join(out.split())
    assert "a part of Tiny-ImageNet: 16 of 100,000 training and 8 of 10,000 test images" in err
    assert json.loads((run_dir / "results" / "final.json").read_text())["n"] == 4
    assert json.loads((run_dir / "config.json").read_text())["flags"]["image_size"] is None


@pytest.fixture
def own_folder(finished, tmp_path):
    """Settings of a run on images of one's own."""
    rng = np.random.default_rng(0)
    for name in ("first", "second"):
        for number in range(10):
            write_image(tmp_path / "images" / name / f"{number}.png", rng, 20)
    return Run(finished[0]).config.replace(
        dataset="folder",
        image_size=16,
        data_dir=tmp_path / "images",
        run_dir=tmp_path / "run",
    )


def test_a_run_on_a_folder_of_ones_own_knows_the_place_and_size_of_its_images(own_folder, run):
    with RunFolder.for_training(own_folder) as folder:
        images = data.load("folder", own_folder.data_dir, image_size=16)
        networks.build(own_folder, images).save(folder.model_path)
    status, _, err = run("trainers.attack", "--run_dir", str(folder.path), "--attacks", "gaussian")
    assert status == 0, err[-3000:]
    report = json.loads((folder.results / "gaussian.json").read_text())
    assert (report["n"], report["config"]["dataset"]) == (4, "folder")
    with pytest.raises(SetupError, match="holds a run with other settings .`data_dir`="):
        RunFolder.for_training(own_folder.replace(data_dir="elsewhere"))


def test_missing_class_folder_is_one_line_and_status_2(home, run, tmp_path):
    (tmp_path / "tiny-imagenet-200").mkdir()
    for name in ("wnids.txt", "words.txt"):
        content = (home / "tiny-imagenet-200" / name).read_text()
        (tmp_path / "tiny-imagenet-200" / name).write_text(content)
    status, _, err = run("trainers.tiny_imagenet", *SMALL, "--data_dir", str(tmp_path))
    assert status == 2
    assert "the class folder train/n00000001 is missing" in only_line(err)


def test_missing_data_is_one_line_and_status_2(run, tmp_path):
    status, _, err = run("trainers.tiny_imagenet", *SMALL, "--data_dir", str(tmp_path))
    assert status == 2
    assert f"Tiny-ImageNet is not in {tmp_path}" in only_line(err)


def test_other_data_sets_are_refused_by_their_flag(run):
    status, _, err = run("trainers.tiny_imagenet", "--dataset", "cifar10")
    assert status == 2
    assert "--dataset" in only_line(err)
