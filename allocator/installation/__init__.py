"""What `admitlb install` does: an overlay with choices of one's own, rendered and applied by kubectl."""
