import random

import pytest
import torch

from limbeck.config import ConfigError
from limbeck.training.checkpoints import AtomicCheckpoints, callbacks, damage, load_student, read, to_resume


def student(width=3, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(width, 2), torch.nn.Linear(2, 1))


def content(model):
    state = {f"student.{name}": value for name, value in model.state_dict().items()}
    return {"state_dict": state | {"loss.weight": torch.ones(1)}, "global_step": 7}


@pytest.fixture
def path(tmp_path):
    AtomicCheckpoints().save_checkpoint(content(student()), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_round_trip(path):
    other = student(seed=1)
    assert load_student(path, other) == 7
    for ours, theirs in zip(other.parameters(), student().parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert AtomicCheckpoints().load_checkpoint(path)["global_step"] == 7


def test_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"checkpoint: there is no .*best\.ckpt; the run has to be trained first"):
        load_student(tmp_path / "best.ckpt", student())


@pytest.mark.parametrize("keep", [0, 20, 0.5, 0.99])
def test_truncated(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    for load in (lambda: load_student(path, student()), lambda: AtomicCheckpoints().load_checkpoint(path)):
        with pytest.raises(
            ConfigError, match=r"checkpoint: .*last\.ckpt could not be read \(.*Remove .*starts from the beginning"
        ) as caught:
            load()
        assert "\n" not in str(caught.value)


def test_a_pickle_is_not_executed(path):
    torch.save({"state_dict": student(), "global_step": 1}, path)
    with pytest.raises(ConfigError, match="could not be read"):
        load_student(path, student())


@pytest.mark.parametrize(
    ("stored", "message"),
    [([1], "holds no state_dict and no global_step"), ({"state_dict": {}}, "holds no global_step")],
)
def test_no_checkpoint_of_a_training(path, stored, message):
    torch.save(stored, path)
    with pytest.raises(ConfigError, match=f"{message}: it is not a training checkpoint"):
        load_student(path, student())


def test_of_another_student(path):
    stored = content(student(width=4))
    del stored["state_dict"]["student.1.bias"]
    stored["state_dict"]["student.2.weight"] = torch.ones(1)
    torch.save(stored, path)
    mine = student(seed=1)
    before = [value.clone() for value in mine.parameters()]
    with pytest.raises(
        ConfigError,
        match=r"belongs to another student: it lacks 1\.bias, has 2\.weight, has 0\.weight of shape \(2, 4\) instead",
    ):
        load_student(path, mine)
    assert all(torch.equal(a, b) for a, b in zip(before, mine.parameters(), strict=True))
    torch.save({"state_dict": {"student.a": torch.ones(1), "student.b": torch.ones(1)}, "global_step": 1}, path)
    with pytest.raises(ConfigError, match=r"lacks 0\.weight.* and 2 faults more"):
        load_student(path, mine)


def test_a_flipped_bit_is_told_or_changes_nothing(path):
    whole, before = path.read_bytes(), read(path)["state_dict"]
    rng, told = random.Random(5), 0
    for bit in rng.sample(range(8 * len(whole)), 300):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        try:
            state = read(path)["state_dict"]
        except ConfigError:
            told += 1
        else:  # padding, or a field of the format that nobody reads
            assert all(torch.equal(state[name], before[name]) for name in before)
    assert told > 50


def test_a_weight_that_was_flipped_on_the_disk(path):
    weight = student().state_dict()["0.weight"].numpy().tobytes()
    whole = path.read_bytes()
    place = whole.index(weight)
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert torch.load(path, weights_only=True)["global_step"] == 7  # torch does not notice
    assert damage(path).startswith("Bad CRC-32 for file") or "checksum" in damage(path)
    with pytest.raises(ConfigError, match=r"last\.ckpt could not be read \("):
        load_student(path, student())


def test_the_state_before_is_kept_and_taken_if_the_last_is_damaged(path, caplog):
    folder = path.parent
    assert to_resume(folder) == path
    (folder / ".last.ckpt.unfinished").write_bytes(b"what a kill has left")
    AtomicCheckpoints().save_checkpoint(content(student(seed=2)) | {"global_step": 9}, path)
    assert (read(path)["global_step"], read(folder / "previous.ckpt")["global_step"]) == (9, 7)
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level("WARNING", logger="limbeck"):
        assert to_resume(folder) == folder / "previous.ckpt"
    assert "last.ckpt is damaged (" in caplog.text
    (folder / "previous.ckpt").write_bytes(b"")
    with pytest.raises(
        ConfigError, match=r"no intact checkpoint is left in .*last\.ckpt \(.*previous\.ckpt \(.*Remove the folder"
    ):
        to_resume(folder)
    for each in folder.iterdir():
        each.unlink()
    assert to_resume(folder) is None


def test_a_moved_folder_keeps_its_best(tmp_path):
    (best, _), (moved, _) = (callbacks(tmp_path / name, 10, "dev/ndcg@10") for name in ("here", "there"))
    path = str(tmp_path / "here" / "best.ckpt")
    best.best_model_path = best.kth_best_model_path = path
    best.best_model_score = best.kth_value = torch.tensor(0.5)
    best.best_k_models = {path: best.best_model_score}
    moved.load_state_dict(best.state_dict())
    there = str(tmp_path / "there" / "best.ckpt")
    assert (moved.best_model_path, moved.kth_best_model_path) == (there, there)
    assert moved.best_k_models == {there: torch.tensor(0.5)}
    assert moved.best_model_score == torch.tensor(0.5)
