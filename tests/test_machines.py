"""Files for clusters in examples/: what SLURM and Ray would read of them; the commands in them are commands."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from limbeck.config import home
from limbeck.training.cluster import rank

EXAMPLES = home() / "examples"


def commands(text):
    """Return the words of each limbeck command in a script."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = (re.search(r"\blimbeck (.*?)('|$)", line) for line in lines if not line.startswith("#SBATCH"))
    return [shlex.split(each[1]) for each in found if each]


def test_the_slurm_script_starts_as_many_processes_as_its_command_has_devices(compose, monkeypatch):
    text = (EXAMPLES / "slurm_two_nodes.sh").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, re.M))
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "time", "signal"} < set(options)
    assert "srun limbeck" in text
    ((verb, *words),) = commands(text)
    config = compose(verb, *words)
    nodes, tasks = int(options["nodes"]), int(options["ntasks-per-node"])
    assert (config.trainer.num_nodes, config.trainer.devices) == (nodes, tasks)
    assert int(options["gpus-per-node"]) == tasks
    job = {"JOB_ID": 7, "JOB_NAME": options["job-name"], "NTASKS": nodes * tasks, "NTASKS_PER_NODE": tasks}
    job |= {"NNODES": nodes, "NODEID": 1, "PROCID": 5, "LOCALID": 1, "NODELIST": "gpu[1-2]"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert rank(config.trainer.devices, config.trainer.num_nodes) == 5


def test_the_ray_cluster_is_one_that_ray_would_start(compose):
    ray = pytest.importorskip("ray")
    import jsonschema

    text = (EXAMPLES / "ray_cluster.yaml").read_text()
    config = yaml.safe_load(text)
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    assert config["provider"]["type"] == "local"
    assert len(config["provider"]["worker_ips"]) == 2
    assert any("ray start --head" in command for command in config["head_start_ray_commands"])
    assert any("$RAY_HEAD_IP" in command for command in config["worker_start_ray_commands"])
    (words,) = commands(text)
    assert compose(*words).launcher._target_ == "launcher/ray"
