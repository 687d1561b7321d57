"""What a stack runs; each service is started as `python -m chaoskit.services.NAME`."""
