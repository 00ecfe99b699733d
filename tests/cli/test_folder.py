"""A run's folder, held by one process at a time."""

import pytest
from omegaconf import OmegaConf

from limbeck.experiment.run_folder import RunFolder
from limbeck.locks import BusyError, is_held

CONFIG = {"force": True, "seed": 1}


def test_force_deletes_what_is_there_but_never_the_lock_that_is_held(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.opened(CONFIG | {"force": False}, []):
        (tmp_path / "run" / "checkpoints").mkdir()
        (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
        (tmp_path / "run" / "result.json").write_text("{}")
        with pytest.raises(BusyError, match=r"another process is working on the run .*run \(process \d+ on host"):
            folder.opened(CONFIG, [], wait=False).__enter__()
        assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    inode = (tmp_path / "run" / ".lock").stat().st_ino
    with folder.opened(CONFIG, []):
        assert (tmp_path / "run" / ".lock").stat().st_ino == inode
        assert is_held(tmp_path / "run" / ".lock")
        assert {path.name for path in (tmp_path / "run").iterdir()} == {
            ".lock", "config.yaml", "env.json", "train.log"
        }  # fmt: skip
        assert folder.busy()
    assert not folder.busy()


def test_what_is_recorded_is_read_back_as_it_was(tmp_path):
    """By OmegaConf, to which more texts are numbers than to YAML."""
    texts = ["1e-2", "1_000", "12:30", "-.5", "0x10", "true", "no", "null", "~", ".inf", "nan", "", " x: y", "a#b", "é",
             "${x}", "2001-01-01", "a\nb", "'q'", '"d"', "[a]", "{a: 1}", "*a", "%d", "e", "="]  # fmt: skip
    config = CONFIG | {"texts": texts, "5": "five", "values": [1, 1e-5, 1e16, float("inf"), None, True, [], {}, [[2]]]}
    with RunFolder(tmp_path / "run").opened(config, []):
        read = OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml"))
    assert repr(read) == repr(config)
