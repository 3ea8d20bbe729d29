"""Where to spend cells: what each mapping costs each layer, and the choice that holds a drop."""
