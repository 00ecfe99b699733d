"""Ray for real: two nodes on this machine, one of which dies amid its work; what it is asked for, and refuses."""

import json
import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from forked import below, wait_for
from limbeck.config import ConfigError
from limbeck.launchers.place import Place

pytest.importorskip("ray")

from limbeck.launchers.ray import Ray

GRID = ["-m", "loss=kl,ckl", "seed=1,2", "name=grid", "eval.start=false", "eval.teacher=false"]
GRID += ["trainer.steps=20", "trainer.validate_every=0", "trainer.checkpoint_every=1", "trainer.log_every=20"]
"""Four runs."""


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """Two nodes with one processor each, of which the first runs the cluster, without what only watches it."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's own 15 starves them where other tests run
    memory = 80 * 2**20
    unwatched = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
    head = {"num_cpus": 1, "object_store_memory": memory, **unwatched}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        found.add_node(num_cpus=1, object_store_memory=memory)
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def workers(node):
    """Return the processes of a node that do jobs, and others below its raylet."""
    return [number for number, _ in below(node.all_processes["raylet"][0].process.pid)]


def dies_at_work(cluster, runs, killed):
    """Kill all processes of the second node once it trains and has saved a checkpoint; note which run that was."""

    def at_work():
        saved = [run for run in runs.glob("*") if (run / "checkpoints" / "last.ckpt").exists()]
        for node in cluster.worker_nodes if saved else ():
            own = workers(node)
            for run in saved:
                holder = (run / ".lock").read_text().split()[:1]
                if holder and int(holder[0]) in own:
                    return node, own, run
        return None

    node, own, run = wait_for(at_work, 900)
    node.all_processes["raylet"][0].process.kill()
    for number in own:
        os.kill(number, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)
    killed.append(run)


def rows(folder):
    return json.loads((folder / "result.json").read_text())["rows"]


@pytest.mark.slow
def test_four_runs_on_two_nodes_of_which_one_dies(limbeck, cluster, tmp_path):
    status, table, err = limbeck("train", *GRID, "paths.runs=serial")
    assert status == 0, err
    killed = []
    killer = threading.Thread(target=dies_at_work, args=(cluster, tmp_path / "runs" / "grid", killed))
    killer.start()
    status, out, err = limbeck("train", *GRID, "launcher=ray", f"launcher.address={cluster.address}")
    killer.join()
    assert status == 0, err
    assert out.endswith(table)  # behind what Ray itself says of the node
    finished = sorted(path.parent for path in (tmp_path / "runs" / "grid").glob("*/result.json"))
    assert len(finished) == 4
    for run in finished:
        assert rows(run) == rows(tmp_path / "serial" / "grid" / run.name)
        typed = json.loads((run / "env.json").read_text())["command"]
        assert typed[:2] == ["limbeck", "train"]  # not what a process of Ray was started with
    log = (killed[0] / "train.log").read_text()
    assert len(re.findall("training: 20 steps", log)) == 2, log  # once on each of two nodes
    assert "going on from" in log


def where(job):
    return {"number": job["number"], "folder": os.getcwd(), "seen": os.environ.get("LIMBECK_PACKAGES"),
            "threads": os.environ["OMP_NUM_THREADS"]}  # fmt: skip


@pytest.mark.slow
def test_a_cluster_starts_for_the_command_and_ends_with_it(tmp_path, monkeypatch, caplog):
    """Its jobs know the folder and the variables; trials find their place, and can be ended."""
    import cloudpickle
    import ray

    from limbeck.tuning.on_ray import RayProcess

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("LIMBECK_PACKAGES", "os")
    monkeypatch.setenv("LIMBECK_TOKEN", "not to be handed on")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endless.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    (tmp_path / "good.py").write_text("print('done')\n")
    launcher = Ray(cpus=0.5)
    with launcher.connected():
        found = dict(launcher.run(where, [{"number": number} for number in range(2)], tmp_path))
        assert [found[number] for number in range(2)] == [
            {"number": number, "folder": str(tmp_path), "seen": "os", "threads": "1"} for number in range(2)
        ]
        logs = {name: tmp_path / "logs" / f"{name}.log" for name in ("good", "no_such_module", "endless")}
        good, bad, endless = (RayProcess(launcher, name, [], log) for name, log in logs.items())
        wait_for(lambda: None not in (good.status(), bad.status()))
        assert (good.status(), bad.status()) == (0, 1)
        assert "No module named no_such_module" in bad.message()
        number = wait_for(lambda: logs["endless"].exists() and logs["endless"].read_text().strip())
        assert endless.status() is None
        endless.stop()
        assert endless.status() == -signal.SIGTERM
        assert not Path(f"/proc/{number}").exists()
        with Ray(cpus=1000).connected():
            pass
    assert not ray.is_initialized()
    assert "no node has 1000 CPUs" in caplog.text


def test_variables_that_belong_to_one_machine_or_sound_like_secrets_stay(monkeypatch):
    for name in ("LIMBECK_HOME", "LIMBECK_PARENT", "WANDB_API_KEY", "HF_TOKEN", "EDITOR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HF_HOME", "/models")
    found = Place.here().variables
    assert found["HF_HOME"] == "/models"
    assert not {"LIMBECK_HOME", "LIMBECK_PARENT", "WANDB_API_KEY", "HF_TOKEN", "EDITOR"} & set(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus": -1}, "^cpus must be >= 0, got -1"),
        ({"gpus": -0.5}, "^gpus must be >= 0, got -0.5"),
        ({"gpus": 1.5}, "^gpus must be a whole number or below 1"),
        ({"retries": -1}, "^retries must be >= 0"),
        ({"more": "abc"}, "^more must be null or options of Ray"),
        ({"more": {"nope": 1}}, "^more is refused by Ray: Invalid option keyword nope"),
        ({"more": {"num_gpus": 1}}, "^more cannot hold num_gpus"),
    ],
)
def test_what_ray_would_refuse_late(options, message):
    with pytest.raises(ValueError, match=message):
        Ray(**options)


def test_an_address_without_a_cluster():
    with pytest.raises(ConfigError, match=r"launcher\.address=nonsense.*start a cluster by ray start --head"):
        next(Ray(address="nonsense").run(where, [{"number": 0}], Path()))
