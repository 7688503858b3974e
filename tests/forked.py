"""What a process of `conftest.Program` does: it runs a module as `python -m` would, or a text."""

import importlib
import os
import runpy
import sys

module, text, words, folder, environment, outputs, replaced = asked  # noqa: F821

os.chdir(folder)
sys.path.insert(0, folder)
os.environ.update(environment)
for number, path in enumerate(outputs, start=1):
    os.dup2(os.open(path, os.O_WRONLY), number)
for name, values in replaced.items():
    vars(importlib.import_module(name)).update(values)
sys.argv = [module or "-c", *words]
if module is None:
    exec(compile(text, "<text>", "exec"), {"__name__": "__main__"})
else:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
