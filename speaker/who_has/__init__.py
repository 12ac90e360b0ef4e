"""`admitlb who-has`: asking the LAN who answers for an address, and listening to who announces one.

For people: from a node, a speaker's container or any machine of the LAN. The speaker itself imports none of it.
"""
