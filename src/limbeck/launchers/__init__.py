"""Run the jobs of a sweep: one after another, in processes of this machine, with SLURM, or with Ray."""
