// Package lab provides registries and images for tests and for the demo.
//
// The lab uses real components. [StartRegistry] serves the real distribution registry on a free
// local port and records every request. [Image], [Index] and [WithAttestations] build small images
// that package managers, build tools and scanners recognize. The images are byte for byte the same
// on each run. The functions in hostile.go build images that no regular tool would write. A [Hook]
// makes a registry fail, return wrong content or stall.
//
// The package makes no decisions, imports neither the scanners nor the gate, and takes no
// *testing.T, because the demo is a program. It is not part of the shipped binary.
package lab
