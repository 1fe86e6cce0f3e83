package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// image is an image in an OCI layout of the store.
type image struct {
	dir    string
	digest string
}

// image builds the image of a recipe, with its vulnerable package if planted is set.
func (s *store) image(r recipe, planted bool) image {
	s.Helper()
	recipes := r.Layers
	var layers []layer
	for _, l := range recipes {
		layers = append(layers, s.make(l))
	}
	if planted {
		recipes = append(recipes[:len(recipes):len(recipes)], layerRecipe{History: "COPY planted / # corpus"})
		layers = append(layers, s.planted(r.Plant, layers))
	}
	var steps []map[string]any
	for i, l := range recipes {
		created := l.History
		if created == "" {
			created = l.defaultHistory(i)
		}
		steps = append(steps, map[string]any{"created": createdText, "created_by": created})
	}
	for _, line := range r.Config.History {
		steps = append(steps, map[string]any{"created": createdText, "created_by": line, "empty_layer": true})
	}
	name := r.Name
	if planted {
		name += "-planted"
	}
	return s.layout(name, layers, r.Config.document(layers, steps))
}

var createdText = created.Format("2006-01-02T15:04:05Z")

// defaultHistory returns the history line that a builder would write for the layer.
func (l layerRecipe) defaultHistory(i int) string {
	switch {
	case l.Base:
		return "# debian.sh --arch 'amd64' out/ 'bookworm' '@1704067200'"
	case len(l.Debian) > 0:
		return "RUN /bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends " + strings.Join(l.Debian, " ") +
			"; rm -rf /var/lib/apt/lists/* # buildkit"
	case i == 0:
		return "COPY / / # buildkit"
	}
	return "COPY . . # buildkit"
}

// document returns the configuration of the image as a JSON document.
func (c config) document(layers []layer, history []map[string]any) map[string]any {
	diffIDs := []string{}
	for _, l := range layers {
		diffIDs = append(diffIDs, "sha256:"+l.DiffID)
	}
	settings := map[string]any{"Env": append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, c.Env...)}
	set := func(name string, value any, ok bool) {
		if ok {
			settings[name] = value
		}
	}
	set("User", c.User, c.User != "")
	set("Entrypoint", c.Entrypoint, len(c.Entrypoint) > 0)
	set("Cmd", c.Cmd, len(c.Cmd) > 0)
	set("WorkingDir", c.WorkingDir, c.WorkingDir != "")
	set("Labels", c.Labels, len(c.Labels) > 0)
	set("ExposedPorts", keys(c.Ports), len(c.Ports) > 0)
	set("Volumes", keys(c.Volumes), len(c.Volumes) > 0)
	return map[string]any{"architecture": "amd64", "os": "linux", "created": createdText, "config": settings,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}, "history": history}
}

func keys(names []string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, n := range names {
		out[n] = struct{}{}
	}
	return out
}

// planted returns the layer that adds the vulnerable package to an image. below are the layers
// under it.
func (s *store) planted(p plant, below []layer) layer {
	s.Helper()
	if p.Deb == "" {
		return s.make(p.layerRecipe)
	}
	source, version, _ := strings.Cut(p.Deb, " ")
	for i := len(below) - 1; i >= 0; i-- {
		if below[i].Status == "" {
			continue
		}
		status, err := plantDeb(below[i].Status, source, version)
		if err != nil {
			s.Fatalf("planting %s: %v", p.Deb, err)
		}
		return s.make(layerRecipe{Files: map[string]string{below[i].StatusPath: status}})
	}
	s.Fatalf("planting %s: no layer has Debian packages", p.Deb)
	return layer{}
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// layout writes the image as an OCI layout. Its layers are links to the layer files in the store.
func (s *store) layout(name string, layers []layer, configuration map[string]any) image {
	s.Helper()
	dir := filepath.Join(s.dir, "images", name)
	if err := os.RemoveAll(dir); err != nil {
		s.Fatal(err)
	}
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		s.Fatal(err)
	}
	put := func(mediaType string, v any) map[string]any {
		data := encode(s, v)
		sum := sha256.Sum256(data)
		digest := hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(blobs, digest), data, 0o644); err != nil {
			s.Fatal(err)
		}
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + digest, "size": len(data)}
	}
	list := []map[string]any{}
	for _, l := range layers {
		if err := os.Link(s.blob(l.Digest), filepath.Join(blobs, l.Digest)); err != nil && !os.IsExist(err) {
			s.Fatal(err)
		}
		list = append(list, map[string]any{"mediaType": layerType, "digest": "sha256:" + l.Digest, "size": l.Size})
	}
	manifest := put(manifestType, map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": put(configType, configuration), "layers": list})
	index := map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []any{manifest}}
	for file, v := range map[string]any{"index.json": index, "oci-layout": map[string]string{"imageLayoutVersion": "1.0.0"}} {
		if err := os.WriteFile(filepath.Join(dir, file), encode(s, v), 0o644); err != nil {
			s.Fatal(err)
		}
	}
	digest, _ := manifest["digest"].(string)
	return image{dir: dir, digest: digest}
}

func encode(s *store, v any) []byte {
	s.Helper()
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(v); err != nil {
		s.Fatal(err)
	}
	return bytes.TrimSpace(out.Bytes())
}
