package trust

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// How cosign stores signatures and envelopes:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#storage
const (
	signatureLayer      = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	envelopeLayer       = types.MediaType("application/vnd.dsse.envelope.v1+json")
	signatureAnnotation = "dev.cosignproject.cosign/signature"
	predicateAnnotation = "predicateType"
)

// Limits on what is read back; a tag of signatures is written by others too.
const (
	maxEntries = 1000
	maxEntry   = 2 * MaxStatement // base64 grows by a third
	maxTagged  = 512 << 20        // bytes below one tag
)

// Attachments are what is stored beside a digest.
type Attachments struct {
	Signatures []Signature
	Envelopes  []Envelope
}

// signatureTag and attestationTag are where cosign looks.
func signatureTag(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".sig")
}

func attestationTag(repo name.Repository, digest v1.Hash) name.Tag {
	return repo.Tag(digest.Algorithm + "-" + digest.Hex + ".att")
}

// Attach stores attachments made by a key. The image itself need not be there.
//
// What others stored stays. Of our own, a signature over the same document and
// an envelope over the same statement are kept instead of piling up another,
// and a statement of the same type about the same subjects is replaced: it is
// newer. Registries cannot compare and swap; so writers in one process take
// turns, and each reads back what it wrote and tries again where another
// process has overwritten it.
func Attach(ctx context.Context, own crypto.PublicKey, repo name.Repository, digest v1.Hash, a Attachments, opts ...remote.Option) error {
	var signatures, envelopes []entry
	for _, s := range a.Signatures {
		signatures = append(signatures, entry{body: s.Payload, mediaType: signatureLayer,
			annotations: map[string]string{signatureAnnotation: s.Base64}})
	}
	for _, e := range a.Envelopes {
		body, _, err := decodeEnvelope(e)
		if err != nil {
			return err
		}
		st, err := parseStatement(body)
		if err != nil {
			return err
		}
		envelopes = append(envelopes, entry{body: e, mediaType: envelopeLayer,
			annotations: map[string]string{signatureAnnotation: "", predicateAnnotation: st.PredicateType}})
	}
	mine := Trust{Keys: []crypto.PublicKey{own}}
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	if err := store(ctx, signatureTag(repo, digest), signatures, mine.replacesSignature, opts); err != nil {
		return err
	}
	return store(ctx, attestationTag(repo, digest), envelopes, mine.replacesEnvelope, opts)
}

// entry is one layer below a tag.
type entry struct {
	body        []byte
	mediaType   types.MediaType
	annotations map[string]string
}

func (e entry) equal(o entry) bool {
	return e.mediaType == o.mediaType && bytes.Equal(e.body, o.body) && e.annotations[signatureAnnotation] == o.annotations[signatureAnnotation]
}

// relation is what an entry that is there is to one that is to be stored.
type relation int

const (
	unrelated relation = iota
	same               // says the same and is ours: keep it
	older              // ours, and to be replaced
)

func (t Trust) replacesSignature(have, want entry) relation {
	if !bytes.Equal(have.body, want.body) || have.mediaType != want.mediaType {
		return unrelated
	}
	if _, err := t.verifyEntry(have); err != nil {
		return unrelated
	}
	return same
}

func (t Trust) replacesEnvelope(have, want entry) relation {
	// The annotation is not signed, and serves only to save work.
	if have.mediaType != want.mediaType || have.annotations[predicateAnnotation] != want.annotations[predicateAnnotation] {
		return unrelated
	}
	old, err := t.statementOf(have.body)
	if err != nil {
		return unrelated
	}
	now, err := t.statementOf(want.body)
	if err != nil || old.PredicateType != now.PredicateType || !slices.Equal(old.Subjects, now.Subjects) {
		return unrelated
	}
	if bytes.Equal(old.Payload, now.Payload) {
		return same
	}
	return older
}

func (t Trust) verifyEntry(e entry) (string, error) {
	return t.verifyDocument(Signature{Payload: e.body, Base64: e.annotations[signatureAnnotation]})
}

// statementOf verifies an envelope, whatever it is about.
func (t Trust) statementOf(e Envelope) (Statement, error) {
	body, signatures, err := decodeEnvelope(e)
	if err != nil {
		return Statement{}, err
	}
	if _, err := t.verifyAny(signatures, pae(body)); err != nil {
		return Statement{}, err
	}
	return parseStatement(body)
}

// turns serialises the writers of one tag in this process.
var turns sync.Map // of string to *sync.Mutex

