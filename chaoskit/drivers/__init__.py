"""One SDK, one file: the doors to the fault proxy, HTTP and the kernel."""
