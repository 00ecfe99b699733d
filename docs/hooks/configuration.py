"""The pages of the configuration, written while the site is built."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from limbeck.manual.reference import FOLDER, pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages into the navigation, where the heading ``Configuration`` is."""
    for part in config.nav or []:
        for chapter in part.get("Reference", []):
            if "Configuration" in chapter:
                chapter["Configuration"] = [f"{FOLDER}/index.md"] + [
                    {title: page} for page, (title, _) in pages().items() if page != f"{FOLDER}/index.md"
                ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for page, (_, text) in pages().items():
        files.append(File.generated(config, page, content=text))
    return files
