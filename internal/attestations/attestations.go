// Package attestations reads the attachments of an image in the staging registry: signatures,
// provenance and VEX statements.
//
// [Read] lists the digests of an image and its platforms, and reads the attachments of each digest
// in both signature formats, once per run. [Attached.Evidence] returns the attachments by signers
// that a policy names, and only counts the others. The policy decides which attachments matter, and
// which are copied to the approved registry.
package attestations

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/internal/vex"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Evidence has the verified attachments of an image.
type Evidence struct {
	Attestations []evidence.Attestation
	VEX          []evidence.VEXStatement
	// Unverified counts the signatures and statements without a trusted signer.
	Unverified int
}

// ErrNoRoot reports that a policy trusts an identity, but no trusted root was given to verify
// certificates.
var ErrNoRoot = errors.New("a policy names a signer by issuer and subject, but no trusted root is available to verify certificates")

// UnreadableError reports that a statement by a trusted signer is unreadable. The statement is not
// skipped, because it may contradict another statement.
type UnreadableError struct {
	PredicateType string
	Signer        string
	Err           error
}

// Error names the statement and its signer.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("reading the statement %s signed by %s: %v", e.PredicateType, e.Signer, e.Err)
}

// Unwrap returns the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// TrustIn returns a Trust in the signers that policies list. root may be nil if all signers are
// keys.
func TrustIn(signers []policy.SignerRule, root *trust.Root) (trust.Trust, error) {
	// AnyRepository is set because bundles by cosign do not name a repository.
	t := trust.Trust{Root: root, AnyRepository: true}
	for _, s := range signers {
		if s.Key != "" {
			key, err := publicKey(s.Key)
			if err != nil {
				return trust.Trust{}, fmt.Errorf("signer %q at %s: %w", s.Name, s.Position, err)
			}
			t.Keys = append(t.Keys, key)
			continue
		}
		if root == nil {
			return trust.Trust{}, fmt.Errorf("signer %q at %s: %w", s.Name, s.Position, ErrNoRoot)
		}
		identity := trust.Identity{Issuer: s.Issuer, Subject: s.Subject}
		if strings.Contains(s.Issuer, "*") {
			identity.Issuer, identity.IssuerPattern = "", expression(s.Issuer)
		}
		if strings.Contains(s.Subject, "*") {
			identity.Subject, identity.SubjectPattern = "", expression(s.Subject)
		}
		t.Identities = append(t.Identities, identity)
	}
	return t, nil
}

// publicKey parses the key of a signer. It rejects a key with an unusual encoding. The fingerprint
// of such a key in the policy differs from its fingerprint in signatures, so no rule with the key
// would ever match.
func publicKey(text string) (crypto.PublicKey, error) {
	keys, err := trust.LoadPublicKeys([]byte(text))
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("expected one public key, found %d", len(keys))
	}
	if named, err := policy.Fingerprint(text); err != nil || named != trust.Fingerprint(keys[0]) {
		return nil, errors.New(`the encoding of the key is not canonical: convert it with "openssl pkey -pubin -pubout"`)
	}
	return keys[0], nil
}

// expression converts a pattern of the policy to a regular expression. "*" becomes ".*", and every
// other character matches only itself.
func expression(pattern string) string {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return strings.Join(parts, ".*")
}

// Attached is everything that is attached to an image in the staging registry.
type Attached struct {
	// Signers are the trusted signers of the policies.
	Signers trust.Trust
	// Items has one entry for each attachment and signature format.
	Items []Item
}

// Item is one attachment of a digest in the staging registry.
type Item struct {
	evidence.Attestation // The fields Digest and Signer are empty if Err is set.
	// Form is the signature format: Legacy or Bundle.
	Form trust.Format
	// Signature or Envelope is the stored item. Exactly one of them is set.
	Signature *trust.Signature
	Envelope  trust.Envelope
	// Err is the reason why the signature of a trusted signer could not be verified. Nil means that
	// the signature is verified.
	Err error

	predicate json.RawMessage // the predicate of a verified statement
}

// Read returns the attachments of an image or index and of its platforms, and verifies for each
// whether a trusted signer signed it. A failed request is an error: a policy may require the
// missing attachments, or they may revoke another statement. An attachment that is stored in both
// signature formats is returned twice.
func Read(ctx context.Context, ref name.Digest, signers trust.Trust, opts ...remote.Option) (*Attached, error) {
	digests, err := digestsOf(ctx, ref, opts)
	if err != nil {
		return nil, err
	}
	out := &Attached{Signers: signers}
	for _, digest := range digests {
		for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
			found, err := attach.Read(ctx, form, ref.Context().Digest(digest.String()), opts...)
			if err != nil {
				return nil, err
			}
			for _, s := range found.Signatures {
				out.Items = append(out.Items, signatureItem(s, form, ref.Context(), digest, signers))
			}
			for _, e := range found.Envelopes {
				out.Items = append(out.Items, statementItem(e, form, digest, signers))
			}
		}
	}
	return out, nil
}

