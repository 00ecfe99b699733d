#!/bin/bash
# One training on two nodes of four GPUs each. Give it to SLURM again and it goes on from its last checkpoint.
#   sbatch examples/slurm_two_nodes.sh
#SBATCH --job-name=limbeck
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --requeue
# Two minutes before its time is up the training saves its state and ends; --requeue is for nodes that fail.
#SBATCH --signal=USR1@120
#SBATCH --output=slurm-%j.log

# runs/ and cache/ must lie where both nodes see them.
cd "$SLURM_SUBMIT_DIR" || exit 1

# The batch is that of each process: 8 queries here are 64 an update. What is shared by all is made once, by one process.
srun limbeck train \
    data=collection data.collection=beir/nfcorpus \
    backbone=pretrained backbone.model=sentence-transformers/all-MiniLM-L6-v2 \
    student=dense teacher=minilm loss=ckl \
    trainer=gpu trainer.devices=4 trainer.num_nodes=2 trainer.strategy=ddp \
    sampler.batch_size=8 sampler.workers=2
