"""One trainer, and what is trained with it."""
