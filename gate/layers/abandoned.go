package layers

// Sweep removes the folders that crashed runs left in dir. [New] also does this.
func Sweep(dir string) { sweep(dir) }
