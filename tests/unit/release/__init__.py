"""What `make release` puts together; that it does is tests/cluster's."""
