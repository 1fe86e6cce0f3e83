package cli

// forbidDumps does nothing: Windows writes no dump unless it was set up to.
func forbidDumps() {}
