"""What the pages show: their blocks of code, and the commands of programs in them."""

import pathlib
import re
import shlex

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page, *languages):
    """The texts of a page's blocks in these languages, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def marked(page, name):
    """The one line of the block behind the page's mark of this name."""
    pattern = rf"^<!-- command: {name} -->\n```\w*\n(.+)\n```$"
    (line,) = re.findall(pattern, page.read_text(), re.MULTILINE)
    return line


def commands(page):
    """Programs with the words that follow them, as the page has them in blocks and in its text."""
    room = r"(?:trainers|benchmarks)\."
    # In blocks, and in a line of text between backticks.
    spans = re.findall(rf"`([^`\n]*python -m {room}[^`\n]*)`", page.read_text())
    text = "\n".join([*blocks(page, "bash", ""), *spans]).replace("\\\n", " ")
    text = re.sub(r"\$\w+", "1", text)  # the variable of a loop
    found = re.findall(rf"python -m ({room}\w+)([^&|;\n]*)", text)
    return [(program, shlex.split(rest, comments=True)) for program, rest in found]
