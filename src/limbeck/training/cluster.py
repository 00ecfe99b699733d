"""The rank of this process. The configuration decides whether there are several processes, not the environment.

A shell may hold variables of launchers that do not concern the command: from an interactive SLURM job, a container or
an earlier ``torchrun``. Lightning would read them even for training on one device.
"""

import os

from limbeck.config import ConfigError


def rank(devices: int, num_nodes: int) -> int:
    """Return the global rank of this process; 0 when training on one device.

    With several devices the launcher sets the rank: torchrun, srun, LSF, MPI, or Lightning.

    Raises
    ------
    ConfigError
        The launcher's number of processes differs from the configuration's number of devices.
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
    "torchrun": "start it with torchrun --nnodes={nodes} --nproc-per-node={devices}; if you do not use torchrun, unset "
    "TORCHELASTIC_RUN_ID",
    "SLURM": "start it with srun in a job with --nodes={nodes} --ntasks-per-node={devices}; to start it without srun, "
    "set SLURM_JOB_NAME=interactive",
    "LSF": "start it with jsrun, {devices} tasks on each of {nodes} hosts; if you do not use jsrun, unset LSB_JOBID",
    "MPI": "start it with mpirun, {devices} processes on each of {nodes} hosts",
}


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is not set"
    return str(error).partition(" HINT")[0].rstrip(".")


def several() -> str:
    """Return the environment variable (``NAME=COUNT``) of a launcher of several processes, or an empty string."""
    for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        count = os.environ.get(name, "")
        if count.isdigit() and int(count) > 1:
            return f"{name}={count}"
    return ""
