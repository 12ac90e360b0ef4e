"""What FRR takes and refuses, against AdmitLB's own rules: real bgpd and bfdd, of two releases."""
