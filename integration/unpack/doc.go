// Package unpack compares the files that container runtimes make of an image's layers
// with the files that the gate sees: a file that a runtime has and the gate has not would
// run without having been scanned.
//
// It is a module of its own, as the runtimes' libraries are not the product's. See
// "make test-unpack".
package unpack
