"""A search over eta and gamma: its trials, what they share, and what is shown of them."""
