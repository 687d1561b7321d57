"""The embedded fault proxy: Toxiproxy's HTTP API over TCP links, and UDP links with dynamic peers."""
