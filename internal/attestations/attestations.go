// Package attestations reads the signatures and attestations of an image in the staging registry:
// signatures, provenance and VEX statements.
//
// [Read] lists the digests of an image and its platforms, and reads the attachments of each digest
// in both forms of storage. It keeps items that a signer named in a policy has signed. All others
// are only counted. The policy decides which of the kept items matter.
package attestations

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/registry"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/internal/vex"
	"github.com/imagegate/imagegate/policy"
)

// Evidence holds the verified attachments of an image.
type Evidence struct {
	Attestations []policy.Attestation
	VEX          []policy.VEXStatement
	// Unverified counts the signatures and statements without a trusted signer.
	Unverified int
}

// ErrNoRoot reports that a policy trusts an identity, but no trusted root was given to verify
// certificates.
var ErrNoRoot = errors.New("a policy names a signer by issuer and subject, and there is no trusted root to verify certificates by")

// UnreadableError reports that a statement by a trusted signer is unreadable. It is not skipped,
// because it may contradict another statement.
type UnreadableError struct {
	PredicateType string
	Signer        string
	Err           error
}

// Error names the statement and its signer.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("reading the %s that %s has signed: %v", e.PredicateType, e.Signer, e.Err)
}

// Unwrap returns the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// TrustIn returns a Trust in the signers of policies. root may be nil if all signers are keys.
func TrustIn(signers []policy.SignerRule, root *trust.Root) (trust.Trust, error) {
	// cosign's bundles name no repository.
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

// publicKey parses the key of a signer. It rejects a key if its encoding in the policy gives
// another fingerprint than signatures do: such a rule would never match.
func publicKey(text string) (crypto.PublicKey, error) {
	keys, err := trust.LoadPublicKeys([]byte(text))
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("it has %d keys", len(keys))
	}
	if named, err := policy.Fingerprint(text); err != nil || named != trust.Fingerprint(keys[0]) {
		return nil, errors.New(`the key is not in the usual form: write it as "openssl pkey -pubin -pubout" does`)
	}
	return keys[0], nil
}

// expression converts a pattern of the policy to a regular expression.
func expression(pattern string) string {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return strings.Join(parts, ".*")
}

// Read returns the verified attachments of an image or index, or of one of its platforms. A failed
// request is an error: the missing attachments may be required by a policy, or may revoke another
// statement.
func Read(ctx context.Context, ref name.Digest, believed trust.Trust, opts ...remote.Option) (Evidence, error) {
	digests, err := digestsOf(ctx, ref, opts)
	if err != nil {
		return Evidence{}, fmt.Errorf("reading what is signed about %s: %w", ref, err)
	}
	var out Evidence
	for _, digest := range digests {
		found, err := trust.Read(ctx, trust.Both, ref.Context().Digest(digest.String()), opts...)
		if err != nil {
			return Evidence{}, err
		}
		for _, s := range found.Signatures {
			out.signature(s, ref.Context(), digest, believed)
		}
		for _, e := range found.Envelopes {
			if err := out.statement(e, digest, believed); err != nil {
				return Evidence{}, fmt.Errorf("reading what is signed about %s: %w", ref, err)
			}
		}
	}
	out.once()
	return out, nil
}

// Item is one attachment of a digest in the staging registry.
type Item struct {
	policy.Attestation // Digest and Signer are empty if Err is set
	// Form is the form of storage: Legacy or Bundle.
	Form trust.Format
	// Exactly one of Signature and Envelope is set: the stored item.
	Signature *trust.Signature
	Envelope  trust.Envelope
	// Err is the reason why no trusted signer could be verified.
	Err error
}

