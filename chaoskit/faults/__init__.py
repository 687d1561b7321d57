"""One file a fault kind: parameters, undo, inject, effect, heal."""
