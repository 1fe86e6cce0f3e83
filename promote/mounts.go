package promote

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Memory keeps notes for later runs. A cache of package gate/cache is a Memory. A note that is lost
// costs time, and never correctness.
type Memory interface {
	Get(key string) ([]byte, bool)
	Put(key string, data []byte) error
}

const (
	// minMounted is the minimum size of a noted blob in bytes. Uploading a smaller blob takes as long as
	// mounting it.
	minMounted = 1 << 20
	// maxMounts is the maximum number of noted blobs of a registry.
	maxMounts = 2000
)

// mounts knows repositories of one registry that have a blob, from earlier promotions. The registry
// mounts a blob by its digest, so a wrong note cannot change what is promoted.
type mounts struct {
	memory Memory
	key    string
	repo   name.Repository
	from   map[string]name.Reference // a reference in the other repository, by the blob's digest
}

// noted is a blob and the path of a repository that has it.
type noted struct {
	Digest     string `json:"digest"`
	Repository string `json:"repository"`
}

// mountsFor returns what earlier promotions to the registry of repo have noted.
func (p *Promoter) mountsFor(repo name.Repository) *mounts {
	m := &mounts{memory: p.opts.Memory, key: "blobs 1\n" + repo.RegistryStr(), repo: repo, from: map[string]name.Reference{}}
	for _, n := range m.notes() {
		if n.Repository != repo.RepositoryStr() {
			if other, err := name.NewRepository(n.Repository, name.WithDefaultRegistry("")); err == nil {
				other.Registry = repo.Registry
				m.from[n.Digest] = other.Digest(n.Digest)
			}
		}
	}
	return m
}

func (m *mounts) notes() []noted {
	if m.memory == nil {
		return nil
	}
	var all []noted
	if data, ok := m.memory.Get(m.key); !ok || json.Unmarshal(data, &all) != nil {
		return nil
	}
	return all
}

// layer returns a layer that the registry can mount from another repository, or false.
func (m *mounts) layer(l v1.Layer) (v1.Layer, bool) {
	digest, err := l.Digest()
	if err != nil {
		return nil, false
	}
	from, ok := m.from[digest.String()]
	if !ok {
		return nil, false
	}
	return &remote.MountableLayer{Layer: l, Reference: from}, true
}

// note notes that the repository has the blobs. Newer notes replace older ones.
func (m *mounts) note(ctx context.Context, blobs []*meter) {
	if m.memory == nil || ctx.Err() != nil {
		return
	}
	var all []noted
	for _, b := range blobs {
		size, err := b.Size()
		digest, derr := b.Digest()
		if err == nil && derr == nil && size >= minMounted {
			all = append(all, noted{digest.String(), m.repo.RepositoryStr()})
		}
	}
	before := m.notes()
	added := len(all)
	for _, n := range before {
		if !slices.ContainsFunc(all[:added], func(a noted) bool { return a.Digest == n.Digest }) {
			all = append(all, n)
		}
	}
	all = all[:min(len(all), maxMounts)]
	if slices.Equal(all, before) {
		return
	}
	if data, err := json.Marshal(all); err == nil {
		_ = m.memory.Put(m.key, data)
	}
}
