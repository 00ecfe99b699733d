import pytest
import torch

from limbeck.config import ConfigError
from limbeck.training.checkpoints import AtomicCheckpoints, load_student


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
    for read in (lambda: load_student(path, student()), lambda: AtomicCheckpoints().load_checkpoint(path)):
        with pytest.raises(ConfigError, match=r"checkpoint: .*last\.ckpt could not be read \(.*Remove it") as caught:
            read()
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
    with pytest.raises(ConfigError, match=f"{message}: it is no checkpoint of a training"):
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
        match=r"is of another student: it lacks 1\.bias, has 2\.weight, has 0\.weight of shape \(2, 4\) instead of",
    ):
        load_student(path, mine)
    assert all(torch.equal(a, b) for a, b in zip(before, mine.parameters(), strict=True))
    torch.save({"state_dict": {"student.a": torch.ones(1), "student.b": torch.ones(1)}, "global_step": 1}, path)
    with pytest.raises(ConfigError, match=r"lacks 0\.weight.* and 2 faults more"):
        load_student(path, mine)
