"""The beacon and the measures of what was heard."""