const (
	maxAttempts  = 8
	firstBackoff = 50 * time.Millisecond
)

// store merges entries into a tag.
func store(ctx context.Context, tag name.Tag, want []entry, relate func(have, want entry) relation, opts []remote.Option) error {
	if len(want) == 0 {
		return nil
	}
	turn, _ := turns.LoadOrStore(tag.Name(), &sync.Mutex{})
	turn.(*sync.Mutex).Lock()
	defer turn.(*sync.Mutex).Unlock()

	backoff := firstBackoff
	for range maxAttempts {
		have, err := readTag(tag, opts)
		if err != nil {
			return err
		}
		merged, changed := merge(have, want, relate)
		if !changed {
			return nil
		}
		if err := writeTag(tag, merged, opts); err != nil {
			return err
		}
		// Read back: another process may have written in between.
		back, err := readTag(tag, opts)
		if err != nil {
			return err
		}
		if _, missing := merge(back, want, relate); !missing {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(backoff):
		}
		backoff *= 2
	}
	return fmt.Errorf("writing %s: others keep overwriting it, %d attempts", tag, maxAttempts)
}

// merge adds what is wanted to what is there, and reports whether that changes
// anything.
func merge(have, want []entry, relate func(have, want entry) relation) ([]entry, bool) {
	out, changed := slices.Clone(have), false
	for _, w := range want {
		if slices.ContainsFunc(out, func(h entry) bool { return h.equal(w) || relate(h, w) == same }) {
			continue
		}
		out = slices.DeleteFunc(out, func(h entry) bool { return relate(h, w) == older })
		out, changed = append(out, w), true
	}
	return out, changed
}

func writeTag(tag name.Tag, entries []entry, opts []remote.Option) error {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, e := range entries {
		var err error
		img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(e.body, e.mediaType), MediaType: e.mediaType, Annotations: e.annotations})
		if err != nil {
			return fmt.Errorf("writing %s: %w", tag, err)
		}
	}
	if err := remote.Write(tag, img, opts...); err != nil {
		return fmt.Errorf("writing %s: %w", tag, err)
	}
	return nil
}

// readTag returns what is below a tag; nothing if there is no such tag. Any
// other failure is an error: taking it for nothing would overwrite what is
// there.
func readTag(tag name.Tag, opts []remote.Option) ([]entry, error) {
	img, err := remote.Image(tag, opts...)
	var status *transport.Error
	if errors.As(err, &status) && status.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", tag, err)
	}
	if len(m.Layers) > maxEntries {
		return nil, fmt.Errorf("reading %s: it has %d entries, more than %d", tag, len(m.Layers), maxEntries)
	}
	var out []entry
	var total int64
	for _, d := range m.Layers {
		if total += d.Size; d.Size < 0 || d.Size > maxEntry || total > maxTagged {
			return nil, fmt.Errorf("reading %s: entry %s is too large", tag, d.Digest)
		}
		l, err := img.LayerByDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", tag, err)
		}
		body, err := readLayer(l, d.Size)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", tag, err)
		}
		out = append(out, entry{body, d.MediaType, d.Annotations})
	}
	return out, nil
}

// readLayer reads exactly size bytes; the library verifies their digest.
func readLayer(l v1.Layer, size int64) (_ []byte, err error) {
	rc, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	body, err := io.ReadAll(io.LimitReader(rc, size+1))
	if err == nil && int64(len(body)) != size {
		err = fmt.Errorf("an entry has %d bytes, not %d", len(body), size)
	}
	return body, err
}

// Read returns what is stored beside a digest, by whomever. Nothing is verified;
// entries of other kinds are passed over.
func Read(ctx context.Context, ref name.Digest, opts ...remote.Option) (Attachments, error) {
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		return Attachments{}, err
	}
	opts = append(slices.Clone(opts), remote.WithContext(ctx))
	var out Attachments
	entries, err := readTag(signatureTag(ref.Context(), digest), opts)
	if err != nil {
		return Attachments{}, err
	}
	for _, e := range entries {
		if e.mediaType == signatureLayer {
			out.Signatures = append(out.Signatures, Signature{Payload: e.body, Base64: e.annotations[signatureAnnotation]})
		}
	}
	if entries, err = readTag(attestationTag(ref.Context(), digest), opts); err != nil {
		return Attachments{}, err
	}
	for _, e := range entries {
		if e.mediaType == envelopeLayer {
			out.Envelopes = append(out.Envelopes, e.body)
		}
	}
	return out, nil
}
