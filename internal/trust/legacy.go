package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// cosign stores signatures and envelopes as layers of an image, with these media types and
// annotations:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#storage
const (
	SignatureLayer = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	EnvelopeLayer  = types.MediaType("application/vnd.dsse.envelope.v1+json")
	// SignatureAnnotation is the annotation with the signature of a SignatureLayer, in base64.
	SignatureAnnotation = "dev.cosignproject.cosign/signature"
	// PredicateAnnotation is the annotation with the unsigned predicate type of an EnvelopeLayer.
	PredicateAnnotation = "predicateType"
)

// Layer is a signature or a statement in the legacy format: the content of an image layer, and the
// annotations of the layer.
type Layer struct {
	MediaType   types.MediaType // either SignatureLayer or EnvelopeLayer
	Body        []byte
	Annotations map[string]string
}

// Layer converts a signature in the legacy format to a layer.
func (s Signature) Layer() (Layer, error) {
	sig, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil {
		return Layer{}, err
	}
	annotations, err := toAnnotations(s.Bundle, sig)
	if err != nil {
		return Layer{}, err
	}
	annotations[SignatureAnnotation] = s.Base64
	return Layer{SignatureLayer, s.Payload, annotations}, nil
}

// Layer converts a statement with this predicate type to a layer.
func (e Envelope) Layer(predicateType string) (Layer, error) {
	plain, err := e.DSSE()
	if err != nil {
		return Layer{}, err
	}
	annotations, err := e.annotations(plain)
	if err != nil {
		return Layer{}, err
	}
	annotations[SignatureAnnotation], annotations[PredicateAnnotation] = "", predicateType
	return Layer{EnvelopeLayer, plain, annotations}, nil
}

// In the legacy format, these annotations of the layer store the certificate, the log entry and the
// timestamp of a bundle.
const (
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
)

// legacyBundleType is the bundle version that does not require a proof of inclusion in the log.
// cosign's annotation has only the log's promise to include the entry.
const legacyBundleType = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// legacyEntry is cosign's encoding of a log entry with the log's promise.
type legacyEntry struct {
	SignedEntryTimestamp []byte
	Payload              struct {
		Body           string `json:"body"` // in base64
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"` // in hexadecimal
	}
}

type legacyTimestamp struct{ SignedRFC3161Timestamp []byte }

// toAnnotations converts a bundle to annotations. The legacy format can store only some parts: the
// certificate, the first timestamp over the bytes in timestamped, and the first log entry with a
// promise. Only version 1 of Rekor returns promises.
func toAnnotations(raw, timestamped []byte) (map[string]string, error) {
	out := map[string]string{}
	if raw == nil {
		return out, nil
	}
	var b protobundle.Bundle
	if err := protojson.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("reading a bundle: %w", err)
	}
	m := b.GetVerificationMaterial()
	if cert := m.GetCertificate().GetRawBytes(); cert != nil {
		out[certificateAnnotation] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	}
	for _, e := range m.GetTlogEntries() {
		promise := e.GetInclusionPromise().GetSignedEntryTimestamp()
		if len(promise) == 0 {
			continue
		}
		entry := legacyEntry{SignedEntryTimestamp: promise}
		entry.Payload.Body = base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody())
		entry.Payload.IntegratedTime, entry.Payload.LogIndex = e.GetIntegratedTime(), e.GetLogIndex()
		entry.Payload.LogID = hex.EncodeToString(e.GetLogId().GetKeyId())
		text, err := json.Marshal(entry)
		if err != nil {
			return nil, err
		}
		out[logAnnotation] = string(text)
		break
	}
	if raw := timestampOver(m.GetTimestampVerificationData().GetRfc3161Timestamps(), timestamped); raw != nil {
		text, err := json.Marshal(legacyTimestamp{raw})
		if err != nil {
			return nil, err
		}
		out[timestampAnnotation] = string(text)
	}
	return out, nil
}

// annotations returns the annotations for the bundle of the envelope, or none for a plain envelope.
// stored is the form of the envelope that is stored and timestamped.
func (e Envelope) annotations(stored []byte) (map[string]string, error) {
	wire, err := parseEnvelope(e)
	if err != nil || wire.MediaType == "" {
		return map[string]string{}, err
	}
	return toAnnotations(e, stored)
}

// fromAnnotations reverses toAnnotations. Without a certificate it returns nil, because such a
// signature is verified with a key alone.
func fromAnnotations(annotations map[string]string) (*protobundle.Bundle, error) {
	text, ok := annotations[certificateAnnotation]
	if !ok || text == "" {
		return nil, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the certificate is not in PEM format")
	}
	m := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{
		Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes}}}
	if text := annotations[logAnnotation]; text != "" {
		entry, err := logEntry(text)
		if err != nil {
			return nil, fmt.Errorf("reading a log entry: %w", err)
		}
		m.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if text := annotations[timestampAnnotation]; text != "" {
		var raw legacyTimestamp
		if err := json.Unmarshal([]byte(text), &raw); err != nil {
			return nil, fmt.Errorf("reading a timestamp: %w", err)
		}
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: raw.SignedRFC3161Timestamp}}}
	}
	return &protobundle.Bundle{MediaType: legacyBundleType, VerificationMaterial: m}, nil
}

func logEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var e legacyEntry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, err
	}
	body, err := base64.StdEncoding.DecodeString(e.Payload.Body)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(e.Payload.LogID)
	if err != nil {
		return nil, err
	}
	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(body, &kind); err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: e.Payload.LogIndex, IntegratedTime: e.Payload.IntegratedTime, CanonicalizedBody: body,
		LogId:            &protocommon.LogId{KeyId: id},
		KindVersion:      &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: e.SignedEntryTimestamp},
	}, nil
}

// Signature converts the layer to a signature. If it returns an error, the signature has no bundle.
func (l Layer) Signature() (Signature, error) {
	sig := Signature{Payload: l.Body, Base64: l.Annotations[SignatureAnnotation]}
	b, err := fromAnnotations(l.Annotations)
	if err != nil || b == nil {
		return sig, err
	}
	raw, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil {
		return sig, err
	}
	sum := sha256.Sum256(l.Body)
	(&sign.PlainData{Data: l.Body}).Bundle(b, raw, sum[:], protocommon.HashAlgorithm_SHA2_256)
	sig.Bundle, err = encodeBundle(b)
	return sig, err
}

// Envelope converts the layer to an envelope.
func (l Layer) Envelope() (Envelope, error) {
	b, err := fromAnnotations(l.Annotations)
	if err != nil || b == nil {
		return l.Body, err
	}
	var wire dsse.Envelope
	if err := json.Unmarshal(l.Body, &wire); err != nil {
		return nil, err
	}
	payload, err := wire.DecodeB64Payload()
	if err != nil {
		return nil, err
	}
	env := &protodsse.Envelope{PayloadType: wire.PayloadType, Payload: payload}
	for _, s := range wire.Signatures {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s.Sig))
		if err != nil {
			return nil, err
		}
		env.Signatures = append(env.Signatures, &protodsse.Signature{Sig: raw, Keyid: s.KeyID})
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env}
	return encodeBundle(b)
}
