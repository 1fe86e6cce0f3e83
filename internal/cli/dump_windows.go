package cli

// forbidDumps does nothing, because Windows does not write core dumps by default.
func forbidDumps() {}
