"""A zip file that nobody vouches for is read from within its bounds, or refused in one line."""

import shutil
import stat
import struct
import tracemalloc
import zipfile

import pytest

from keras_mpdsgr import data
from keras_mpdsgr.data import sources

_IMAGE = "tiny-imagenet-200/train/n01443537/images/n01443537_0.JPEG"


@pytest.fixture
def archive(published_zip, tmp_path):
    return shutil.copy(published_zip, tmp_path / "tiny-imagenet-200.zip")


def error_line(archive):
    with pytest.raises(data.DataNotFoundError) as caught:
        data.load("tiny_imagenet", archive)
    line = str(caught.value)
    assert "\n" not in line
    assert str(archive) in line
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    return line


def add(archive, name, content=b"", mode=stat.S_IFREG | 0o644, method=zipfile.ZIP_DEFLATED):
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    member.compress_type = method
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(member, content)


def declare(archive, name, size):
    """Writes another size into the directory of the archive than the member really has."""
    content = bytearray(archive.read_bytes())
    entry = content.rindex(name.encode()) - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    struct.pack_into("<I", content, entry + 24, size)
    archive.write_bytes(content)


@pytest.mark.parametrize(
    "name, said",
    [
        ("../outside.txt", "leads out of the folder by '..'"),
        ("tiny-imagenet-200/train/../../../outside.txt", "leads out of the folder by '..'"),
        ("tiny-imagenet-200\\..\\outside.txt", "leads out of the folder by '..'"),
        ("/etc/outside.txt", "its path is absolute"),
        ("C:/outside.txt", "its path is absolute"),
        ("\\\\host\\outside.txt", "its path is absolute"),
    ],
)
def test_path_that_leads_elsewhere_is_refused(archive, name, said):
    add(archive, name, b"outside")
    line = error_line(archive)
    assert said in line
    assert repr(name) in line


@pytest.mark.parametrize(
    "kind, said", [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "a special file")]
)
def test_what_is_no_plain_file_is_refused(archive, kind, said):
    add(archive, "tiny-imagenet-200/test/link.JPEG", b"/etc/passwd", mode=kind | 0o777)
    assert said in error_line(archive)


def test_dots_within_a_name_are_no_path(archive):
    add(archive, "tiny-imagenet-200/test/a..b.txt", b"")
    assert len(data.load("tiny_imagenet", archive).x_train) == 12


def test_member_above_the_bound_is_refused_before_it_is_unpacked(archive):
    add(archive, "tiny-imagenet-200/test/bomb.JPEG", bytes(sources.MAX_FILE_BYTES + 1))
    assert archive.stat().st_size < 300_000
    tracemalloc.start()
    line = error_line(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"{sources.MAX_FILE_BYTES + 1:,} bytes" in line
    assert peak < sources.MAX_FILE_BYTES


def test_members_that_come_to_more_than_the_bound_are_refused(archive, monkeypatch):
    with zipfile.ZipFile(archive) as file:
        total = sum(member.file_size for member in file.infolist())
    monkeypatch.setattr(sources, "MAX_TOTAL_BYTES", total)
    assert len(data.load("tiny_imagenet", archive).x_train) == 12
    shutil.rmtree(archive.parent / "tiny_imagenet")
    monkeypatch.setattr(sources, "MAX_TOTAL_BYTES", total - 1)
    assert f"{total:,} bytes" in error_line(archive)


def test_member_that_is_larger_than_it_says_is_refused_and_not_unpacked_further(archive):
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        words = file.read("tiny-imagenet-200/words.txt")
    rebuilt = archive.with_name("rebuilt.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(rebuilt, "w", 8) as new:
        for name in old.namelist():
            whole = old.read(name)
            new.writestr(name, whole + bytes(2**26) if name.endswith("words.txt") else whole)
    rebuilt.replace(archive)
    declare(archive, "tiny-imagenet-200/words.txt", len(words))
    tracemalloc.start()
    line = error_line(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "words.txt cannot be read" in line
    assert peak < 2**24


def test_member_that_is_smaller_than_it_says_is_refused(archive):
    declare(archive, "tiny-imagenet-200/words.txt", 1000)
    assert "words.txt cannot be read" in error_line(archive)


def test_name_that_occurs_twice_is_refused(archive):
    with pytest.warns(UserWarning, match="Duplicate name"):
        add(archive, "tiny-imagenet-200/wnids.txt", b"n01443537\n")
    assert "it occurs twice" in error_line(archive)


def test_packing_without_bounds_is_refused(archive):
    add(archive, "tiny-imagenet-200/test/a.JPEG", b"a", method=zipfile.ZIP_BZIP2)
    assert "another method than deflate" in error_line(archive)


def test_encrypted_member_is_refused(archive):
    content = bytearray(archive.read_bytes())
    entry = content.rindex(_IMAGE.encode()) - 46
    content[entry + 8] |= 1
    archive.write_bytes(content)
    assert "it is encrypted" in error_line(archive)


def test_flipped_byte_in_a_member_is_one_line(archive):
    content = bytearray(archive.read_bytes())
    at = content.index(_IMAGE.encode()) + len(_IMAGE) + 500
    content[at] ^= 255
    archive.write_bytes(content)
    assert f"{_IMAGE} cannot be read" in error_line(archive)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_zip_file_is_one_line(archive, share):
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    assert "is not a readable zip file" in error_line(archive)


def test_zip_file_of_something_else_is_one_line(tmp_path):
    archive = tmp_path / "other.zip"
    add(archive, "readme.txt", b"nothing here")
    assert "wnids.txt is missing" in error_line(archive)
