// Package corpus holds look-alikes of popular images, with the expected verdict for each.
//
// images.yaml describes the images: how each is made, the verdict of the starter policy with the
// reason, and a vulnerable package that is planted into the image and must be denied. The tests
// make the images from Debian packages and from files. They compare imagegate's report with the
// expected verdict, and with the reports of syft and grype. "make test-corpus" builds the programs
// and runs the tests.
//
// The package does not import the product: the tests run the programs.
package corpus
