"""Which process of a training this one is: the configuration says whether there are several, not the environment.

Shells carry variables of launchers that have nothing to do with the command at hand: those of an interactive SLURM job,
of a container, of an earlier ``torchrun``. Lightning would read them for a training on one device, too.
"""

import os

from limbeck.config import ConfigError


def rank(devices: int, num_nodes: int) -> int:
    """Return the number of this process among those of one training; 0 if it trains on one device.

    With several devices the process is numbered by what has started it: torchrun, srun, LSF or MPI, or Lightning.

    Raises
    ------
    ConfigError
        The launcher has started another number of processes than the configuration has devices.
    """
    if devices * num_nodes <= 1:
        return 0
    from lightning.fabric.plugins import environments as known

    # The order in which Lightning looks for them.
    for name, kind in (
        ("torchrun", known.TorchElasticEnvironment),
        ("SLURM", known.SLURMEnvironment),
        ("LSF", known.LSFEnvironment),
        ("MPI", known.MPIEnvironment),
    ):
        if not kind.detect():
            continue
        try:
            found = kind()
            found.validate_settings(devices, num_nodes)
            return found.global_rank()
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(
                f"trainer.devices={devices} trainer.num_nodes={num_nodes} do not fit the variables of {name} in the "
                f"environment: {_reason(error)}\n{_REMEDIES[name].format(devices=devices, nodes=num_nodes)}"
            ) from None
    here = known.LightningEnvironment()
    return here.node_rank() * devices + here.local_rank()


_REMEDIES = {
    "torchrun": "start it by torchrun --nnodes={nodes} --nproc-per-node={devices}; if no torchrun is at work, unset "
    "TORCHELASTIC_RUN_ID",
    "SLURM": "start it by srun in a job with --nodes={nodes} --ntasks-per-node={devices}; to start it without srun, "
    "set SLURM_JOB_NAME=interactive",
    "LSF": "start it by jsrun with {devices} tasks on each of {nodes} hosts; if no jsrun is at work, unset LSB_JOBID",
    "MPI": "start it by mpirun with {devices} processes on each of {nodes} hosts",
}


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is not set"
    return str(error).partition(" HINT")[0].rstrip(".")


def several() -> str:
    """Return the variable by which a launcher says that it has started several processes, or nothing."""
    for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        count = os.environ.get(name, "")
        if count.isdigit() and int(count) > 1:
            return f"{name}={count}"
    return ""
