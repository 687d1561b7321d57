"""The application's backend: which room an event is in, leases, grants, fresh rooms."""
