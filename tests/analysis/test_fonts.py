"""Matplotlib's list of fonts: written by several processes at once, and after a kill."""

import json
import os
import subprocess
import sys
import time

import pytest

DRAW = """
import time
from limbeck.analysis.fonts import remove_stale_locks
remove_stale_locks()
import matplotlib, matplotlib.cbook
sleep, slept = time.sleep, []
matplotlib.cbook.time.sleep = lambda seconds: slept.append(seconds) or sleep(seconds)
import matplotlib.font_manager
print(len(slept))
"""


def draw(folder):
    env = os.environ | {"MPLCONFIGDIR": str(folder)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", DRAW], env=env, text=True, **pipes)


def test_a_lock_that_a_kill_has_left_holds_nobody_up(tmp_path):
    import matplotlib.font_manager

    name = f"fontlist-v{matplotlib.font_manager.FontManager.__version__}.json"
    (tmp_path / name).write_text('{"cut')
    lock = tmp_path / f"{name}.matplotlib-lock"
    lock.touch()
    os.utime(lock, (time.time() - 3600,) * 2)
    out, err = draw(tmp_path).communicate(timeout=120)
    assert out.split() == ["0"]
    assert "Could not save" not in err
    assert not lock.exists()
    assert json.loads((tmp_path / name).read_text())


@pytest.mark.slow
def test_processes_that_draw_for_the_first_time_together(tmp_path):
    processes = [draw(tmp_path) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    (written,) = tmp_path.glob("fontlist*.json")
    assert json.loads(written.read_text())