// List returns all attachments of these digests and whether they verify. An attachment that is
// stored in both forms is returned twice.
func List(ctx context.Context, repo name.Repository, digests []v1.Hash, believed trust.Trust, opts ...remote.Option) ([]Item, error) {
	var out []Item
	for _, digest := range digests {
		for _, form := range []trust.Format{trust.Legacy, trust.Bundle} {
			found, err := trust.Read(ctx, form, repo.Digest(digest.String()), opts...)
			if err != nil {
				return nil, err
			}
			for _, s := range found.Signatures {
				out = append(out, signatureItem(s, form, repo, digest, believed))
			}
			for _, e := range found.Envelopes {
				item := Item{Form: form, Envelope: e}
				item.Subject = digest.String()
				st, by, err := believed.VerifyEnvelope(e, digest)
				if item.Err = err; err == nil {
					item.Digest, item.PredicateType, item.Signer = digestOf(st.Payload), st.PredicateType, signerOf(by)
				}
				out = append(out, item)
			}
		}
	}
	return out, nil
}

func signatureItem(s trust.Signature, form trust.Format, repo name.Repository, digest v1.Hash, believed trust.Trust) Item {
	item := Item{Form: form, Signature: &s}
	item.Subject = digest.String()
	by, err := believed.VerifySignature(s, repo, digest)
	signed := s.Payload
	if err == nil && s.Statement != nil {
		signed, err = s.Statement.Payload()
	}
	if item.Err = err; err == nil {
		item.Digest, item.Signer = digestOf(signed), signerOf(by)
	}
	return item
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

func (e *Evidence) signature(s trust.Signature, repo name.Repository, digest v1.Hash, believed trust.Trust) {
	by, err := believed.VerifySignature(s, repo, digest)
	if err != nil {
		e.Unverified++
		return
	}
	signed := s.Payload
	if s.Statement != nil {
		if signed, err = s.Statement.Payload(); err != nil {
			e.Unverified++
			return
		}
	}
	e.Attestations = append(e.Attestations, policy.Attestation{Digest: digestOf(signed), Subject: digest.String(), Signer: signerOf(by)})
}

func (e *Evidence) statement(env trust.Envelope, digest v1.Hash, believed trust.Trust) error {
	st, by, err := believed.VerifyEnvelope(env, digest)
	if err != nil {
		e.Unverified++
		return nil //nolint:nilerr // it counts, and is else as if it were not there
	}
	a := policy.Attestation{Digest: digestOf(st.Payload), Subject: digest.String(), PredicateType: st.PredicateType, Signer: signerOf(by)}
	if a.Provenance, err = provenanceOf(st.PredicateType, st.Predicate); err != nil {
		return &UnreadableError{st.PredicateType, by.String(), err}
	}
	e.Attestations = append(e.Attestations, a)
	if !vex.IsPredicate(st.PredicateType) {
		return nil
	}
	statements, err := vex.FromAttestation(st.PredicateType, st.Predicate, []string{digest.String()})
	if err != nil {
		return &UnreadableError{st.PredicateType, by.String(), err}
	}
	for _, s := range statements {
		e.VEX = append(e.VEX, VEX(s, &a.Signer))
	}
	return nil
}

// once removes duplicates: attachments that are stored in both forms.
func (e *Evidence) once() {
	seen := map[policy.Attestation]bool{}
	e.Attestations = slices.DeleteFunc(e.Attestations, func(a policy.Attestation) bool {
		a.Provenance = nil // follows from the digest
		was := seen[a]
		seen[a] = true
		return was
	})
}

// VEX converts a statement to the form that policies evaluate. signer is nil for an unsigned
// statement.
func VEX(s vex.Statement, signer *policy.Signer) policy.VEXStatement {
	return policy.VEXStatement{ID: s.ID, Aliases: s.Aliases, Products: s.Products, Subcomponents: s.Subcomponents,
		Status: policy.VEXStatus(s.Status), Justification: s.Justification, Impact: s.Impact,
		Document: s.Document, Author: s.Author, Signer: signer, Timestamp: s.Timestamp}
}

func signerOf(s trust.SignerIdentity) policy.Signer {
	return policy.Signer{Key: s.Key, Issuer: s.Issuer, Subject: s.Subject}
}
