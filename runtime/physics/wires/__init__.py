"""Networks of wires and cells, solved exactly."""
