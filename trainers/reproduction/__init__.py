"""The paper's tables and figures: which runs and attacks they need, and how they are laid out."""
