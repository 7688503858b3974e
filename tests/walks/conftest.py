"""A reader who follows pages: with the packages that are here, or with a fresh installation."""

import os
import pathlib
import runpy
import shutil
import subprocess

import keras
import pytest

from keras_mpdsgr import data

shown = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "shown.py"))
REPOSITORY = shown["REPOSITORY"]
# Two images in place of all that a page's command attacks.
SMALL = {"trainers.attack": ["--limit", "2", "--checks_limit", "2"]}


class Reader:
    """Types the commands of pages in a folder.

    Args:
        folder: The folder.
        run: Runs a module, or a `text`, in a `folder`; gives status, standard output and error.
        small: Whether nothing is trained and few images are attacked (`SMALL`), as no page does.
    """

    def __init__(self, folder, run, small):
        self.folder, self.small = folder, small
        self._run = run

    def commands(self, page, program, *having):
        """The commands of a program on a page that have these words, each as its words."""
        found = [words for name, words in shown["commands"](page) if name == program]
        found = [words for words in found if set(having) <= set(words)]
        assert found, f"{page} shows no {program} with {having}"
        return found

    def types(self, program, words, *more, **instead):
        """Runs a command with more words, and others for those that stand for something.

        Returns:
            What it wrote to standard output.
        """
        words = [word for each in words for word in instead.get(each, [each])]
        if self.small:
            words += SMALL.get(program, [])
        status, out, err = self._run(program, *words, *more, folder=self.folder)
        assert status == 0, f"{program} {words} {more}: {out[-1000:]} {err[-2000:]}"
        return out

    def python(self, text):
        """Runs the text of a page; what it wrote to standard output."""
        status, out, err = self._run(None, text=text, folder=self.folder)
        assert status == 0, err[-2000:]
        return out


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A fresh clone, with an environment that the README's command has installed in it."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    clone = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
    *setting_up, _ = shown["marked"](shown["README"], "run").split(" && ")
    subprocess.run(["bash", "-c", " && ".join(setting_up)], cwd=clone, check=True, timeout=1800)
    return clone


@pytest.fixture(params=["here", pytest.param("installed", marks=pytest.mark.slow)])
def reader(request, run, tmp_path):
    """With the packages of the tests and few images, or in a fresh clone and as the pages say."""
    if request.param == "here":
        shutil.copytree(REPOSITORY / "saved_models", tmp_path / "saved_models")
        return Reader(tmp_path, run, small=True)
    clone = request.getfixturevalue("installed")
    python = clone / ".venv" / "bin" / "python"
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KERAS_MPDSGR_MODELS")}

    def typed(module, *words, text=None, folder):
        command = [python, "-c", text] if module is None else [python, "-m", module, *words]
        done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return Reader(clone, typed, small=False)


@pytest.fixture
def photographs(reader):
    """Images of digits where the pages have a reader's own: photo.png, scans/."""
    images = data.load("digits", limit_test=3).x_test
    (reader.folder / "scans").mkdir(exist_ok=True)
    paths = [reader.folder / name for name in ("photo.png", "scans/1.png", "scans/2.png")]
    for path, image in zip(paths, images, strict=True):
        keras.utils.save_img(path, image, scale=False)
    return paths
