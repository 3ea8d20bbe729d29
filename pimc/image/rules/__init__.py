"""What must hold between the parts of an image: rules that every load asks."""
