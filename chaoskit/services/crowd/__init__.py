"""Shards of participants that really send and really listen."""
