"""What Flux and Argo CD do to a cluster, call by call, and a cluster to do it to."""
