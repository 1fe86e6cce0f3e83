package layers

// Sweep removes the folders in dir that crashed runs left. [New] does this, too.
func Sweep(dir string) { sweep(dir) }
