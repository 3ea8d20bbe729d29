"""What the compiler knows of one network on one chip: records, rules, geometry."""
