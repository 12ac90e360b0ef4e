"""`admitlb doctor`: what an experienced operator looks at in a live cluster.

Facts are gathered in one place (`commands/cluster_facts.py`); each check is a pure function from facts to findings;
`catalogue` is the table of them. Nothing here writes, and no Secret is ever read.
"""
