package promote

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/imagegate/imagegate/gate"
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
			m.from[n.Digest] = repo.Registry.Repo(n.Repository).Digest(n.Digest)
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

// note notes that the repository has the blobs. Newer notes replace older ones.
func (m *mounts) note(ctx context.Context, blobs []v1.Layer) {
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

// uploader sends blobs to a repository, or has the registry mount them.
type uploader struct {
	repo   name.Repository
	source gate.Source
	from   map[string]name.Reference // where to mount a blob from, by its digest
	pusher *remote.Pusher
	// A registry can refuse the credentials for the other repository of a mount. A Pusher keeps such an
	// error, so mounter is used for mounts only.
	mounter *remote.Pusher
	mounted atomic.Bool
}

func (p *Promoter) newUploader(ctx context.Context, source gate.Source, repo name.Repository, from map[string]name.Reference) (_ *uploader, err error) {
	u := &uploader{repo: repo, source: source, from: from}
	if u.pusher, err = remote.NewPusher(p.verifier.with(ctx)...); err != nil {
		return nil, err
	}
	u.mounter, err = remote.NewPusher(p.verifier.with(ctx)...)
	return u, err
}

// upload sends the blob if the repository does not have it. The registry mounts it from staging, if both
// repositories are in the same registry, or from the repository in u.from. Mounting transfers no bytes.
func (u *uploader) upload(ctx context.Context, m *meter) error {
	if u.source.Transport == gate.Registry && u.source.Ref.Context().RegistryStr() == u.repo.RegistryStr() {
		return u.pusher.Upload(ctx, u.repo, &remote.MountableLayer{Layer: m, Reference: u.source.Ref})
	}
	digest, err := m.Digest()
	if err != nil {
		return err
	}
	if from, ok := u.from[digest.String()]; ok && u.mounter.Upload(ctx, u.repo, &remote.MountableLayer{Layer: m, Reference: from}) == nil {
		u.mounted.Store(true)
		return nil
	}
	return u.pusher.Upload(ctx, u.repo, m)
}
