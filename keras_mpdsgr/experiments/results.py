"""Folders of results read back: reports and sweeps."""

import pathlib
import typing

from keras_mpdsgr.files import read_json


class Results(typing.NamedTuple):
    """What the JSON files of some folders hold.

    Attributes:
        reports: `evaluation.Report`s by name.
        sweeps: `evaluation.Sweep`s by name.
        unread: Why a file is neither here, by its name.
    """

    reports: dict
    sweeps: dict
    unread: dict


class HasResults:
    """Mixin of what has folders of results; each call reads them again.

    Attributes:
        result_folders: Where they lie, `pathlib.Path`s. Of two of one name that of the last folder
            counts.
    """

    result_folders: list[pathlib.Path]

    def read_results(self):
        """The `Results`: reports, sweeps and what is unread, from one reading."""
        return read(self.result_folders)

    def reports(self):
        """Its `evaluation.Report`s by name; shards are left out, and what is `unread`."""
        return self.read_results().reports

    def sweeps(self):
        """Its `evaluation.Sweep`s by name."""
        return self.read_results().sweeps

    @property
    def unread(self):
        """Why a JSON file of results is neither report nor sweep here, by the file's name."""
        return self.read_results().unread


def read(folders):
    """The `Results` in some folders, as of `HasResults`; shards of a report are left out."""
    from keras_mpdsgr import evaluation

    reports, sweeps, unread = {}, {}, {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
        if path.name.startswith("part-"):  # of a process that was killed while it wrote
            continue
        try:
            content = read_json(path)
            held = content.keys() if isinstance(content, dict) else ()
            if "accuracy" in held:
                report = evaluation.Report.from_json(path)
                if not report.config.get("shard"):
                    reports[path.stem] = report
            elif "counts" in held:
                sweeps[path.stem] = evaluation.Sweep.from_json(path)
            else:
                unread[path.name] = f"{path} holds neither a report nor a sweep."
        except ValueError as error:
            unread[path.name] = str(error)
    return Results(reports, sweeps, unread)
