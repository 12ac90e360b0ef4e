"""What is known of claims, and the writes that make a decision true."""
