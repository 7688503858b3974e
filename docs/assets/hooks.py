"""Hooks of the site's build."""

import re

import nbconvert
from mkdocs.structure.files import File


def on_files(files, config):
    """Gives each notebook a page, with the outputs that it holds."""
    for notebook in list(files):
        if notebook.src_uri.endswith(".ipynb"):
            name = notebook.src_uri.removesuffix(".ipynb")
            # Beside the page, which is a folder.
            pictures = {"output_files_dir": f"{name}-outputs"}
            exporter = nbconvert.MarkdownExporter()
            text, made = exporter.from_filename(notebook.abs_src_path, resources=pictures)
            files.append(File.generated(config, f"{name}.md", content=text))
            for path, content in made["outputs"].items():
                files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown, page, **_):
    """Leaves of a link that leads out of docs/ its text; leads one to a notebook to its page.

    The site holds no file of elsewhere.
    """
    above = "../" * (page.file.src_uri.count("/") + 1)
    markdown = re.sub(rf"\[([^\[\]]+)\]\({re.escape(above)}[^)]*\)", r"\1", markdown)
    return re.sub(r"(\]\([\w./-]+)\.ipynb\)", r"\1.md)", markdown)
