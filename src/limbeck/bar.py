"""A progress bar on a terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


class Bar:
    """One line on a terminal; drawn by the working thread."""

    def __init__(self, console: "Console", label: str, total: int | None) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(20), TextColumn("{task.fields[text]}"))
        self._progress = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self._task = self._progress.add_task(label, total=total, text="")
        self._progress.start()

    def draw(self, done: float, text: str) -> None:
        """Redraw the line."""
        self._progress.update(self._task, completed=done, text=text, refresh=True)

    def stop(self) -> None:
        """Remove the line."""
        self._progress.stop()


def console() -> "Console | None":
    """Return the console for bars; None if standard error is a file or a pipe."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:  # there rich's own bars need ipywidgets; one redrawn line of text does not
        return Console(stderr=True, force_jupyter=False, force_terminal=True)
    return console if console.is_terminal else None
