"""The embedded room server: the AudioBridge subset of Janus, for machines with Python alone.

It speaks the Janus API over WebSocket and plain RTP (µ-law, 8 kHz) over UDP, mixes what speakers
send and gives everybody the mix without themselves. It says of itself what it is (`info`), and one
contract suite runs against it and against Janus. Reading order: `gateway` (envelope, sessions),
`bridge` (rooms), `legs` and `mixing` (audio), `media` (sockets and the 20 ms tick), `web`.
"""
