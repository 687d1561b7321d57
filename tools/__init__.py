"""What `make` needs before, and besides, the package: setup and the running of tests."""
