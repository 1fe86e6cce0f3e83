package formats

// SBOM has the SBOM documents of one platform of an image, exactly as the gate created them.
type SBOM struct {
	Platform        string // such as "linux/arm64/v8"
	SPDX, CycloneDX []byte
}

// spdx returns the SPDX 2.3 document.
func spdx(s SBOM) []byte { return s.SPDX }

// cycloneDX returns the CycloneDX 1.6 document.
func cycloneDX(s SBOM) []byte { return s.CycloneDX }
