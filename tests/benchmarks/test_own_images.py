"""How many images a class: the page is what the file says, and the folders hold what is said."""

import json

import numpy as np

from benchmarks import own_images
from keras_mpdsgr import data
from trainers import marked


def test_the_table_of_the_page_is_what_the_file_says():
    found = json.loads(own_images.RESULTS.read_text())
    page = own_images.PAGE.read_text()
    assert marked.parts(page)[own_images.TABLE] == own_images.table(found)
    assert list(found["accuracies"]) == [str(each) for each in own_images.EACH]
    assert {len(one) for one in found["accuracies"].values()} == {len(own_images.SEEDS)}
    assert (found["steps"], found["batch"]) == (own_images.STEPS, own_images.BATCH)
    assert found["network"] == own_images.NETWORK
    for said in ("width 0.1", "T = 2", "300 steps", "32 images", "360 test images", "three seeds"):
        assert said in page.partition("<!-- table")[0].rpartition("###")[2].replace("\n", " ")


def test_a_row_is_the_mean_and_the_ends():
    text = own_images.table({"classes": 10, "accuracies": {"5": [0.5, 0.7, 0.9]}})
    assert text.splitlines()[-1] == "| 5 | 50 | 70.0% (50.0% to 90.0%) |"


def test_the_folders_hold_so_many_of_each_class_and_all_test_images(tmp_path):
    digits = data.load("digits", limit_test=20)
    own_images.write_folders(tmp_path, digits, each=2, seed=0)
    images = data.load("folder", data_dir=tmp_path)
    assert np.bincount(images.y_train).tolist() == [2] * 10
    # Classes come in the order of their names, which for digits is that of the numbers.
    assert (
        np.bincount(images.y_test, minlength=10).tolist()
        == np.bincount(digits.y_test, minlength=10).tolist()
    )
    every = {image.tobytes() for image in digits.x_train}
    assert {image[..., :1].tobytes() for image in images.x_train} <= every
