package layers

// Sweep removes what runs that crashed have left in dir. [New] does so too.
func Sweep(dir string) { sweep(dir) }
