package lab

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// TUF is a repository of The Update Framework that is served over HTTP, like Sigstore's:
// https://theupdateframework.github.io/specification/latest/
type TUF struct {
	// Root is the initial root metadata, which a client must trust.
	Root []byte

	signer signature.Signer
	mu     sync.Mutex
	files  map[string][]byte // file contents, by path
}

// NewTUF makes an empty repository with one key.
func NewTUF() (*TUF, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	r := &TUF{files: map[string][]byte{}}
	if r.signer, err = signature.LoadSigner(private, crypto.Hash(0)); err != nil {
		return nil, err
	}
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	root := metadata.Root(time.Now().AddDate(1, 0, 0))
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err := root.Signed.AddKey(key, role); err != nil {
			return nil, err
		}
	}
	r.Root, err = signed(root, r.signer)
	return r, err
}

// Publish serves these files, by name, as this version of the repository. The version is valid
// until expires.
func (r *TUF) Publish(version int64, expires time.Time, files map[string][]byte) error {
	served := map[string][]byte{"/1.root.json": r.Root}
	targets := metadata.Targets(expires)
	targets.Signed.Version = version
	for name, data := range files {
		info, err := metadata.TargetFile().FromBytes(name, data, "sha256")
		if err != nil {
			return err
		}
		targets.Signed.Targets[name] = info
		sum := sha256.Sum256(data)
		served["/targets/"+hex.EncodeToString(sum[:])+"."+name] = data
	}
	snapshot := metadata.Snapshot(expires)
	snapshot.Signed.Version = version
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(version)
	timestamp := metadata.Timestamp(expires)
	timestamp.Signed.Version = version
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(version)
	var err error
	if served[fmt.Sprintf("/%d.targets.json", version)], err = signed(targets, r.signer); err != nil {
		return err
	}
	if served[fmt.Sprintf("/%d.snapshot.json", version)], err = signed(snapshot, r.signer); err != nil {
		return err
	}
	if served["/timestamp.json"], err = signed(timestamp, r.signer); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = served
	return nil
}

// Save writes the published files to a folder, so that any file server can serve the repository.
func (r *TUF) Save(dir string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, data := range r.files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func signed[T metadata.Roles](m *metadata.Metadata[T], by signature.Signer) ([]byte, error) {
	if _, err := m.Sign(by); err != nil {
		return nil, err
	}
	return m.ToBytes(false)
}

// Tamper replaces the content of a target without updating the metadata.
func (r *TUF) Tamper(name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for path := range r.files {
		if strings.HasPrefix(path, "/targets/") && strings.HasSuffix(path, "."+name) {
			r.files[path] = data
		}
	}
}

// ServeHTTP serves the files.
func (r *TUF) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	data, ok := r.files[req.URL.Path]
	r.mu.Unlock()
	if !ok {
		http.NotFound(w, req)
		return
	}
	_, _ = w.Write(data)
}
