"""What is wrong or missing in labels: suspects to look at, and decisions applied to the user's table."""
