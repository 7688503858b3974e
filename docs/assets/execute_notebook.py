"""Runs the notebook and stores its outputs in it: `python docs/assets/execute_notebook.py`.

Needs `pip install nbclient ipykernel`. What is written to standard error, TensorFlow's start-up
lines, is left out, and so are the times of the execution.
"""

import pathlib

import nbclient
import nbformat

PATH = pathlib.Path(__file__).resolve().parents[1] / "quickstart.ipynb"


def main():
    notebook = nbformat.read(PATH, as_version=4)
    options = {"timeout": None, "record_timing": False, "coalesce_streams": True}
    nbclient.NotebookClient(notebook, kernel_name="python3", **options).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    main()
