package formats

// SBOM has the documents about one platform of an image, as the gate made them.
type SBOM struct {
	Platform        string // such as "linux/arm64/v8"
	SPDX, CycloneDX []byte
}

// spdx returns the SPDX 2.3 document.
func spdx(s SBOM) []byte { return s.SPDX }

// cycloneDX returns the CycloneDX 1.6 document.
func cycloneDX(s SBOM) []byte { return s.CycloneDX }
