// Package unpack compares the files that container runtimes unpack from an image with the files
// that the gate sees. A file that only a runtime sees would run without being scanned. "make
// test-unpack" runs the tests.
//
// The package has its own Go module, so that imagegate does not depend on the runtimes' libraries.
package unpack
