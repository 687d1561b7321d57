"""The embedded fault proxy: Toxiproxy's HTTP API for TCP links, and UDP links."""
