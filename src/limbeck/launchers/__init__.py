"""Where the jobs of a sweep run: one after another, in processes of this machine, by SLURM."""
