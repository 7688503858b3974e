"""Files of a published data set, in a folder or in an untrusted zip file.

Nothing is ever unpacked to disk. A zip file is refused whole if one of its members could lead
out of a folder, is a link or another special file, or is larger than `MAX_FILE_BYTES`, or if they
come to more than `MAX_TOTAL_BYTES`. Sizes are checked as declared before anything is decompressed,
and reading stops at the declared size.
"""

import os
import pathlib
import re
import stat
import zipfile
import zlib
from typing import Protocol

from keras_mpdsgr.data.image_data import DataNotFoundError

# Tiny-ImageNet has 250 MB in files of a few kB, of which words.txt is the largest with 2.6 MB.
MAX_FILE_BYTES = 16 * 2**20
MAX_TOTAL_BYTES = 2**30

# bzip2 and LZMA decompress a block at a time, however large it becomes.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Source(Protocol):
    """Files by their path below the data set's folder.

    Attributes:
        files: Bytes of each file.
    """

    files: dict[str, int]

    def read(self, name: str) -> bytes:
        """What a file holds."""

    def __str__(self) -> str: ...


class FolderSource:
    """Files of a folder.

    Args:
        folder: The data set's folder.
        parts: Files and folders in it that are wanted.
    """

    def __init__(self, folder: pathlib.Path, parts: tuple[str, ...]):
        self._folder = folder
        self.files: dict[str, int] = {}
        for part in parts:
            self._add(folder / part)

    def _add(self, path: pathlib.Path) -> None:
        if path.is_file():
            self.files[path.relative_to(self._folder).as_posix()] = path.stat().st_size
            return
        for here, _, names in os.walk(path):
            relative = pathlib.Path(here).relative_to(self._folder).as_posix()
            for name in names:
                try:
                    size = os.stat(os.path.join(here, name)).st_size
                except OSError as error:
                    raise _unreadable(os.path.join(here, name), error) from error
                self.files[f"{relative}/{name}"] = size

    def read(self, name: str) -> bytes:
        path = self._folder / name
        if self.files[name] > MAX_FILE_BYTES:
            raise DataNotFoundError(_too_large(path, self.files[name]))
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error

    def __str__(self) -> str:
        return str(self._folder)


class ZipSource:
    """Files of a zip file.

    Args:
        path: The zip file.
        folder: Folder of the data set within it.
        parts: Files and folders in that folder that are wanted.

    Raises:
        DataNotFoundError: If it is not a zip file, or is refused.
    """

    def __init__(self, path: pathlib.Path, folder: str, parts: tuple[str, ...]):
        self._path = path
        self._folder = folder
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataNotFoundError(
                f"{path} is not a readable zip file ({error}). Replace it by an intact copy, or "
                "pass another `data_dir`."
            ) from error
        members = self._zip.infolist()
        self._check(members)
        self.files = {}
        for member in members:
            top, _, name = member.filename.partition("/")
            wanted = top == folder and name.partition("/")[0] in parts
            if wanted and not member.is_dir():
                self.files[name] = member.file_size

    def _check(self, members: list[zipfile.ZipInfo]) -> None:
        seen = set()
        for member in members:
            fault = _fault(member)
            if member.filename in seen:
                fault = "it occurs twice"
            if fault:
                raise DataNotFoundError(
                    f"{self._path} is refused: its member {member.filename!r} cannot be trusted "
                    f"({fault}). Download the zip file again from its publisher."
                )
            if member.file_size > MAX_FILE_BYTES:
                where = f"{self._path}: {member.filename}"
                raise DataNotFoundError(_too_large(where, member.file_size))
            seen.add(member.filename)
        total = sum(member.file_size for member in members)
        if total > MAX_TOTAL_BYTES:
            raise DataNotFoundError(
                f"{self._path} is refused: unpacked, it would hold {total:,} bytes, and at most "
                f"{MAX_TOTAL_BYTES:,} are taken. Download the zip file again from its publisher."
            )

    def read(self, name: str) -> bytes:
        try:
            with self._zip.open(f"{self._folder}/{name}") as member:
                content = member.read(self.files[name] + 1)
            if len(content) != self.files[name]:
                raise zipfile.BadZipFile("it is cut short")
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise _unreadable(f"{self._path}: {self._folder}/{name}", error) from error
        return content

    def __str__(self) -> str:
        return str(self._path)


def _fault(member: zipfile.ZipInfo) -> str:
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if re.match(r"[/\\]|[A-Za-z]:", name):
        return "its path is absolute"
    if ".." in re.split(r"[/\\]", name):
        return "its path leads out of the folder by '..'"
    if kind == stat.S_IFLNK:
        return "it is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is a special file"
    if member.flag_bits & 1:
        return "it is encrypted"
    if member.compress_type not in _METHODS:
        return "it is packed by another method than deflate"
    return ""


def _unreadable(where: object, error: Exception) -> DataNotFoundError:
    return DataNotFoundError(
        f"{where} cannot be read ({error}). Replace it by an intact copy, or pass another "
        "`data_dir`."
    )


def _too_large(where: object, size: int) -> str:
    return (
        f"{where} is refused: it would hold {size:,} bytes, and at most {MAX_FILE_BYTES:,} are "
        "taken. Download the data set again from its publisher."
    )
