// The Go compiler accepts functions without a body, as in licenses.go, only in a package with an
// assembly file.
