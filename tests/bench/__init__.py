"""What AdmitLB costs, each figure beside a baseline of the same run: `make bench` for allocation, and programs that
measure the speaker on the wire, whose `measure_*` functions others call."""
