"""The only spawner: holds every child, renews leases, heals when the engine is gone."""
