"""Where the jobs of a sweep are made: one after another, in processes of this machine, by SLURM."""
