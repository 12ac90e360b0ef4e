"""The specification of AdmitLB, tier by tier; `tests.lab` is the cluster in a box that it runs on."""
