"""Variables of launchers in the environment: they number the processes of several devices, and nothing else."""

import json

import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only

from forked import LAUNCHERS
from limbeck.config import ConfigError
from limbeck.experiment.run_folder import RunFolder
from limbeck.locks import BusyError
from limbeck.training.cluster import rank, several
from limbeck.training.trainer import Training
from small import STUDENT, WORLD

TORCH = {"RANK": "3", "LOCAL_RANK": "3", "NODE_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "4"}
TORCH |= {"LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1"}
SLURM = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NODEID": "1"}
SLURM |= {"SLURM_NNODES": "2", "SLURM_NODELIST": "gpu[1-2]", "SLURM_JOB_NAME": "x"}
ELSE = {"TORCHELASTIC_RUN_ID": "none", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMI_RANK": "1"}
ELSE |= {"PMI_SIZE": "2", "KUBERNETES_PORT": "tcp://192.0.2.1:443", "KUBERNETES_SERVICE_HOST": "192.0.2.1"}
SHELLS = {
    "torch": TORCH,
    "torchrun": TORCH | {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"},
    "slurm": SLURM,
    "slurm, tasks of each node": SLURM | {"SLURM_NTASKS_PER_NODE": "2"},
    "slurm, bash": SLURM | {"SLURM_JOB_NAME": "bash"},
    "slurm, salloc": {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_JOBID": "77"},
    "lsf": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "absent", "JSM_NAMESPACE_LOCAL_RANK": "1"}
    | {"JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1"},
    "all": TORCH | SLURM | ELSE,
}
SHORT = ["trainer.steps=2", "trainer.validate_every=2", "eval.start=false", "eval.teacher=false", "teacher=none"]
SHORT += ["loss=[info_nce]", "trainer.checkpoint_every=1", "trainer.log_every=1"]


@pytest.fixture
def shell(monkeypatch):
    """Be in a shell with some variables, as if all had been imported there."""

    def enter(name):
        for variable, value in SHELLS[name].items():
            monkeypatch.setenv(variable, value)
        numbers = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # Lightning's
        number = next((SHELLS[name][each] for each in numbers if each in SHELLS[name]), "0")
        monkeypatch.setattr(rank_zero_only, "rank", int(number))

    return enter


def numbers(run):
    """Return what a run has found and logged, without times."""
    result = json.loads((run / "result.json").read_text())
    (logged,) = run.glob("metrics/*/metrics.csv")
    head, *lines = [line.split(",") for line in logged.read_text().splitlines()]
    kept = [column for column, name in enumerate(head) if "loss" in name or name == "step" or "ndcg" in name]
    return result["rows"], [[line[column] for column in kept] for line in lines]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, small, cache, forked):
    """What the run finds in a shell without such variables."""
    folder = tmp_path_factory.mktemp("plain")
    status, out = forked.run(["train", *small, f"paths.cache={cache}", *SHORT], folder)
    assert status == 0, out
    (run,) = folder.glob("runs/train/*")
    return numbers(run)


@pytest.mark.parametrize("name", SHELLS)
def test_on_one_device_no_shell_makes_a_process_one_of_several(name, shell, tmp_path):
    shell(name)
    assert rank(1, 1) == 0
    trainer = Training(accelerator="cpu").make(2, tmp_path, [], [], validate=False)
    assert (trainer.world_size, trainer.global_rank, trainer.is_global_zero) == (1, 0, True)


@pytest.mark.parametrize("name", ["torchrun", "slurm, tasks of each node", "lsf", "all"])
def test_one_device_trains_in_any_shell(name, plain, shell, limbeck, tmp_path):
    shell(name)
    status, out, err = limbeck("train", *SHORT)
    assert status == 0, err
    assert "student, distilled" in out
    assert "training: 2 steps" in err
    (run,) = tmp_path.glob("runs/train/*")
    assert numbers(run) == plain
    assert (run / "train.log").exists()
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}


def test_ddp_on_one_device_needs_no_other_process_either(plain, forked, small, cache, tmp_path):
    words = ["train", *small, f"paths.cache={cache}", *SHORT, "trainer.strategy=ddp"]
    status, out = forked.run(words, tmp_path, env=SHELLS["torchrun"], first=lambda: setattr(rank_zero_only, "rank", 3))
    assert status == 0, out
    (run,) = tmp_path.glob("runs/train/*")
    assert numbers(run) == plain


@pytest.mark.parametrize("name", ["all", "slurm, salloc"])
def test_the_other_verbs_work_in_any_shell(name, shell, limbeck, folder, cache, tmp_path):
    shell(name)
    (tmp_path / "run.trec").write_text("q1 Q0 d1 1 2.5 s\n")
    world = [*WORLD, f"paths.cache={cache}"]
    for verb, *words in (
        ["mine", *world, "candidates.depth=2", "out=m"],
        ["evaluate", "run_file=run.trec", f"qrels={folder}/qrels/test.tsv"],
        ["index", *world, "student=dense", *STUDENT, "out=idx", "accelerator=cpu"],
        ["search", f"paths.cache={cache}", "index=idx", "out=found.trec", "accelerator=cpu"],
    ):
        status, out, err = limbeck(verb, *words, small=False)
        assert status == 0, (verb, err)
        assert out + err, verb  # none keeps silent as the second of two processes would
    assert (tmp_path / "found.trec").read_text()


@pytest.mark.parametrize(("launcher", "shape"), [("torchrun", (2, 1)), ("srun, two nodes", (1, 2))])
def test_processes_of_a_launcher_train_together(launcher, shape, forked, small, cache, tmp_path):
    shape = [f"trainer.devices={shape[0]}", f"trainer.num_nodes={shape[1]}"]
    words = ["train", *small, f"paths.cache={cache}", *SHORT, *shape, "trainer.strategy=ddp"]
    assert forked.both(words, tmp_path, launcher=launcher) == (0, 0), (tmp_path / "output").read_text()
    out = (tmp_path / "output").read_text()
    assert "training: 2 steps of 8 queries" in out
    assert out.count("training: 2 steps") == 1  # the first alone says so
    assert len(list(tmp_path.glob("runs/train/*/result.json"))) == 1
    (log,) = tmp_path.glob("runs/train/*/train.rank-1.log")
    assert "training: 2 steps" in log.read_text()


@pytest.mark.parametrize(
    ("given", "devices", "nodes", "expected"),
    [
        (LAUNCHERS["torchrun"]("1"), 2, 1, 1),
        (LAUNCHERS["srun"]("1"), 2, 1, 1),
        (LAUNCHERS[None]("1"), 2, 1, 1),
        ({}, 2, 1, 0),
        ({"SLURM_PROCID": "1", "RANK": "1"}, 2, 1, 0),  # without what Lightning recognises a launcher by
        ({**TORCH, "TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0", "RANK": "2"}, 2, 2, 2),  # no NODE_RANK there
        ({"NODE_RANK": "1"}, 2, 2, 2),
        ({**SLURM, "SLURM_NTASKS_PER_NODE": "2"}, 2, 2, 3),
        ({**SLURM, "SLURM_JOB_NAME": "bash", "LOCAL_RANK": "1"}, 2, 1, 1),
        ({**TORCH, **SLURM, "TORCHELASTIC_RUN_ID": "none"}, 1, 1, 0),
    ],
)
def test_processes_are_numbered_as_lightning_does(given, devices, nodes, expected, monkeypatch):
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    assert rank(devices, nodes) == expected


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("torchrun", "does not match the world size (4)\nstart it with torchrun --nnodes=1 --nproc-per-node=2"),
        ("slurm", "start it with srun in a job with --nodes=1 --ntasks-per-node=2; to start it without srun, set"),
        ("slurm, tasks of each node", "the number of nodes configured in SLURM `--nodes=2` does not match"),
    ],
)
def test_a_launcher_with_another_number_of_processes_is_refused(name, told, shell, limbeck, tmp_path):
    shell(name)
    status, _, err = limbeck("train", *SHORT, "trainer.devices=2")
    assert status == 2
    assert "trainer.devices=2 trainer.num_nodes=1 do not fit the variables of" in err
    assert told in err
    assert "HINT" not in err
    assert not list(tmp_path.rglob("train.log"))
    with pytest.raises(ConfigError, match="do not fit"):
        rank(2, 1)


def test_a_second_process_of_one_run_hears_of_trainer_devices(shell, tmp_path):
    """As where torchrun starts two of a run on one device."""
    shell("torchrun")
    config = {"trainer": {"devices": 1, "num_nodes": 1}, "force": False}
    with RunFolder(tmp_path).opened(config, []), pytest.raises(BusyError) as refused:  # noqa: SIM117
        with RunFolder(tmp_path).opened(config, [], wait=False):
            pass
    assert "(WORLD_SIZE=4 is set: if a launcher has started several" in str(refused.value)


def test_only_counts_above_one_are_several(monkeypatch):
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "PMI_SIZE"):
        monkeypatch.setenv(name, "1")
        assert several() == ""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert several() == "SLURM_NTASKS=4"
