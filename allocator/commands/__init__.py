"""The commands for people and pipelines: offline (`lint`, `plan`) and on a live cluster (`explain`, `pools`)."""
