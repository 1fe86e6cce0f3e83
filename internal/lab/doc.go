// Package lab makes registries and images on the spot, for tests and for the
// demonstration.
//
// Its one job is to stand in for the world around the gate with real parts:
// [StartRegistry] serves the real distribution registry on a free port of this
// machine and keeps a record of every request; [Image], [Index] and
// [WithAttestations] build small images that package managers, build tools and
// scanners would recognise, byte for byte the same on each run; the functions
// of hostile.go build those that no honest tool would write; a [Hook] makes a
// registry fail, lie or stall.
//
// It judges nothing, knows neither the scanners nor the gate, and takes no
// *testing.T: the demonstration uses it as a program. It is not part of the
// shipped binary.
package lab
