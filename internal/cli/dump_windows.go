package cli

// forbidDumps does nothing: Windows writes no dump unless it is configured to.
func forbidDumps() {}
