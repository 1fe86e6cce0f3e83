// Package unpack compares the files that container runtimes unpack from an image with the files
// that the gate sees. A file that only a runtime has would run without being scanned.
//
// It is a module of its own because the product must not depend on the runtimes' libraries. See
// "make test-unpack".
package unpack
