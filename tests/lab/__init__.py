"""A real Kubernetes cluster in a box: real control-plane processes, nodes as network namespaces."""
