"""`make demo`: the whole of AdmitLB on a cluster in a box, told step by step, every claim checked."""
