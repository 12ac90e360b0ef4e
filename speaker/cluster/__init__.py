"""What the API says, as values: nodes, endpoints, advertisements, eligibility."""
