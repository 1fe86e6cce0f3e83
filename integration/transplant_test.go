package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	scratch "github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// transplant copies the signatures and statements of one image to another image, in both signature
// formats. An attacker with write access to the registry can do this without a key. change may
// alter each signed message.
func transplant(t *testing.T, from name.Digest, to *remote.Descriptor, repo name.Repository, change func([]byte) []byte) {
	t.Helper()
	digest := hash(t, from.DigestStr())
	for _, suffix := range []string{".sig", ".att"} {
		img, err := remote.Image(tagOf(from.Context(), digest, suffix))
		if isStatus(err, http.StatusNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tagOf(repo, to.Digest, suffix), changeLayers(t, img, suffix == ".att", change)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := remote.Referrers(from)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		img, err := remote.Image(from.Context().Digest(d.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		putReferrer(t, img, to, repo, change)
	}
}

// changeLayers alters the payloads in one of cosign's tags: envelopes of statements, or the
// payloads of signatures.
func changeLayers(t *testing.T, img v1.Image, envelopes bool, change func([]byte) []byte) v1.Image {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	out := mutate.ConfigMediaType(mutate.MediaType(scratch.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, d := range m.Layers {
		data := layerBytes(t, img, d.Digest)
		if envelopes {
			data = changeEnvelope(t, data, change)
		} else {
			data = change(data)
		}
		if out, err = mutate.Append(out, mutate.Addendum{Layer: static.NewLayer(data, d.MediaType), MediaType: d.MediaType, Annotations: d.Annotations}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func layerBytes(t *testing.T, img v1.Image, digest v1.Hash) []byte {
	t.Helper()
	l, err := img.LayerByDigest(digest)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// changeEnvelope alters the payload of a DSSE envelope.
func changeEnvelope(t *testing.T, data []byte, change func([]byte) []byte) []byte {
	t.Helper()
	var envelope map[string]any
	if err := json.Unmarshal(data, &envelope); err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
	if err != nil {
		t.Fatal(err)
	}
	changed := change(body)
	if bytes.Equal(changed, body) {
		return data // the JSON must stay the same byte for byte, because a timestamp may cover all of it
	}
	envelope["payload"] = base64.StdEncoding.EncodeToString(changed)
	return encoded(t, envelope)
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// putReferrer pushes a copy of a bundle whose subject is another image.
func putReferrer(t *testing.T, img v1.Image, to *remote.Descriptor, repo name.Repository, change func([]byte) []byte) {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	m = m.DeepCopy()
	var bundle map[string]json.RawMessage
	if err := json.Unmarshal(layerBytes(t, img, m.Layers[0].Digest), &bundle); err != nil {
		t.Fatal(err)
	}
	bundle["dsseEnvelope"] = changeEnvelope(t, bundle["dsseEnvelope"], change)
	layer := static.NewLayer(encoded(t, bundle), m.Layers[0].MediaType)
	config := static.NewLayer([]byte("{}"), m.Config.MediaType)
	for _, l := range []v1.Layer{layer, config} {
		if err := remote.WriteLayer(repo, l); err != nil {
			t.Fatal(err)
		}
	}
	if m.Layers[0].Digest, err = layer.Digest(); err != nil {
		t.Fatal(err)
	}
	if m.Layers[0].Size, err = layer.Size(); err != nil {
		t.Fatal(err)
	}
	m.Subject = &v1.Descriptor{MediaType: to.MediaType, Digest: to.Digest, Size: to.Size}
	raw := manifest{encoded(t, m), m.MediaType}
	digest, _, err := v1.SHA256(bytes.NewReader(raw.data))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(repo.Digest(digest.String()), raw); err != nil {
		t.Fatal(err)
	}
}

// manifest is a raw manifest, which is pushed byte for byte.
type manifest struct {
	data      []byte
	mediaType types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.data, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

// untouched returns a message unchanged.
func untouched(b []byte) []byte { return b }

// tampered adds a claim to a statement, or a byte to any other payload.
func tampered(b []byte) []byte {
	changed := bytes.Replace(b, []byte(`"predicate":{`), []byte(`"predicate":{"tampered":true,`), 1)
	if bytes.Equal(changed, b) {
		return append(bytes.Clone(b), ' ')
	}
	return changed
}
