package gate

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagegate/imagegate/gate/layers"
)

// attached is an attestation manifest, with the content of its blobs, that a test adds to an index.
type attached struct {
	manifest v1.Manifest
	config   string
	blobs    []string
}

func (a *attached) MediaType() (types.MediaType, error) { return a.manifest.MediaType, nil }
func (a *attached) RawConfigFile() ([]byte, error)      { return []byte(a.config), nil }
func (a *attached) RawManifest() ([]byte, error)        { return json.Marshal(a.manifest) }
func (a *attached) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == a.manifest.Config.Digest {
		return partial.ConfigLayer(a)
	}
	for _, b := range a.blobs {
		if l := static.NewLayer([]byte(b), inTotoLayer); digestOf(b) == h {
			return l, nil
		}
	}
	return nil, errors.New("no such blob")
}

func digestOf(s string) v1.Hash {
	h, _, _ := v1.SHA256(strings.NewReader(s)) // Reading a string never fails.
	return h
}

// withAttached returns an index with img and with an attestation manifest about img.
func withAttached(t *testing.T, img v1.Image, configType types.MediaType, config string, blobs ...string) v1.ImageIndex {
	t.Helper()
	subject, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	a := &attached{config: config, blobs: blobs, manifest: v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: configType, Digest: digestOf(config), Size: int64(len(config))}}}
	for _, b := range blobs {
		kind := inTotoLayer
		if strings.HasPrefix(b, `{"payloadType"`) {
			kind = "application/vnd.in-toto.provenance+dsse"
		}
		a.manifest.Layers = append(a.manifest.Layers, v1.Descriptor{MediaType: kind, Digest: digestOf(b), Size: int64(len(b))})
	}
	child, err := partial.CompressedToImage(a)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img}, mutate.IndexAddendum{Add: child, Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", attachmentSubject: subject.String()},
	}})
}

// statement returns an in-toto statement about the given subjects, each a JSON object.
func statement(subjects ...string) string {
	return `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[` +
		strings.Join(subjects, ",") + `],"predicate":{"builder":{"id":""}}}`
}

// signedStatement wraps a statement in a DSSE envelope. The signature is invalid, because the gate
// does not verify it.
func signedStatement(s string) string {
	return fmt.Sprintf(`{"payloadType":"application/vnd.in-toto+json","payload":%q,"signatures":[{"keyid":"","sig":"eA=="}]}`, base64.StdEncoding.EncodeToString([]byte(s)))
}

func about(digest v1.Hash) string {
	return fmt.Sprintf(`{"name":"_","digest":{"sha256":%q}}`, digest.Hex)
}

// polyglot returns a statement that is also a tar archive.
func polyglot(t *testing.T, subject v1.Hash) string {
	t.Helper()
	text := statement(about(subject))
	text = `{"x":"` + strings.Repeat("a", 512-len(`{"x":"`)) + `",` + text[1:]
	block := []byte(text[:512])
	copy(block[100:], "0000644 0000000 0000000 00000001000 00000000000 ")
	copy(block[148:156], "        ")
	block[156] = '0'
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o  ", sum))
	return string(block) + text[512:]
}

