"""What admission, lint, plan and conditions say of each kind: pure functions of documents."""
