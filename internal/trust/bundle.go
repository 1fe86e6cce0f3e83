package trust

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// BundleType is the media type and the artifact type of the bundles that imagegate writes.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// bundleTypes are the media types of the bundles that imagegate reads. All of them store an
// envelope in the same way.
var bundleTypes = []string{
	BundleType,
	"application/vnd.dev.sigstore.bundle+json;version=0.3",
	"application/vnd.dev.sigstore.bundle+json;version=0.2",
	"application/vnd.dev.sigstore.bundle+json;version=0.1",
}

// IsBundle reports whether a media type is one of the bundles that this package reads.
func IsBundle(mediaType string) bool { return slices.Contains(bundleTypes, mediaType) }

// AsBundle returns the envelope as a bundle. If the envelope already is a bundle, AsBundle only
// removes the parts for the legacy format. Otherwise it wraps the envelope in a bundle, which also
// gets the fingerprint of the key as a hint, as cosign writes it.
func (e Envelope) AsBundle(fingerprint string) (Envelope, error) {
	wire, err := parseEnvelope(e)
	if err != nil {
		return nil, err
	}
	if wire.MediaType != "" {
		return e.withoutEnvelopeTimestamps()
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(fingerprint, fingerprintPrefix))
	if err != nil {
		return nil, err
	}
	type publicKey struct {
		Hint string `json:"hint"`
	}
	type material struct {
		PublicKey publicKey `json:"publicKey"`
	}
	return json.Marshal(struct {
		MediaType string        `json:"mediaType"`
		Material  material      `json:"verificationMaterial"`
		Envelope  dsse.Envelope `json:"dsseEnvelope"`
	}{BundleType, material{publicKey{base64.StdEncoding.EncodeToString(sum)}}, wire.Envelope})
}
