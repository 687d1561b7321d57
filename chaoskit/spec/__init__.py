"""YAML files to experiments, incident records and stacks, with every error at once."""
