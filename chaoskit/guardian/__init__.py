"""The only spawner: holds every child, renews leases, heals and tears down when the engine is gone."""
