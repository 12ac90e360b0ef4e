"""The status page: pools, addresses and who announces them, for people with a browser and nothing else."""