func signatureItem(s trust.Signature, form trust.Format, repo name.Repository, digest v1.Hash, signers trust.Trust) Item {
	item := Item{Form: form, Signature: &s}
	item.Subject = digest.String()
	by, err := signers.VerifySignature(s, repo, digest)
	signed := s.Payload
	if err == nil && s.Statement != nil {
		signed, err = s.Statement.Payload()
	}
	if item.Err = err; err == nil {
		item.Digest, item.Signer = digestOf(signed), signerOf(by)
	}
	return item
}

func statementItem(e trust.Envelope, form trust.Format, digest v1.Hash, signers trust.Trust) Item {
	item := Item{Form: form, Envelope: e}
	item.Subject = digest.String()
	st, by, err := signers.VerifyEnvelope(e, digest)
	if item.Err = err; err == nil {
		item.Digest, item.PredicateType, item.Signer = digestOf(st.Payload), st.PredicateType, signerOf(by)
		item.predicate = st.Predicate
	}
	return item
}

// Evidence returns the attachments by trusted signers, without duplicates, and the VEX statements
// in them. A trusted statement that is unreadable is an [UnreadableError].
func (a *Attached) Evidence() (Evidence, error) {
	var out Evidence
	for _, item := range a.Items {
		if err := out.add(item); err != nil {
			return Evidence{}, err
		}
	}
	out.deduplicate()
	return out, nil
}

// digestsOf returns the digest of the image and, for an index, the digests of its platforms.
func digestsOf(ctx context.Context, ref name.Digest, opts []remote.Option) ([]v1.Hash, error) {
	d, err := remote.Get(ref, registry.With(ctx, opts)...)
	if err != nil {
		return nil, err
	}
	out := []v1.Hash{d.Digest}
	if !d.MediaType.IsIndex() {
		return out, nil
	}
	index, err := registry.ParseIndex(d.Manifest)
	if err != nil {
		return nil, err
	}
	for _, child := range index.Platforms {
		if !slices.Contains(out, child.Digest) {
			out = append(out, child.Digest)
		}
	}
	return out, nil
}

func (e *Evidence) add(item Item) (err error) {
	if item.Err != nil {
		e.Unverified++
		return nil //nolint:nilerr // an unverified item is only counted
	}
	a := item.Attestation
	if a.Provenance, err = provenanceOf(a.PredicateType, item.predicate); err != nil {
		return &UnreadableError{a.PredicateType, a.Signer.String(), err}
	}
	e.Attestations = append(e.Attestations, a)
	if !vex.IsPredicate(a.PredicateType) {
		return nil
	}
	statements, err := vex.FromAttestation(a.PredicateType, item.predicate, []string{a.Subject})
	if err != nil {
		return &UnreadableError{a.PredicateType, a.Signer.String(), err}
	}
	for _, s := range statements {
		e.VEX = append(e.VEX, VEX(s, &a.Signer))
	}
	return nil
}

// deduplicate keeps one of two attachments if the same item is stored in both signature formats.
func (e *Evidence) deduplicate() {
	seen := map[evidence.Attestation]bool{}
	e.Attestations = slices.DeleteFunc(e.Attestations, func(a evidence.Attestation) bool {
		a.Provenance = nil // equal digests have equal provenance, so do not compare it
		was := seen[a]
		seen[a] = true
		return was
	})
}

// VEX converts a VEX statement to the type that policies evaluate. signer is nil if the statement
// is not signed.
func VEX(s vex.Statement, signer *evidence.Signer) evidence.VEXStatement {
	return evidence.VEXStatement{ID: s.ID, Aliases: s.Aliases, Products: s.Products, Subcomponents: s.Subcomponents,
		Status: evidence.VEXStatus(s.Status), Justification: s.Justification, Impact: s.Impact,
		Document: s.Document, Author: s.Author, Signer: signer, Timestamp: s.Timestamp}
}

func signerOf(s trust.SignerIdentity) evidence.Signer {
	return evidence.Signer{Key: s.Key, Issuer: s.Issuer, Subject: s.Subject}
}
