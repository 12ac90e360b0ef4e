"""The checks, one file a noun: each yields findings from facts, and reads nothing else."""
