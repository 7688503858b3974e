"""What the strongest suite was chosen by and what it leaves: the rows of docs/evaluation.md."""
