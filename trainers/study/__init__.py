"""Studies of our own: rows of trainings, each judged by the same attacks, a table of them."""
