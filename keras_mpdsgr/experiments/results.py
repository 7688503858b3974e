"""Folders of results read back: reports and sweeps."""

from keras_mpdsgr.files import read_json


def read(folders):
    """What JSON files hold.

    Shards of a report are left out.

    Args:
        folders: Where they lie, `pathlib.Path`s. Of two of one name that of the last folder counts.

    Returns:
        `evaluation.Report`s by name, `evaluation.Sweep`s by name, and by the file's name why it is
        neither here.
    """
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
    return reports, sweeps, unread
