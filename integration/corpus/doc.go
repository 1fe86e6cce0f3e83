// Package corpus holds look-alikes of popular images and the verdict that each must get.
//
// images.yaml describes the images: how each is made, the verdict of the starter policy and the
// reason, and the vulnerable package that is planted to see it denied. The tests make the images
// from Debian packages and from files, and compare what imagegate reports with the expected
// verdict and with what syft and grype report. "make test-corpus" builds the programs and runs it.
//
// The package holds no code of the product and links none of it.
package corpus
