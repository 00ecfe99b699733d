"""Figures of one run, for trackers."""

from collections.abc import Sequence
from pathlib import Path

from limbeck.evaluation.per_query import read_per_query


def of_run(folder: Path, split: str, metric: str) -> Sequence[Path]:
    """Draw the student, before and after training, against the teacher, query by query.

    Parameters
    ----------
    folder
        Folder of a finished run; the figure goes to ``figures/SPLIT.against_teacher.png``.
    split, metric
        The split and the metric to draw.

    Returns
    -------
    Sequence[Path]
        The figures; none if teacher or student was not evaluated.
    """
    files = {
        name: folder / "per_query" / f"{split}.{key}.parquet"
        for key, name in (("start", "student, start"), ("student", "student, distilled"))
    }
    teacher = folder / "per_query" / f"{split}.teacher.parquet"
    systems = {name: [read_per_query(path, metric)] for name, path in files.items() if path.is_file()}
    if not systems or not teacher.is_file():
        return []
    from limbeck.reporting.figures import against_teacher

    drawn = folder / "figures" / f"{split}.against_teacher.png"
    against_teacher(drawn, read_per_query(teacher, metric), systems, metric=metric)
    return [drawn]
