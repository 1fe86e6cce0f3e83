package attach

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
	"github.com/imagegate/imagegate/internal/trust"
)

// newSigner returns a signer with an unencrypted key, because decrypting a key takes a second.
func newSigner(t testing.TB) *trust.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.LoadKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.NewSigner(key, trust.Services{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newRegistry(t testing.TB) *lab.Registry {
	t.Helper()
	r, err := lab.StartRegistry(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func repoIn(t testing.TB, r *lab.Registry, path string) name.Repository {
	t.Helper()
	repo, err := name.NewRepository(r.Ref(path))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func newRepo(t testing.TB, path string) name.Repository {
	t.Helper()
	return repoIn(t, newRegistry(t), path)
}

// only returns a Trust that trusts only the key of s.
func only(s *trust.Signer) trust.Trust { return s.Trust() }

func signLegacy(t testing.TB, s *trust.Signer, repo name.Repository, d v1.Hash) trust.Signature {
	t.Helper()
	return signAs(t, s, trust.Legacy, repo, d)[0]
}

func signAs(t testing.TB, s *trust.Signer, f trust.Format, repo name.Repository, d v1.Hash) []trust.Signature {
	t.Helper()
	out, err := trust.SignImage(t.Context(), s, f, repo, d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func digestOf(c string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(c, 64)}
}

func attest(t testing.TB, s *trust.Signer, kind, predicate string, subjects ...v1.Hash) trust.Envelope {
	t.Helper()
	st := trust.Statement{PredicateType: kind, Predicate: json.RawMessage(predicate)}
	for _, d := range subjects {
		st.Subjects = append(st.Subjects, trust.Subject{Name: "repo", Digest: d})
	}
	env, err := trust.Attest(t.Context(), s, trust.Both, st)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func statementOver(predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"repo","digest":{"sha256":"` + strings.Repeat("a", 64) +
		`"}}],"predicateType":"x","predicate":` + predicate + `}`
}

// store stores attachments that s signed.
func store(t testing.TB, s *trust.Signer, f trust.Format, repo name.Repository, d v1.Hash, a Attachments, opts ...remote.Option) error {
	t.Helper()
	return prepareAndStore(t.Context(), only(s), f, repo, d, a, Copies{}, Options{}, opts...)
}

// prepareAndStore stores attachments by a signer that own trusts, and copies by other signers.
func prepareAndStore(ctx context.Context, own trust.Trust, f trust.Format, repo name.Repository, d v1.Hash, a Attachments, copies Copies, o Options, opts ...remote.Option) error {
	p, err := Prepare(own, f, repo, d, a, copies, o)
	if err != nil {
		return err
	}
	return p.Store(ctx, opts...)
}
