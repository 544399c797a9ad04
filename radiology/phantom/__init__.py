"""The phantom chest: synthetic studies with known truth."""
