"""What `make release` does: everything a release consists of, from one commit, into one folder."""
