"""The reconciler: makes Services, claims and status agree, whatever happened to any of them."""
