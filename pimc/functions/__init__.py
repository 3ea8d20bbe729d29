"""What the commands do, as functions of the package: program, evaluate and their like."""
