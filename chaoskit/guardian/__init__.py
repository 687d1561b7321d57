"""The only spawner: holds every process of a run, heals and ends it when the engine is gone."""
