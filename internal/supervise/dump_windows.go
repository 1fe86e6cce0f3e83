package supervise

// ForbidDumps does nothing: Windows writes no dump unless it is configured to.
func ForbidDumps() {}
