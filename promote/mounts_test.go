package promote

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/lab"
)

// notes is a Memory in a map.
type notes map[string][]byte

func (n notes) Get(key string) ([]byte, bool)     { data, ok := n[key]; return data, ok }
func (n notes) Put(key string, data []byte) error { n[key] = data; return nil }

// baseContent is a file that a layer of all images in these tests contains. It does not compress.
var baseContent = func() string {
	data := make([]byte, 2*minMounted)
	if _, err := rand.NewChaCha8([32]byte{}).Read(data); err != nil {
		panic(err)
	}
	return string(data)
}()

// service returns an image with the common base layer and a file of its own.
func (w *world) service(content string) v1.Image {
	w.Helper()
	s := spec("linux/amd64", content)
	s.Layers = append(s.Layers, []lab.File{{Path: "base", Content: baseContent}})
	img, err := lab.Image(s)
	if err != nil {
		w.Fatal(err)
	}
	return img
}

// copied promotes the service with the content to the tag, and returns what was copied.
func (w *world) copied(content, tag string, change ...func(*Options)) (Copied, error) {
	w.Helper()
	records, err := w.promoter(change...).Promote(w.Context(), w.approve(w.service(content)), w.tag(tag))
	if err != nil {
		return Copied{}, err
	}
	return records[0].Copied, nil
}

// TestKnownBlobIsMounted checks that a second image with the same base is promoted to another
// repository without sending the base, which the registry mounts from the first repository.
func TestKnownBlobIsMounted(t *testing.T) {
	w, memory := newWorld(t), notes{}
	with := func(o *Options) { o.Memory = memory }
	one, err := w.copied("one", "team/one:1", with)
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.copied("two", "team/two:1", with)
	if err != nil {
		t.Fatal(err)
	}
	if one.Bytes < minMounted || two.Bytes > minMounted || two.Skipped < minMounted {
		t.Errorf("the first promotion sent %d bytes, the second %d, and skipped %d", one.Bytes, two.Bytes, two.Skipped)
	}
	if _, err := w.copied("two", "team/two:1"); err != nil {
		t.Errorf("the image with a mounted layer is not complete: %v", err)
	}
	three, err := w.copied("three", "team/three:1")
	if err != nil || three.Bytes < minMounted {
		t.Errorf("without a memory: %d bytes, %v", three.Bytes, err)
	}
}

// TestMountThatFailsIsAnUpload checks that a note that is wrong, or that the registry does not follow,
// costs an upload and nothing else.
func TestMountThatFailsIsAnUpload(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(notes)
		status int // of the response to a mount; 0 means the response of the registry
	}{
		"the repository does not exist":   {change: func(n notes) { rename(n, "team/one", "team/gone") }},
		"the repository has a wrong name": {change: func(n notes) { rename(n, "team/one", "TEAM ONE") }},
		"the notes are damaged":           {change: func(n notes) { rename(n, "[", "{") }},
		"no permission":                   {status: http.StatusForbidden},
		"no login":                        {status: http.StatusUnauthorized},
		"not supported":                   {status: http.StatusMethodNotAllowed},
		"no reason":                       {status: http.StatusBadRequest},
		"the registry mounts nothing":     {status: http.StatusCreated},
	} {
		t.Run(name, func(t *testing.T) {
			w, memory := newWorld(t), notes{}
			with := func(o *Options) { o.Memory = memory }
			if _, err := w.copied("one", "team/one:1", with); err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(memory)
			}
			var mounts atomic.Int32
			if tt.status != 0 {
				w.approved.SetHook(func(rw http.ResponseWriter, r *http.Request) bool {
					if r.URL.Query().Get("mount") == "" {
						return false
					}
					mounts.Add(1)
					if tt.status == http.StatusCreated {
						rw.WriteHeader(tt.status)
						return true
					}
					return lab.Fail(tt.status)(rw, r)
				})
			}
			two, err := w.copied("two", "team/two:1", with)
			if err != nil {
				t.Fatal(err)
			}
			if two.Bytes < minMounted {
				t.Errorf("%d bytes were sent", two.Bytes)
			}
			if tt.status != 0 && mounts.Load() == 0 {
				t.Error("nothing was mounted")
			}
			if tt.change == nil {
				return
			}
			w.approved.SetHook(nil)
			three, err := w.copied("three", "team/three:1", with)
			if err != nil || three.Bytes > minMounted {
				t.Errorf("the note is not replaced: %d bytes, %v", three.Bytes, err)
			}
		})
	}
}

func rename(n notes, from, to string) {
	for key, data := range n {
		n[key] = []byte(strings.ReplaceAll(string(data), from, to))
	}
}

// TestNotesAreBounded checks that the newest notes stay.
func TestNotesAreBounded(t *testing.T) {
	w, memory := newWorld(t), notes{}
	m := w.promoter(func(o *Options) { o.Memory = memory }).mountsFor(w.tag("team/app:1").Repository)
	layer := func(i int) v1.Layer {
		return sized{digest: v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%064d", i)}}
	}
	var many []v1.Layer
	for i := range maxMounts {
		many = append(many, layer(i))
	}
	m.note(t.Context(), many)
	m.note(t.Context(), []v1.Layer{layer(maxMounts)})
	all := m.notes()
	if len(all) != maxMounts || !strings.HasSuffix(all[0].Digest, fmt.Sprint(maxMounts)) || all[maxMounts-1].Digest != fmt.Sprintf("sha256:%064d", maxMounts-2) {
		t.Errorf("%d notes, the first is %+v", len(all), all[0])
	}
}

// sized is a layer with a digest and a size, and without content.
type sized struct {
	v1.Layer
	digest v1.Hash
}

func (s sized) Digest() (v1.Hash, error) { return s.digest, nil }
func (sized) Size() (int64, error)       { return minMounted, nil }
