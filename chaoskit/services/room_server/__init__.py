"""A small room server that speaks the AudioBridge requests over WebSocket and plain RTP."""
