"""Commands that write dies and run networks on them."""