// packed returns an archive as gzip-compressed bytes.
func packed(t *testing.T, archive []byte) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	_, err := io.Copy(z, bytes.NewReader(archive))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// TestAttestationThatIsNotWhatBuildxWritesIsRefused checks that an attestation manifest is refused
// if its content differs from the content that buildx writes. Otherwise the gate would promote it
// without a scan, and some runtimes could run it by its digest.
func TestAttestationThatIsNotWhatBuildxWritesIsRefused(t *testing.T) {
	h := newTester(t)
	img := h.image(clean)
	subject, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	good, other := statement(about(subject)), v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	config := func(os, settings string, ids ...string) string {
		return fmt.Sprintf(`{"architecture":"unknown","os":%q,"config":{%s},"rootfs":{"type":"layers","diff_ids":[%s]}}`, os, settings, strings.Join(ids, ","))
	}
	id := func(s string) string { return `"` + digestOf(s).String() + `"` }
	archive := archiveOf(t, 0, []member{{name: "bin/sh", content: "not scanned"}})
	if _, err := tar.NewReader(strings.NewReader(polyglot(t, subject))).Next(); err != nil {
		t.Fatalf("the archive is not one: %v", err)
	}
	for name, c := range map[string]struct {
		configType types.MediaType
		config     string
		blob       string
		want       string // a part of the error; empty if no error is expected
	}{
		"as buildx writes it":               {types.OCIConfigJSON, config("unknown", "", id(good)), good, ""},
		"config without settings":           {types.OCIConfigJSON, `{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`, good, ""},
		"empty config":                      {emptyConfig, "{}", good, ""},
		"image without a name":              {emptyConfig, "{}", statement(), ""},
		"about another image too":           {emptyConfig, "{}", statement(about(other), about(subject)), ""},
		"signed by Docker's signer":         {types.OCIConfigJSON, `{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`, signedStatement(good), ""},
		"signed about another image":        {emptyConfig, "{}", signedStatement(statement(about(other))), "not about image"},
		"signed, and no statement":          {emptyConfig, "{}", strings.Replace(signedStatement(good), "in-toto", "other", 1), "is not a statement"},
		"signed config of an image":         {types.OCIConfigJSON, config("", "", id(good)), signedStatement(good), "must not name a platform"},
		"layer of an image":                 {types.OCIConfigJSON, config("unknown", "", id(packed(t, archive))), packed(t, archive), "is an archive"},
		"layer that is not compressed":      {types.OCIConfigJSON, config("unknown", "", id(string(archive))), string(archive), "is an archive"},
		"statement that is an archive":      {types.OCIConfigJSON, config("unknown", ""), polyglot(t, subject), "is an archive"},
		"config of an image":                {types.OCIConfigJSON, config("linux", "", id(good)), good, "must not name a platform"},
		"config of a container":             {types.OCIConfigJSON, config("unknown", `"Entrypoint":["/bin/sh"]`, id(good)), good, "settings"},
		"layers that are not the statement": {types.OCIConfigJSON, config("unknown", "", id(string(archive))), good, "not one of the statements"},
		"config that is said to be empty":   {emptyConfig, config("linux", ""), good, "must be the empty document"},
		"config that is read in two ways":   {types.OCIConfigJSON, strings.Replace(config("unknown", ""), `{`, `{"OS":"linux",`, 1), good, "spelled"},
		"statement about another image":     {emptyConfig, "{}", statement(about(other)), "not about image"},
		"no statement":                      {emptyConfig, "{}", `{"a":1}`, "not an in-toto statement"},
		"no JSON":                           {emptyConfig, "{}", "statement", "as an in-toto statement"},
		"no predicate":                      {emptyConfig, "{}", strings.Replace(good, "predicateType", "predicatetype", 1), "spelled"},
	} {
		t.Run(name, func(t *testing.T) {
			src := h.push("app:1", withAttached(t, img, c.configType, c.config, c.blob))
			if c.want == "" {
				if r := h.check(h.gate(blockCritical), src); !r.Decision.Passed || len(r.Image.Attachments) != 1 {
					t.Errorf("%d attachments, %+v", len(r.Image.Attachments), r.Decision.Violations)
				}
				return
			}
			r, err := h.gate(blockCritical).Check(t.Context(), src, ExternalEvidence{})
			if err == nil {
				r.Close()
				t.Fatal("no error")
			}
			var refused *layers.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "attestation manifest sha256:") {
				t.Error(err)
			}
		})
	}
}

// TestImageForNoPlatformIsRefused checks that an image without an OS or architecture is refused,
// and that the check does not crash. Some runtimes would assume their own platform.
func TestImageForNoPlatformIsRefused(t *testing.T) {
	h := newTester(t)
	for missing, without := range map[string]func(*v1.ConfigFile){
		`"os"`:           func(c *v1.ConfigFile) { c.OS = "" },
		`"architecture"`: func(c *v1.ConfigFile) { c.Architecture = "" },
		`no "os"`:        func(c *v1.ConfigFile) { c.OS, c.Architecture = "", "" },
	} {
		img := h.image(clean)
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		without(config)
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		child := func(p *v1.Platform) v1.ImageIndex {
			return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
		}
		amd64 := func(o *Options) { o.Platform = "linux/amd64" }
		for name, c := range map[string]struct {
			src    Source
			change func(*Options)
		}{
			"image":                    {h.push("image:1", img), func(*Options) {}},
			"image, asked for":         {h.push("image:2", img), amd64},
			"child":                    {h.push("child:1", child(&v1.Platform{OS: "linux", Architecture: "amd64"})), func(*Options) {}},
			"child, asked for":         {h.push("child:2", child(&v1.Platform{OS: "linux", Architecture: "amd64"})), amd64},
			"child without a platform": {h.push("child:3", child(nil)), func(*Options) {}},
		} {
			err := h.refuse(h.gate(blockCritical, c.change), c.src)
			var refused *layers.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), missing) {
				t.Errorf("%s without %s: %v", name, missing, err)
			}
		}
	}
}
