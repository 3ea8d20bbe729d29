"""What goes on the array and why not; its weights as matrices."""
