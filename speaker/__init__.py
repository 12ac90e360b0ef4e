"""The speaker: answers ARP for the addresses its node announces, and takes over from dead peers."""
